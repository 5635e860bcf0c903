#include "lib/Plan/Plan.h"
#include "dialects/Mega/Parameters.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"

#include <cmath>

using namespace megacc::mega;

namespace megacc {
namespace {

std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  for (int64_t at = int64_t(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(at, ",");
  return digits;
}

std::string scaled(double value, const char *unit, double base, std::initializer_list<const char *> prefixes) {
  const char *prefix = "";
  for (const char *next : prefixes) {
    if (value < base)
      break;
    value /= base;
    prefix = next;
  }
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.3f ", value) << prefix << unit;
  return text;
}

std::string flopsText(double flops) { return scaled(flops, "FLOP", 1000, {"K", "M", "G", "T"}); }
std::string bytesText(double bytes) { return scaled(bytes, "B", 1024, {"Ki", "Mi", "Gi", "Ti"}); }

struct Totals {
  int64_t count = 0, total = 0;
  double active = 0, flops = 0;
};

void add(Totals &totals, const Parameter &parameter) {
  if (!parameter.trained)
    return;
  totals.total += parameter.elements();
  totals.active += double(parameter.elements()) * parameter.active_share;
}

void row(llvm::raw_ostream &os, llvm::StringRef name, const std::string &blocks, const Totals &totals) {
  os << "  " << llvm::left_justify(name, 12) << llvm::right_justify(blocks, 7) << llvm::right_justify(grouped(totals.total), 18)
     << llvm::right_justify(grouped(std::llround(totals.active)), 18) << llvm::right_justify(flopsText(3 * totals.flops), 18) << "\n";
}

} // namespace

void printStack(const Model &model, llvm::raw_ostream &os) {
  os << "model @" << model.name << " hidden " << model.hidden << " vocab " << model.vocab << " sequence " << model.sequence << " depth "
     << model.depth << "\n";
  for (const Block &block : model.blocks) {
    os << llvm::right_justify(std::to_string(block.slot), 4) << "  " << block.letter << "  rank " << llvm::left_justify(std::to_string(block.rank), 4)
       << block.kind;
    for (const Feature &feature : block.features)
      os << " + " << feature.kind;
    if (!model.stage_cuts.empty())
      os << "  stage " << llvm::count_if(model.stage_cuts, [&](int64_t cut) { return cut <= block.slot; });
    os << "\n";
  }
}

void printPlan(const Model &model, llvm::raw_ostream &os) {
  std::map<std::string, Totals> families;
  std::vector<Totals> slots(model.blocks.size());
  Totals outer, all;
  outer.flops = outerFlops(model);
  int64_t weight_bytes = 0, optimizer_bytes = 0, width = model.train && model.train->precision == "bf16" ? 2 : 4;
  for (const Block &block : model.blocks) {
    slots[block.slot].flops = blockFlops(model, block);
    families[block.kind].count += 1;
    families[block.kind].flops += slots[block.slot].flops;
  }
  for (const Parameter &parameter : parameters(model)) {
    add(all, parameter);
    add(parameter.slot < 0 ? outer : slots[parameter.slot], parameter);
    if (parameter.slot >= 0)
      add(families[model.blocks[parameter.slot].kind], parameter);
    bool has_master = width == 2 && !parameter.fp32;
    weight_bytes += parameter.elements() * (has_master ? 2 : 4);
    optimizer_bytes += parameter.trained ? parameter.elements() * (has_master ? 12 : 8) : 0;
  }
  all.flops = outer.flops;
  for (const Totals &slot : slots)
    all.flops += slot.flops;

  os << "model @" << model.name << ": " << model.blocks.size() << " blocks, " << grouped(all.total) << " parameters, "
     << grouped(std::llround(all.active)) << " active, " << flopsText(3 * all.flops) << " a token\n\n";
  os << "  family       blocks        parameters            active     training/token\n";
  for (const auto &[kind, totals] : families)
    row(os, kind, std::to_string(totals.count), totals);
  row(os, "outside", "-", outer);
  row(os, "total", std::to_string(model.blocks.size()), all);

  os << "\nbytes, one rank\n";
  auto bytes = [&](llvm::StringRef name, double count) {
    os << "  " << llvm::left_justify(name, 12) << llvm::right_justify(bytesText(count), 14) << "\n";
  };
  bytes("weights", weight_bytes);
  bytes("gradients", 4.0 * all.total);
  bytes("optimizer", optimizer_bytes);
  os << "  activations   not planned: lowering is not supported yet\n";

  os << "\nslot letter family           parameters            active     training/token\n";
  for (const Block &block : model.blocks) {
    const Totals &slot = slots[block.slot];
    os << llvm::right_justify(std::to_string(block.slot), 4) << "   " << block.letter << "    " << llvm::left_justify(block.kind, 10)
       << llvm::right_justify(grouped(slot.total), 17) << llvm::right_justify(grouped(std::llround(slot.active)), 18)
       << llvm::right_justify(flopsText(3 * slot.flops), 19) << "\n";
  }
}

} // namespace megacc

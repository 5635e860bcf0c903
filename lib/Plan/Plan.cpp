#include "lib/Plan/Plan.h"
#include "dialects/Mega/Parameters.h"
#include "dialects/Rt/Rt.h"
#include "lib/Plan/Peak.h"
#include "lib/Plan/Traffic.h"

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
  double milliseconds = 0, again = 0; // of a micro-batch at least, and what of it computes again
};

void add(Totals &totals, const Parameter &parameter) {
  if (!parameter.trained)
    return;
  totals.total += parameter.elements();
  totals.active += double(parameter.elements()) * parameter.active_share;
}

void row(llvm::raw_ostream &os, llvm::StringRef name, const std::string &blocks, const Totals &totals) {
  os << "  " << llvm::left_justify(name, 12) << llvm::right_justify(blocks, 7) << llvm::right_justify(grouped(totals.total), 18)
     << llvm::right_justify(grouped(std::llround(totals.active)), 18) << llvm::right_justify(flopsText(3 * totals.flops), 18);
  if (totals.milliseconds)
    os << llvm::format("%12.2f", totals.milliseconds);
  os << "\n";
}

} // namespace

void printStack(const Model &model, llvm::raw_ostream &os) {
  os << "model @" << model.name << " hidden " << model.hidden << " vocab " << model.vocab << " sequence " << model.sequence << " depth "
     << model.depth << "\n";
  for (const Block &block : model.blocks) {
    os << llvm::right_justify(std::to_string(block.slot), 4) << "  " << block.letter << "  rank "
       << llvm::left_justify(std::to_string(block.rank), 4) << block.kind;
    for (const Feature &feature : block.features)
      os << " + " << feature.kind;
    if (!model.stage_cuts.empty())
      os << "  stage " << llvm::count_if(model.stage_cuts, [&](int64_t cut) { return cut <= block.slot; });
    os << "\n";
  }
}

namespace {

/// What the plan prints, from either source.
struct Figures {
  std::map<std::string, Totals> families;
  std::vector<Totals> slots;
  Totals outer, all;
  /// Launches of a micro-batch by kernel, for each slot; empty where nothing is lowered.
  std::vector<std::map<std::string, int64_t>> kernels;
  std::vector<std::pair<std::string, int64_t>> bytes;
  double update = 0; // milliseconds of the optimizer at least
};

/// From the key tables: shapes and FLOPs of every family, no activations.
Figures measureTables(const Model &model) {
  Figures figures;
  figures.slots.resize(model.blocks.size());
  figures.outer.flops = outerFlops(model);
  int64_t weight_bytes = 0, optimizer_bytes = 0, width = model.train && model.train->precision == "bf16" ? 2 : 4;
  for (const Block &block : model.blocks)
    figures.slots[block.slot].flops = blockFlops(model, block);
  for (const Parameter &parameter : parameters(model)) {
    add(parameter.slot < 0 ? figures.outer : figures.slots[parameter.slot], parameter);
    bool has_master = width == 2 && !parameter.fp32;
    weight_bytes += parameter.elements() * (has_master ? 2 : 4);
    optimizer_bytes += parameter.trained ? parameter.elements() * (has_master ? 12 : 8) : 0;
    figures.all.total += parameter.trained ? parameter.elements() : 0;
  }
  figures.bytes = {{"weights", weight_bytes}, {"gradients", 4 * figures.all.total}, {"optimizer", optimizer_bytes}};
  figures.all = {};
  return figures;
}

double getMilliseconds(rt::CallOp call, const Costs &costs) {
  return costs.getMilliseconds(call.getKernel(), call.getInts(), {int64_t(call.getFlops()), int64_t(call.getMovedBytes()), 0});
}

/// From the launches: what will run.
Figures measureLaunches(const Model &model, mlir::ModuleOp launches, const Costs &costs) {
  Figures figures;
  figures.slots.resize(model.blocks.size());
  figures.kernels.resize(model.blocks.size());
  std::map<std::string, double> shares; // an expert is used by a part of the tokens
  for (const Parameter &parameter : parameters(model))
    shares[parameter.name] = parameter.active_share;
  for (auto parameter : launches.getOps<rt::ParameterOp>()) {
    if (!parameter.getTrained())
      continue;
    int64_t slot = parameter.getBlock(), elements = mlir::cast<mlir::RankedTensorType>(parameter.getType()).getNumElements();
    Totals &totals = slot < 0 ? figures.outer : figures.slots[slot];
    totals.total += elements;
    totals.active += double(elements) * shares[parameter.getName().str()];
  }
  double tokens = double(model.train->micro_batch) * double(model.sequence);
  for (auto func : launches.getOps<rt::FuncOp>())
    if (func.getSymName() == "update") {
      for (auto call : func.getBody().getOps<rt::CallOp>())
        figures.update += getMilliseconds(call, costs);
    } else if (func.getSymName() == "micro_batch") {
      for (auto call : func.getBody().getOps<rt::CallOp>()) {
        int64_t slot = call.getBlock();
        Totals &totals = slot < 0 ? figures.outer : figures.slots[slot];
        double milliseconds = getMilliseconds(call, costs);
        bool is_again = call->hasAttr(rt::kRecomputeAttr);
        totals.flops += is_again ? 0 : double(call.getFlops()) / tokens / 3; // forward; training is three of it
        totals.milliseconds += milliseconds, totals.again += is_again ? milliseconds : 0;
        if (slot >= 0)
          ++figures.kernels[slot][call.getKernel().str()];
      }
    }
  for (auto segment : launches.getOps<rt::SegmentOp>())
    if (segment.getBytes() || segment.getName() != rt::getSegmentName(MG_CONSTANTS))
      figures.bytes.push_back({segment.getName().str(), int64_t(segment.getBytes())});
  return figures;
}

/// Kernels that move most, down to a hundredth of all, and how far the sum is from what no plan can avoid.
void printTraffic(const Traffic &traffic, llvm::raw_ostream &os) {
  os << "\nbytes moved per step, one rank\n";
  auto line = [&](llvm::StringRef name, const Traffic::Sum &sum) {
    os << "  " << llvm::left_justify(name, 32) << llvm::right_justify(grouped(sum.launches), 9)
       << llvm::right_justify(bytesText(sum.bytes), 14) << llvm::format("%7.1f %%\n", 100 * sum.bytes / traffic.moved);
  };
  std::vector<std::pair<std::string, Traffic::Sum>> ordered(traffic.kernels.begin(), traffic.kernels.end());
  llvm::stable_sort(ordered, [](const auto &a, const auto &b) { return a.second.bytes > b.second.bytes; });
  Traffic::Sum others, all;
  for (const auto &[kernel, sum] : ordered) {
    all.launches += sum.launches, all.bytes += sum.bytes;
    if (sum.bytes >= traffic.moved / 100)
      line(llvm::StringRef(kernel).drop_front(3), sum);
    else
      others.launches += sum.launches, others.bytes += sum.bytes;
  }
  line("others", others);
  line("total", all);
  double least = traffic.state + traffic.saved;
  os << "  at least " << bytesText(least) << ": every parameter, gradient and moment once (" << bytesText(traffic.state)
     << "), what the backward needs of the forward once (" << bytesText(traffic.saved) << ")"
     << llvm::format("; what is moved is %.2f times that\n", traffic.moved / least);
}

/// The ten largest values where most bytes of @micro_batch are alive; those of equal bytes and kernel in one row.
void printPeak(const Peak &peak, llvm::raw_ostream &os) {
  os << "\nalive at the peak of a micro-batch, " << peak.path << " (" << llvm::StringRef(peak.kernel).drop_front(3)
     << (peak.is_again ? ", computing again" : "") << "): " << grouped(peak.bytes) << " bytes\n";
  std::vector<std::pair<Peak::Value, std::vector<std::string>>> rows;
  for (const Peak::Value &value : peak.values) {
    auto found = llvm::find_if(rows, [&](const auto &row) {
      return row.first.bytes == value.bytes && row.first.kernel == value.kernel && row.first.is_scratch == value.is_scratch;
    });
    (found == rows.end() ? rows.emplace_back(value, std::vector<std::string>()) : *found).second.push_back(value.path);
  }
  llvm::stable_sort(rows, [](const auto &a, const auto &b) {
    return a.first.bytes * int64_t(a.second.size()) > b.first.bytes * int64_t(b.second.size());
  });
  for (const auto &[value, paths] : llvm::ArrayRef(rows).take_front(10)) {
    os << llvm::right_justify(std::to_string(paths.size()), 5) << " x" << llvm::right_justify(bytesText(double(value.bytes)), 14) << "  "
       << llvm::StringRef(value.kernel).drop_front(3) << (value.is_scratch ? " (scratch)" : "") << ": " << paths.front();
    if (paths.size() > 1)
      os << (paths.size() > 2 ? ", ..., " : ", ") << paths.back();
    os << "\n";
  }
}

void addUp(const Model &model, Figures &figures) {
  auto join = [](Totals &sum, const Totals &part) {
    sum.total += part.total;
    sum.active += part.active;
    sum.flops += part.flops;
    sum.milliseconds += part.milliseconds;
    sum.again += part.again;
  };
  for (const Block &block : model.blocks) {
    ++figures.families[block.kind].count;
    join(figures.families[block.kind], figures.slots[block.slot]);
    join(figures.all, figures.slots[block.slot]);
  }
  join(figures.all, figures.outer);
}

/// What a step takes, below the families.
void printTime(const Figures &figures, const Costs &costs, double accumulate, llvm::raw_ostream &os) {
  os << llvm::format("  ms: of a micro-batch; a step takes %s%.2f ms on ", costs.getMeasuredStep() ? "" : "at least ",
                     accumulate * figures.all.milliseconds + figures.update)
     << (costs.getMeasuredStep() ? costs.getMachine() + ", as its kernels were measured"
                                 : "one " + costs.getMachine() + ", by FLOPs and bytes")
     << llvm::format(", %.2f ms of it the update", figures.update);
  if (figures.all.again)
    os << llvm::format("; %.2f ms of a micro-batch are computing again", figures.all.again);
  os << "\n";
}

/// The temporaries beside what must be alive at once.
void printTemporaries(mlir::ModuleOp launches, llvm::raw_ostream &os) {
  for (auto segment : launches.getOps<rt::SegmentOp>())
    if (segment.getLiveBytes())
      os << "  temporaries: " << grouped(segment.getBytes()) << " bytes, at most " << grouped(*segment.getLiveBytes())
         << " alive at one launch; @" << segment.getPeak().value_or("") << " sets the peak\n";
}

void printDecisions(mlir::ArrayAttr decisions, llvm::raw_ostream &os) {
  os << "\ndecisions\n";
  for (mlir::Attribute decision : decisions)
    os << "  " << mlir::cast<mlir::StringAttr>(decision).getValue() << "\n";
}

/// Budgets with what a step takes in each.
void printBudgets(mlir::ArrayAttr budgets, const Figures &figures, double accumulate, llvm::raw_ostream &os) {
  double kept = accumulate * (figures.all.milliseconds - figures.all.again) + figures.update;
  os << "\n         budget     ms a step   computing again\n";
  for (auto row : budgets.getAsRange<mlir::DictionaryAttr>()) {
    double again = accumulate * row.getAs<mlir::FloatAttr>("milliseconds").getValueAsDouble();
    os << llvm::right_justify(bytesText(double(row.getAs<mlir::IntegerAttr>("bytes").getInt())), 15)
       << llvm::format("%14.2f%16.1f %%\n", kept + again, 100 * again / (kept + again));
  }
}

/// Blocks that are alike are one row; `has_kernels`: with their kernels.
void printBlocks(const Model &model, const Figures &figures, bool has_kernels, llvm::raw_ostream &os) {
  os << "\nblocks letter family           parameters            active     training/token";
  os << (has_kernels ? "  kernels of a micro-batch, slots\n" : "  slots\n");
  std::vector<std::pair<std::string, std::vector<int>>> rows;
  for (const Block &block : model.blocks) {
    const Totals &slot = figures.slots[block.slot];
    std::string text;
    llvm::raw_string_ostream line(text);
    line << "   " << block.letter << "    " << llvm::left_justify(block.kind, 10) << llvm::right_justify(grouped(slot.total), 17)
         << llvm::right_justify(grouped(std::llround(slot.active)), 18) << llvm::right_justify(flopsText(3 * slot.flops), 19);
    if (has_kernels) {
      const char *separator = "  ";
      for (const auto &[kernel, count] : figures.kernels[block.slot]) {
        line << separator << llvm::StringRef(kernel).drop_front(3);
        if (count > 1)
          line << " x" << count;
        separator = ", ";
      }
    }
    auto found = llvm::find_if(rows, [&](const auto &row) { return row.first == text; });
    (found == rows.end() ? rows.emplace_back(text, std::vector<int>()) : *found).second.push_back(block.slot);
  }
  for (const auto &[text, slots] : rows) {
    os << llvm::right_justify(std::to_string(slots.size()), 6) << text << "; " << (slots.size() == 1 ? "slot " : "slots ");
    llvm::interleave(slots, os, ", ");
    os << "\n";
  }
}

} // namespace

void printPlan(const Model &model, mlir::ModuleOp launches, const Costs &costs, llvm::raw_ostream &os) {
  Figures figures = launches ? measureLaunches(model, launches, costs) : measureTables(model);
  addUp(model, figures);
  const Totals &all = figures.all;
  double accumulate = launches ? double(model.train->accumulate) : 0;
  os << "model @" << model.name << ": " << model.blocks.size() << " blocks, " << grouped(all.total) << " parameters, "
     << grouped(std::llround(all.active)) << " active, " << flopsText(3 * all.flops) << " per token\n\n";
  os << "  family       blocks        parameters            active    training/token" << (launches ? "          ms" : "") << "\n";
  for (const auto &[kind, totals] : figures.families)
    row(os, kind, std::to_string(totals.count), totals);
  row(os, "outside", "-", figures.outer);
  row(os, "total", std::to_string(model.blocks.size()), all);
  if (launches)
    printTime(figures, costs, accumulate, os);

  os << "\nbytes, one rank\n";
  auto bytes = [&](llvm::StringRef name, double count) {
    os << "  " << llvm::left_justify(name, 12) << llvm::right_justify(bytesText(count), 14) << "\n";
  };
  double sum = 0;
  for (const auto &[name, count] : figures.bytes) {
    bytes(name, count);
    sum += count;
  }
  if (launches) {
    bytes("total", sum);
    printTemporaries(launches, os);
    printPeak(findPeak(launches), os);
    printTraffic(measureTraffic(launches, model.train->accumulate), os);
    if (auto decisions = launches->getAttrOfType<mlir::ArrayAttr>("megacc.decisions"))
      printDecisions(decisions, os);
    if (auto budgets = launches->getAttrOfType<mlir::ArrayAttr>("megacc.budgets"))
      printBudgets(budgets, figures, accumulate, os);
  } else {
    os << "  activations   not planned: part of the model is not supported yet\n";
  }
  printBlocks(model, figures, launches != nullptr, os);
}

} // namespace megacc

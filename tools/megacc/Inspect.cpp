#include "tools/megacc/Inspect.h"

#include "runtime/core/Artifact.h"
#include "runtime/core/Format.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace megacc {
namespace {

using namespace runtime;

std::string join(const std::vector<int64_t> &numbers) {
  std::string text;
  for (int64_t number : numbers)
    text += (text.empty() ? "" : "x") + std::to_string(number);
  return text.empty() ? "1" : text;
}

/// What a slot of the stack is made of: its parameters, and the launches of its micro-batches.
struct SlotSum {
  int64_t parameters = 0, elements = 0, launches = 0, flops = 0, bytes = 0;
};

std::map<int64_t, SlotSum> sumBySlot(const Descriptor &descriptor) {
  std::map<int64_t, SlotSum> slots;
  for (const ParameterPlace &parameter : descriptor.parameters) {
    SlotSum &slot = slots[parameter.block];
    slot.parameters += 1;
    slot.elements += parameter.elements();
  }
  if (const Function *function = descriptor.findFunction("micro_batch"))
    for (const LaunchRecord &launch : function->launches) {
      SlotSum &slot = slots[launch.block];
      slot.launches += 1;
      slot.flops += launch.flops;
      slot.bytes += launch.bytes;
    }
  return slots;
}

void printPlaces(std::string &text, const char *title, const std::vector<Place> &places) {
  text += format("\n%s\n", title);
  for (const Place &place : places)
    text += format("  %-40s %-4s %s\n", place.name.c_str(), typeName(place.type), join(place.shape).c_str());
}

std::string describe(const Descriptor &descriptor) {
  static const char *const segment_names[] = {"weights", "optimizer", "gradients", "temporaries", "io", "constants"};
  static_assert(std::size(segment_names) == MG_SEGMENT_COUNT);
  std::string text = format("model @%s: hidden %ld, vocab %ld, sequence %ld, depth %ld\n", descriptor.model.c_str(), descriptor.hidden,
                            descriptor.vocab, descriptor.sequence, descriptor.depth);
  text += format("step: micro-batch %ld, accumulate %ld, seed %lu\n", descriptor.micro_batch, descriptor.accumulate, descriptor.seed);
  text += format("target %s, precision %s, compiled by megacc %s, ABI %d\n", descriptor.target.c_str(), descriptor.precision.c_str(),
                 descriptor.compiler.c_str(), MEGACC_ABI_VERSION);
  const OptimizerDefaults &optimizer = descriptor.optimizer;
  auto kind = descriptor.declaration.find("train/optimizer/kind");
  text += format("optimizer: %slr %g, %s, warm-up %ld, steps %ld%s\n",
                 kind == descriptor.declaration.end() ? "" : (kind->second + ", ").c_str(), optimizer.lr, optimizer.schedule.c_str(),
                 optimizer.warmup, optimizer.steps, descriptor.moments == "bf16" ? ", moments in bf16" : "");

  text += "\nbytes\n";
  int64_t total = 0;
  for (int segment = 0; segment < MG_SEGMENT_COUNT; ++segment) {
    text += format("  %-12s %15ld\n", segment_names[segment], descriptor.segments[segment]);
    total += descriptor.segments[segment];
  }
  text += format("  %-12s %15ld\n", "total", total);

  text += "\nlaunches\n";
  for (const Function &function : descriptor.functions)
    text += format("  %-12s %15zu\n", function.name.c_str(), function.launches.size());
  printPlaces(text, "inputs", descriptor.inputs);
  printPlaces(text, "metrics", descriptor.metrics);
  printPlaces(text, "outputs", descriptor.outputs);

  text += "\nparameters\n";
  for (const ParameterPlace &parameter : descriptor.parameters)
    text += format("  %-40s %-4s %-14s %s%s%s\n", parameter.name.c_str(), typeName(parameter.type), join(parameter.shape).c_str(),
                   parameter.init.c_str(), parameter.decays ? ", decays" : "", parameter.trained ? "" : ", not trained");

  text += "\nreceipt: a row a slot, of a micro-batch\n  slot letter family       parameters      elements launches            FLOPs      "
          "bytes moved  kernels\n";
  std::map<int64_t, SlotSum> slots = sumBySlot(descriptor);
  for (const ReceiptRow &row : descriptor.receipt) {
    std::string kernels;
    for (const auto &[kernel, count] : row.launches)
      kernels += (kernels.empty() ? "" : ", ") + kernel + (count > 1 ? " x" + std::to_string(count) : "");
    const SlotSum &slot = slots[row.slot];
    text += format("  %4s   %-4s %-12s %10ld %13ld %8ld %16ld %16ld  ", row.slot < 0 ? "-" : std::to_string(row.slot).c_str(),
                   row.letter.c_str(), row.slot < 0 ? "outside" : row.family.c_str(), slot.parameters, slot.elements, slot.launches,
                   slot.flops, slot.bytes);
    text += kernels + "\n";
  }
  return text;
}

} // namespace

int inspect(const std::string &path, bool isJson) {
  try {
    const Artifact artifact(path);
    const Descriptor descriptor = readDescriptor(artifact.descriptor());
    const uintmax_t bytes = std::filesystem::file_size(path);
    std::string text;
    if (isJson)
      text = nlohmann::ordered_json({{"file", path},
                                     {"bytes", bytes},
                                     {"hash", artifact.hash()},
                                     {"declaration_hash", descriptor.declarationHash()},
                                     {"descriptor", nlohmann::ordered_json::parse(artifact.descriptor())}})
                 .dump(2) +
             "\n";
    else
      text = format("%s: %ju bytes\nhash %s\ndeclaration %s\n\n", path.c_str(), bytes, artifact.hash().c_str(),
                    descriptor.declarationHash().c_str()) +
             describe(descriptor);
    if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0)
      throw std::runtime_error("cannot write to the standard output");
    return 0;
  } catch (const std::exception &error) {
    fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}

} // namespace megacc

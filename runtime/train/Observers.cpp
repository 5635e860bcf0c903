#include "runtime/train/Observers.h"
#include "runtime/core/Format.h"
#include "runtime/core/Launch.h"
#include "runtime/state/Safetensors.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

namespace megacc::runtime {

// --verify.

Verifier::Verifier(const Step &step) : step(step) {
  for (const auto &[name, signature] : step.descriptor().kernels)
    kernels[name] = step.findKernel(name);
}

int32_t Verifier::launch(const LaunchRecord &record, MgKernel kernel, const MgLaunch *launch) {
  ++total;
  if (kernel != kernels[record.kernel])
    mistakes += "\n  " + record.path + ": launched another kernel than " + record.kernel;
  ++counts[record.block][record.kernel];
  return kernel(launch);
}

void Verifier::checkStep() {
  const Descriptor &descriptor = step.descriptor();
  for (const ReceiptRow &row : descriptor.receipt) {
    std::map<std::string, int64_t> expected = row.launches, seen = counts[row.slot];
    for (const Function &function : descriptor.functions)
      for (const LaunchRecord &record : function.launches)
        if (function.name == "update" && record.block == row.slot)
          --seen[record.kernel];
    for (auto &[kernel, count] : expected)
      if (int64_t wanted = count * descriptor.accumulate; seen[kernel] != wanted)
        mistakes += "\n  slot " + std::to_string(row.slot) + ": " + kernel + " was launched " + std::to_string(seen[kernel]) +
                    " times, the receipt says " + std::to_string(wanted);
    for (auto &[kernel, count] : seen)
      if (count != 0 && !expected.count(kernel))
        mistakes += "\n  slot " + std::to_string(row.slot) + ": " + kernel + " was launched, the receipt has none";
  }
  counts.clear();
  if (!mistakes.empty())
    throw std::runtime_error("the launches differ from the receipt:" + mistakes);
}

// --profile.

void Profiler::measurePeaks() {
  measureCopy();
  measureProduct();
}

double Profiler::time(const std::function<void()> &launch) {
  constexpr int runs = 4, launches = 5;
  double best = INFINITY;
  for (int run = 0; run < runs; ++run) {
    Device::Mark begin = step.target().mark();
    for (int i = 0; i < launches; ++i)
      launch();
    best = std::min(best, step.target().elapsed(begin, step.target().mark()) / launches);
  }
  return best;
}

void Profiler::measureCopy() {
  MgKernel copy = step.findKernel("mg_copy");
  const int64_t most = int64_t(512) << 20, least = int64_t(32) << 20; // less would stay in a cache
  int64_t bytes = std::min(most, step.temporaryBytes() / 2) / 256 * 256;
  if (!copy || bytes < least)
    return;
  const Device::Operand operands[] = {Step::temporary(0, bytes, MG_F32), Step::temporary(bytes, bytes, MG_F32)};
  const int64_t count = bytes / 4;
  copy_peak = 2 * double(bytes) / time([&] { step.target().launch(copy, operands, {&count, 1}, {}); });
}

/// bf16 where there is a weight of it.
MgType Profiler::findWeightType() const {
  return std::ranges::any_of(step.descriptor().parameters, [](const ParameterPlace &place) { return place.type == MG_BF16; }) ? MG_BF16
                                                                                                                              : MG_F32;
}

/// A square product in the type of the step's weights, as large as there is room for.
void Profiler::measureProduct() {
  MgKernel linear = step.findKernel("mg_linear"), initialize = step.findKernel("mg_initialize");
  if (product_scratch < 0 || !linear || !initialize)
    return;
  const MgType type = findWeightType();
  const int64_t room = step.temporaryBytes(), most = type == MG_BF16 ? 8192 : 2048, scratch = product_scratch;
  for (int64_t size = most; size >= 512; size /= 2) {
    const int64_t bytes = size * size * typeBytes(type);
    if (3 * bytes + scratch > room)
      continue;
    auto place = [&](int64_t index) { return Step::temporary(index * bytes, bytes, type); };
    const Device::Operand absent = {-1, 0, 0, MG_ABSENT}, rest = Step::temporary(3 * bytes, scratch, MG_RAW);
    for (int64_t index : {0, 1}) { // normal numbers: a card computes faster on zeros
      const Device::Operand filled[] = {place(index), absent};
      const int64_t ints[] = {size * size, 0, 1, index};
      const double deviation = 1;
      step.target().launch(initialize, filled, ints, {&deviation, 1});
    }
    const Device::Operand operands[] = {place(2), place(0), place(1), absent, rest};
    const int64_t sizes[] = {size, size, size};
    product_peak = 2.0 * double(size) * double(size) * double(size) / time([&] { step.target().launch(linear, operands, sizes, {}); });
    product_type = typeName(type);
    return;
  }
}

int32_t Profiler::launch(const LaunchRecord &record, MgKernel kernel, const MgLaunch *launch) {
  if (record.kernel == "mg_linear" && launch->types[at_mg_linear::weight] == findWeightType())
    product_scratch = launch->bytes[at_mg_linear::scratch];
  step.target().annotate(record.path.c_str());
  Device::Mark begin = step.target().mark();
  int32_t status = kernel(launch);
  pending.push_back({&record, std::move(begin), step.target().mark()});
  step.target().annotate(nullptr);
  return status;
}

void Profiler::beginStep() {
  step.setObserver(steps % 2 == 0 ? this : nullptr);
  step_begin = step.target().mark();
}

void Profiler::endStep() {
  Device::Mark end = step.target().mark();
  double seconds = step.target().elapsed(*step_begin, end);
  bool is_observed = steps % 2 == 0, is_first = steps < 2; // a first step loads code, or captures
  ++steps;
  step.setObserver(nullptr);
  if (!is_observed) {
    if (!is_first)
      whole_steps.push_back(seconds);
    return;
  }
  for (const Pending &launch : pending) {
    double from = step.target().elapsed(*step_begin, launch.begin), time = step.target().elapsed(launch.begin, launch.end);
    Event event = {launch.record, clock + from, clock + from + time};
    if (events.size() < traced_launches)
      events.push_back(event);
    else
      events[next++ % traced_launches] = event;
    if (is_first)
      continue;
    observed_seconds += time;
    for (Sum *sum : {&kernels[launch.record->kernel], &blocks[launch.record->block]})
      ++sum->launches, sum->seconds += time, sum->flops += double(launch.record->flops), sum->bytes += double(launch.record->bytes);
  }
  observed += !is_first;
  clock += seconds;
  pending.clear();
}

std::string Profiler::table() const {
  if (!observed)
    return "a profile needs 3 steps or more: the first one loads code, every other one is timed as a whole\n";
  auto share = [](double rate, double peak) { return peak > 0 ? format("%6.1f%%", 100 * rate / peak) : std::string("      -"); };
  auto line = [&](const std::string &name, const Sum &sum) {
    double flops = sum.flops / sum.seconds, bytes = sum.bytes / sum.seconds;
    return format("  %-32s %9.1f %11.3f %5.1f%% %10.1f", name.c_str(), double(sum.launches) / double(observed),
                  1e3 * sum.seconds / double(observed), 100 * sum.seconds / observed_seconds, flops / 1e9) +
           share(flops, product_peak) + format(" %9.1f", bytes / 1e9) + share(bytes, copy_peak) + "\n";
  };
  auto head = [](const char *name) {
    return format("  %-32s %9s %11s %6s %10s %6s %9s %6s\n", name, "launches", "ms a step", "share", "GFLOP/s", "of peak", "GB/s",
                  "of peak");
  };
  std::vector<std::pair<std::string, Sum>> ordered(kernels.begin(), kernels.end());
  std::ranges::sort(ordered, [](const auto &a, const auto &b) { return a.second.seconds > b.second.seconds; });
  std::string text = head("kernel");
  for (const auto &[kernel, sum] : ordered)
    text += line(kernel, sum);
  text += "\n" + head("block");
  for (const auto &[block, sum] : blocks) {
    std::string name = "outside";
    for (const ReceiptRow &row : step.descriptor().receipt)
      if (row.slot == block && block >= 0)
        name = std::to_string(block) + " " + row.letter + " " + row.family;
    text += line(name, sum);
  }
  text += "\n";
  if (copy_peak > 0)
    text += format("peaks measured here: a copy %.0f GB/s", copy_peak / 1e9) +
            (product_peak > 0 ? format(", a product of %s %.0f GFLOP/s\n", product_type.c_str(), product_peak / 1e9) : std::string("\n"));
  double kernel_ms = 1e3 * observed_seconds / double(observed);
  text += format("kernels of a step: %.3f ms", kernel_ms);
  if (!whole_steps.empty()) {
    std::vector<double> sorted = whole_steps;
    std::ranges::sort(sorted);
    double whole_ms = 1e3 * sorted[sorted.size() / 2];
    text += format("; whole steps: %.3f ms, median of %zu; between kernels: %.1f %%", whole_ms, sorted.size(),
                   100 * (whole_ms - kernel_ms) / whole_ms);
  }
  return text + "\n";
}

void Profiler::writeTrace(const std::filesystem::path &path) const {
  nlohmann::json list = nlohmann::json::array();
  size_t first = events.size() < traced_launches ? 0 : next % traced_launches;
  for (size_t i = 0; i < events.size(); ++i) {
    const Event &event = events[(first + i) % events.size()];
    auto microseconds = [&](double time) { return 1e6 * (time - events[first].begin); };
    list.push_back({{"name", event.record->path},
                    {"cat", event.record->kernel},
                    {"ph", "X"},
                    {"pid", 1},
                    {"tid", 1},
                    {"ts", microseconds(event.begin)},
                    {"dur", microseconds(event.end) - microseconds(event.begin)},
                    {"args",
                     {{"kernel", event.record->kernel},
                      {"block", event.record->block},
                      {"flops", event.record->flops},
                      {"bytes", event.record->bytes}}}});
  }
  std::ofstream file(path);
  file << nlohmann::json{{"traceEvents", std::move(list)}};
  if (!file.flush())
    throw FileError(path.string() + ": cannot write the trace");
}

} // namespace megacc::runtime

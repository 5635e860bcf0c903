#include "runtime/train/Observers.h"
#include "runtime/state/Safetensors.h"

#include <algorithm>
#include <cstdarg>
#include <fstream>
#include <nlohmann/json.hpp>

namespace megacc::runtime {

//===- verify -------------------------------------------------------------===//

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

//===- profile ------------------------------------------------------------===//

int32_t Profiler::launch(const LaunchRecord &record, MgKernel kernel, const MgLaunch *launch) {
  Event event{&record, Clock::now(), {}};
  int32_t status = kernel(launch);
  if (status == 0)
    status = step.synchronize();
  event.end = Clock::now();
  double seconds = std::chrono::duration<double>(event.end - event.begin).count();
  for (Sum *sum : {&kernels[record.kernel], &blocks[record.block]})
    ++sum->launches, sum->seconds += seconds, sum->flops += double(record.flops), sum->bytes += double(record.bytes);
  if (events.size() < traced_launches)
    events.push_back(event);
  else
    events[next++ % traced_launches] = event;
  return status;
}

static std::string format(const char *pattern, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, pattern);
  vsnprintf(text, sizeof text, pattern, arguments);
  va_end(arguments);
  return text;
}

std::string Profiler::table() const {
  double all = 0;
  for (const auto &[kernel, sum] : kernels)
    all += sum.seconds;
  auto line = [&](const std::string &name, const Sum &sum) {
    return format("  %-32s %9lld %11.1f %5.1f%% %10.1f %10.1f\n", name.c_str(), (long long)sum.launches, 1e3 * sum.seconds,
                  100 * sum.seconds / std::max(all, 1e-30), sum.flops / sum.seconds / 1e9, sum.bytes / sum.seconds / 1e9);
  };
  auto head = [](const char *name) {
    return format("  %-32s %9s %11s %6s %10s %10s\n", name, "launches", "ms", "share", "GFLOP/s", "GB/s");
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
  return text;
}

void Profiler::writeTrace(const std::filesystem::path &path) const {
  nlohmann::json list = nlohmann::json::array();
  size_t first = events.size() < traced_launches ? 0 : next % traced_launches;
  for (size_t i = 0; i < events.size(); ++i) {
    const Event &event = events[(first + i) % events.size()];
    auto microseconds = [&](Clock::time_point time) {
      return std::chrono::duration<double, std::micro>(time - events[first].begin).count();
    };
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

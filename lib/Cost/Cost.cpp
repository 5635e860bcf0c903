#include "lib/Cost/Cost.h"
#include "dialects/Rt/KernelTable.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

#include <algorithm>

namespace megacc {

// sm_90a as tools/bench-gpu and tools/bench-mesh measure its ceilings, over a network adapter of 400 Gb/s a card; cpu: one core with
// AVX-512, ranks of one host through its memory, 10 Gb/s between hosts.
static constexpr DeviceRecord devices[] = {
    {"h200", "sm_90a", 7.0e14, 4.1e12, 1.0e-6, 8, 3.2e11, 4.5e10, 3.0e-5},
    {"h100", "sm_90a", 6.6e14, 2.95e12, 1.0e-6, 8, 3.2e11, 4.5e10, 3.0e-5},
    {"cpu", "cpu", 1.0e11, 1.0e10, 1.0e-6, 8, 2.0e9, 1.1e9, 2.0e-5},
};

const DeviceRecord *findDevice(llvm::StringRef name) {
  auto found = std::ranges::find_if(devices, [&](const DeviceRecord &device) { return device.name == name; });
  return found == std::end(devices) ? nullptr : found;
}

const DeviceRecord &getDefaultDevice(llvm::StringRef target) {
  auto found = std::ranges::find_if(devices, [&](const DeviceRecord &device) { return device.target == target; });
  return found == std::end(devices) ? *findDevice("cpu") : *found;
}

double estimateMilliseconds(const OpCost &cost, const DeviceRecord &device) {
  return 1e3 * (device.launch + std::max(double(cost.flops) / device.flops, double(cost.bytesRead + cost.bytesWritten) / device.bytes));
}

double estimateSending(int64_t launches, int64_t bytes, int64_t span, const DeviceRecord &device) {
  double rate = span <= device.ranks ? device.link : device.network;
  return 1e3 * (double(launches) * device.collective + double(bytes) / rate);
}

llvm::Expected<Costs> Costs::read(llvm::StringRef path, llvm::StringRef target) {
  Costs costs(target);
  if (path.empty())
    return costs;
  auto fail = [&](const llvm::Twine &what) { return llvm::createStringError(path + ": " + what); };
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return fail("cannot be read: " + buffer.getError().message());
  llvm::Expected<llvm::json::Value> content = llvm::json::parse((*buffer)->getBuffer());
  if (!content) {
    llvm::consumeError(content.takeError());
    return fail("is not a file that megacc-run --calibrate wrote");
  }
  llvm::json::Object *top = content->getAsObject();
  llvm::json::Array *list = top ? top->getArray("costs") : nullptr;
  std::optional<llvm::StringRef> measured_target = top ? top->getString("target") : std::nullopt;
  if (!list || !measured_target)
    return fail("is not a file that megacc-run --calibrate wrote");
  if (*measured_target != target)
    return fail("was measured on target " + *measured_target + ", the step is for " + target +
                "; fix: megacc-run --calibrate with a step for " + target);
  costs.machine = top->getString("machine").value_or("").str();
  costs.measured_step = top->getNumber("step_milliseconds").value_or(0);
  for (llvm::json::Value &value : *list) {
    llvm::json::Object *entry = value.getAsObject();
    llvm::json::Object *given = entry ? entry->getObject("ints") : nullptr;
    std::optional<llvm::StringRef> symbol = entry ? entry->getString("kernel") : std::nullopt;
    std::optional<double> milliseconds = entry ? entry->getNumber("milliseconds") : std::nullopt;
    const rt::Kernel *kernel = symbol ? rt::findKernel(*symbol) : nullptr;
    if (!given || !milliseconds)
      return fail("is not a file that megacc-run --calibrate wrote");
    if (!kernel) // of another version
      continue;
    std::vector<int64_t> ints;
    for (llvm::StringRef name : kernel->ints)
      ints.push_back(given->getInteger(name).value_or(0));
    // Of launches that differ in what they leave out the slowest counts.
    double &known = costs.measured[{symbol->str(), ints}];
    known = std::max(known, *milliseconds);
  }
  return costs;
}

double Costs::getMilliseconds(llvm::StringRef kernel, llvm::ArrayRef<int64_t> ints, const OpCost &cost) const {
  auto found = measured.find({kernel.str(), ints.vec()});
  return found == measured.end() ? estimateMilliseconds(cost, *device) : found->second;
}

} // namespace megacc

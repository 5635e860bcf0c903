#include "lib/Cost/Cost.h"

#include <algorithm>

namespace megacc {

// sm_90a as tools/bench-gpu measures its ceilings; cpu: one core with AVX-512.
static constexpr DeviceRecord devices[] = {
    {"h200", "sm_90a", 7.0e14, 4.1e12, 1.0e-6},
    {"h100", "sm_90a", 6.6e14, 2.95e12, 1.0e-6},
    {"cpu", "cpu", 1.0e11, 1.0e10, 1.0e-6},
};

const DeviceRecord *findDevice(std::string_view name) {
  auto found = std::ranges::find_if(devices, [&](const DeviceRecord &device) { return device.name == name; });
  return found == std::end(devices) ? nullptr : found;
}

const DeviceRecord &getDefaultDevice(std::string_view target) {
  auto found = std::ranges::find_if(devices, [&](const DeviceRecord &device) { return device.target == target; });
  return found == std::end(devices) ? *findDevice("cpu") : *found;
}

double estimateMilliseconds(const OpCost &cost, const DeviceRecord &device) {
  return 1e3 * (device.launch + std::max(double(cost.flops) / device.flops, double(cost.bytesRead + cost.bytesWritten) / device.bytes));
}

} // namespace megacc

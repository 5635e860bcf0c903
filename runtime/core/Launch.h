// Reading an MgLaunch in a kernel.
#pragma once
#include "megacc/StepABI.h"

#include <cstdint>

namespace megacc::runtime {

inline float *output(const MgLaunch *launch, int64_t index) { return static_cast<float *>(launch->operands[index]); }
inline const float *input(const MgLaunch *launch, int64_t index) { return static_cast<const float *>(launch->operands[index]); }
inline const int32_t *integers(const MgLaunch *launch, int64_t index) {
  return static_cast<const int32_t *>(launch->operands[index]);
}
/// True when a weight gradient is added to what earlier micro-batches left.
inline bool addsToOutput(const MgLaunch *launch, int64_t accumulate) { return accumulate && launch->micro_batch > 0; }

} // namespace megacc::runtime

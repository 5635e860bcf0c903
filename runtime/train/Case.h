// The numerical harness: a step on given parameters and inputs, for comparison with a reference.
#pragma once
#include "runtime/core/Step.h"

#include <filesystem>

namespace megacc::runtime {

/// Reads `param.*` and `input.*` of a safetensors file, runs three optimizer steps on these inputs and writes loss.*, grad_norm, grad.*,
/// param1.*, param3.* and the step's per-micro-batch outputs (hidden.I). The arena starts as NaN. Throws FileError for a tensor that is
/// missing, not wanted, or of another shape, all at once.
void runCase(Step &step, const std::filesystem::path &input, const std::filesystem::path &output);

/// Writes initial.KEY: the first and last 8 elements of every parameter as the initialiser makes it, all if it has at most 16.
void writeInitial(Step &step, const std::filesystem::path &output);

} // namespace megacc::runtime

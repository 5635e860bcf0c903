// Measured times of the kernels of a step, and the choices that kernels make by measuring.
#pragma once
#include "runtime/core/Step.h"
#include "runtime/train/Loop.h"

#include <filesystem>

namespace megacc::runtime {

/// Runs a few steps on the data of the options, from initial parameters, and writes a JSON file: target, machine; `choices`, what the
/// target's kernels chose, for setChoices(); `costs`, for every kernel with its integer parameters and operand types the median
/// milliseconds of a launch and the launches per step; `step_milliseconds` and `kernel_milliseconds`, the median of whole steps and the sum
/// of their launches. Throws std::runtime_error.
void calibrate(Step &step, const RunOptions &options, const std::filesystem::path &file);

/// Takes the choices of such a file. Throws std::runtime_error for another target or machine, or where the target has nothing to choose.
void setChoices(Step &step, const std::filesystem::path &file);

} // namespace megacc::runtime

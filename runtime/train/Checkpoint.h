// Checkpoints: parameters, moments, step, data position and the settings of the run in one safetensors file.
#pragma once
#include "runtime/core/Step.h"
#include "runtime/train/State.h"

#include <filesystem>

namespace megacc::runtime {

/// Where a run stands: `step` optimizer steps are done, the next one reads batch `position`.
struct RunState {
  int64_t step = 0, position = 0;
  RunSettings settings;
};

/// The file in a run's folder.
std::filesystem::path checkpointPath(const std::filesystem::path &folder);

/// Writes it whole or leaves the old one, and then keeps `keep - 1` older ones beside it, checkpoint.1.safetensors the youngest of them.
/// Throws FileError, also where a number of the state is not finite: such a state must not replace a good one.
void saveCheckpoint(Step &step, const RunState &state, const std::filesystem::path &path, int64_t keep);

/// Checks the file's hash and that it is of this model, then fills parameters and moments. Throws FileError, naming the first key that
/// differs with both shapes. A run that was computed with another instruction set is told on stderr: it cannot go on bitwise.
RunState loadCheckpoint(Step &step, const std::filesystem::path &path);

/// Reads parameters alone, of any safetensors file that holds them all.
void loadParameters(Step &step, const std::filesystem::path &path);

} // namespace megacc::runtime

// Checkpoints: parameters, moments, step, data position, the settings of the run and what it belongs to, in one safetensors file.
#pragma once
#include "runtime/core/Step.h"
#include "runtime/data/Source.h"
#include "runtime/train/Settings.h"

#include <filesystem>

namespace megacc::runtime {

/// Where a run stands: `step` optimizer steps are done, the next one reads batch `position`.
struct RunState {
  int64_t step = 0, position = 0;
  RunSettings settings;
  std::string interventions;  // what storeSchedules() wrote; "" where there are none
  Fingerprint data, held_out; // of what it trains on and of what it is evaluated on, empty without
};

/// The file in a run's folder.
std::filesystem::path checkpointPath(const std::filesystem::path &folder);

/// Writes it whole or leaves the old one, and then keeps `keep - 1` older ones beside it, checkpoint.1.safetensors the youngest of them.
/// Throws FileError, also where a number of the state is not finite: such a state must not replace a good one. All ranks of a mesh call it,
/// the first writes.
void saveCheckpoint(Step &step, const RunState &state, const std::filesystem::path &path, int64_t keep);

/// Checks the file's hashes and that it is of this declaration, then fills parameters and moments. Throws FileError, naming what differs
/// with both values. Another target, precision, instruction set or release is told on stderr: the run cannot go on bitwise.
RunState loadCheckpoint(Step &step, const std::filesystem::path &path);

/// Throws FileError where a resumed run reads other data than the checkpoint's, naming what differs with both values. Other held-out data
/// are told on stderr.
void checkSameData(const RunState &state, const Fingerprint &data, const Fingerprint &held_out, const std::filesystem::path &path);

/// Reads the parameters of a checkpoint of this model, however it was trained.
void loadModel(Step &step, const std::filesystem::path &path);

/// Reads parameters alone, of any safetensors file that holds them all. A checkpoint's hashes are checked, and that it is of another model
/// is told on stderr.
void loadParameters(Step &step, const std::filesystem::path &path);

} // namespace megacc::runtime

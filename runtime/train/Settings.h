// The hyper-parameters of a run, and where they come from.
#pragma once
#include "runtime/core/Descriptor.h"

#include <optional>
#include <string>
#include <vector>

namespace megacc::runtime {

/// Hyper-parameters of a run: the declaration's, or what the command line says.
struct RunSettings {
  double lr = 0, final_lr = 0;
  int64_t warmup = 0, steps = 0;
};

/// What the command line says of them.
struct SettingFlags {
  std::optional<int64_t> steps, warmup;
  std::optional<double> lr;
};

/// Learning rate of step t = 1, 2, ... (conventions 14.5).
double learningRate(const RunSettings &settings, const std::string &schedule, int64_t t);

/// The settings of a run: the declaration's, or those of the run that goes on after `step` steps (`resumed`), with what the flags change.
/// `notes` gets what a person should know of them. Throws std::runtime_error with every rule that they break.
RunSettings chooseSettings(const OptimizerDefaults &declared, const std::optional<RunSettings> &resumed, int64_t step,
                           const SettingFlags &flags, std::vector<std::string> &notes);

} // namespace megacc::runtime

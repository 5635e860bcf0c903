// The numbers a step starts from and what the host writes before every step.
#pragma once
#include "runtime/core/Step.h"

#include <string>

namespace megacc::runtime {

/// Hyper-parameters of a run: the declaration's, or what the command line says.
struct RunSettings {
  double lr = 0, final_lr = 0;
  int64_t warmup = 0, steps = 0;
};

/// Learning rate of step t = 1, 2, ... (conventions 14.5).
double learningRate(const RunSettings &settings, const std::string &schedule, int64_t t);

/// Fills all parameters as conventions 3 and 4 say, and zeroes the moments and gradients.
void initializeState(Step &step);

/// Sets what changes from step to step in the inputs: lr(t), 1 - beta1^t, 1 - beta2^t.
void stageScalars(Step &step, double lr, int64_t t);

/// One optimizer step on the inputs as they are staged; its metrics are fetched. Throws std::runtime_error where a kernel fails or met a
/// number outside its range (a metric invalid.*).
void runStep(Step &step);

/// A weighted term of the loss, e.g. "main", and the weighted sum of all.
struct Losses {
  std::vector<std::pair<std::string, double>> terms;
  double total = 0;
};
Losses readLosses(const Step &step);
double readGradientNorm(const Step &step);

/// Where the first number that is not finite appeared, for people; "" if all are finite.
std::string findNonFinite(Step &step);

} // namespace megacc::runtime

// The numbers a step starts from and what the host writes before every step.
#pragma once
#include "runtime/core/Step.h"

#include <string>

namespace megacc::runtime {

/// Fills all parameters as conventions 3 and 4 say, and zeroes the moments and gradients.
void initializeState(Step &step);

/// Sets what changes from step to step in the inputs: lr(t), 1 - beta1^t, 1 - beta2^t, and spans where the step takes them (conventions
/// 12.6).
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

/// What megacc --log-blocks measures, by name a number for each block: block_norm, the norm of the stream behind a block in the last
/// micro-batch, and gradient_block_norm, that of its gradient; attention_entropy, the mean entropy of attention in nats, and state_norm,
/// the mean norm of a recurrence's states at the end of their rows; NaN for blocks that have no such thing. Empty where the step was
/// compiled without.
std::vector<std::pair<std::string, std::vector<double>>> readBlocks(const Step &step);

/// Where the first number that is not finite appeared, for people; "" if all are finite.
std::string findNonFinite(Step &step);

} // namespace megacc::runtime

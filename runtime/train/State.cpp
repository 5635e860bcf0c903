#include "runtime/train/State.h"
#include "runtime/state/Initializer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace megacc::runtime {

double learningRate(const RunSettings &settings, const std::string &schedule, int64_t t) {
  if (schedule != "cosine")
    return settings.lr;
  if (t <= settings.warmup)
    return settings.lr * double(t) / double(settings.warmup);
  if (t >= settings.steps)
    return settings.final_lr;
  double progress = double(t - settings.warmup) / double(settings.steps - settings.warmup);
  return settings.final_lr + (settings.lr - settings.final_lr) / 2 * (1 + std::cos(std::numbers::pi * progress));
}

void clearMoments(Step &step) {
  for (const ParameterPlace &parameter : step.descriptor().parameters)
    if (parameter.trained) {
      std::ranges::fill(step.firstMoments(parameter), 0.0f);
      std::ranges::fill(step.secondMoments(parameter), 0.0f);
    }
}

void initializeState(Step &step) {
  const Descriptor &descriptor = step.descriptor();
  for (const ParameterPlace &parameter : descriptor.parameters)
    if (!initialize(step.weights(parameter), 0, parameter.name, parameter.init, parameter.init_a, descriptor.seed))
      throw ArtifactError("parameter '" + parameter.name + "' has the unknown initialiser '" + parameter.init +
                          "'; fix: use the megacc-run of the same release");
  clearMoments(step);
}

void writeScalars(Step &step, double lr, int64_t t) {
  const Place *place = step.descriptor().findInput("scalars");
  if (!place)
    throw ArtifactError("the step has no input 'scalars'; fix: compile the declaration again");
  const OptimizerDefaults &optimizer = step.descriptor().optimizer;
  std::span<float> scalars = step.values(*place);
  scalars[0] = float(lr);
  scalars[1] = float(1 - std::pow(optimizer.beta1, double(t)));
  scalars[2] = float(1 - std::pow(optimizer.beta2, double(t)));
}

Losses readLosses(Step &step) {
  Losses losses;
  for (const Place &metric : step.descriptor().metrics)
    if (metric.name.starts_with("loss.")) {
      std::string name = metric.name.substr(5);
      bool part = name.find('.') != std::string::npos; // of a term: shown as it is
      double value = step.values(metric)[0], weighted = metric.weight * value;
      losses.terms.push_back({name, part ? value : weighted});
      losses.total += part ? 0 : weighted;
    }
  return losses;
}

double readGradientNorm(Step &step) {
  const Place *place = step.descriptor().findMetric("grad_norm");
  if (!place)
    throw ArtifactError("the step has no metric 'grad_norm'; fix: compile the declaration again");
  return step.values(*place)[0];
}

std::string findNonFinite(Step &step) {
  const Descriptor &descriptor = step.descriptor();
  for (const Place &metric : descriptor.metrics)
    if (metric.name.starts_with("nonfinite.") && step.values(metric)[0] != 0)
      return "the output of " + metric.name.substr(10);
  for (const auto &[name, value] : readLosses(step).terms)
    if (!std::isfinite(value))
      return "the loss term " + name;
  // Backward runs from the last parameter to the first.
  for (auto parameter = descriptor.parameters.rbegin(); parameter != descriptor.parameters.rend(); ++parameter)
    if (parameter->trained && !std::ranges::all_of(step.gradients(*parameter), [](float value) { return std::isfinite(value); }))
      return "the gradient of " + parameter->name;
  return std::isfinite(readGradientNorm(step)) ? "" : "the gradient norm";
}

} // namespace megacc::runtime

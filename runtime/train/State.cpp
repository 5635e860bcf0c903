#include "runtime/train/State.h"
#include "runtime/state/Random.h"

#include <algorithm>
#include <cmath>

namespace megacc::runtime {

/// The kinds of mg_initialize (kernels.def), by number.
static constexpr std::string_view initializers[] = {"constant", "normal", "uniform", "dt_bias", "a_log", "identity", "mhc"};

void initializeState(Step &step) {
  const Descriptor &descriptor = step.descriptor();
  step.clearState();
  for (const ParameterPlace &parameter : descriptor.parameters) {
    auto kind = std::ranges::find(initializers, parameter.init);
    if (kind == std::end(initializers))
      throw ArtifactError("parameter '" + parameter.name + "' has the unknown initialiser '" + parameter.init +
                          "'; fix: use the megacc-run of the same release");
    step.initialize(parameter, kind - initializers, streamKey(descriptor.seed, parameter.name));
  }
}

/// The spans of every micro-batch (conventions 12.6): three sorted draws of [0, sequence - 2), plus 0, 1, 2; -1 where there are none.
static void stageSpans(Step &step, const Place &place, int64_t t) {
  const Descriptor &descriptor = step.descriptor();
  int64_t start = 0, bases = descriptor.sequence - 2;
  for (int64_t i = 0; descriptor.declaration.contains("placements/" + std::to_string(i) + "/kind"); ++i)
    if (std::string placement = "placements/" + std::to_string(i) + "/"; descriptor.declaration.at(placement + "kind") == "stp")
      start = std::stoll(descriptor.declaration.at(placement + "start"));
  for (int64_t m = 0; m < descriptor.accumulate; ++m) {
    std::span<int32_t> spans = step.integers(place, m);
    std::ranges::fill(spans, -1);
    if (bases < 1 || t - 1 < start)
      continue;
    uint64_t key = streamKey(descriptor.seed, "stp." + std::to_string(t - 1) + "." + std::to_string(m));
    for (size_t at = 0; at + 3 <= spans.size(); at += 3) {
      for (size_t i = at; i < at + 3; ++i)
        spans[i] = int32_t(draw(key, i) % uint64_t(bases));
      std::ranges::sort(spans.subspan(at, 3));
      spans[at + 1] += 1, spans[at + 2] += 2;
    }
  }
}

void stageScalars(Step &step, double lr, int64_t t) {
  if (const Place *spans = step.descriptor().findInput("stp.spans"))
    stageSpans(step, *spans, t);
  if (const Place *number = step.descriptor().findInput("step"))
    step.integers(*number)[0] = int32_t(t);
  const Place *place = step.descriptor().findInput("scalars");
  if (!place)
    throw ArtifactError("the step has no input 'scalars'; fix: compile the declaration again");
  const OptimizerDefaults &optimizer = step.descriptor().optimizer;
  std::span<float> scalars = step.floats(*place);
  scalars[0] = float(lr);
  scalars[1] = float(1 - std::pow(optimizer.beta1, double(t)));
  scalars[2] = float(1 - std::pow(optimizer.beta2, double(t)));
}

void runStep(Step &step) {
  const Descriptor &descriptor = step.descriptor();
  step.sendInputs();
  step.runStep();
  step.fetchMetrics();
  for (const Place &metric : descriptor.metrics)
    if (metric.name.starts_with("invalid.") && step.metric(metric) != 0)
      throw std::runtime_error(metric.name.substr(8) + " met a token or target outside the model's vocab " +
                               std::to_string(descriptor.vocab) + " (" + metric.name +
                               "), though the data was checked; fix: start again from the last checkpoint");
}

Losses readLosses(const Step &step) {
  Losses losses;
  for (const Place &metric : step.descriptor().metrics)
    if (metric.name.starts_with("loss.")) {
      std::string name = metric.name.substr(5);
      bool part = name.find('.') != std::string::npos; // of a term: shown as it is
      double value = step.metric(metric), weighted = metric.weight * value;
      losses.terms.push_back({name, part ? value : weighted});
      losses.total += part ? 0 : weighted;
    }
  return losses;
}

std::vector<std::pair<std::string, std::vector<double>>> readBlocks(const Step &step) {
  std::vector<std::pair<std::string, std::vector<double>>> read;
  auto find = [&](const char *name, size_t block) { return step.descriptor().findMetric(name + ("." + std::to_string(block))); };
  size_t blocks = 0;
  while (find("block_norm", blocks))
    ++blocks;
  for (const char *name : {"block_norm", "gradient_block_norm", "attention_entropy", "state_norm"}) {
    std::vector<double> values(blocks, NAN);
    bool any = false;
    for (size_t block = 0; block < blocks; ++block)
      if (const Place *metric = find(name, block))
        values[block] = step.metric(*metric), any = true;
    if (any)
      read.emplace_back(name, std::move(values));
  }
  return read;
}

double readGradientNorm(const Step &step) {
  const Place *place = step.descriptor().findMetric("grad_norm");
  if (!place)
    throw ArtifactError("the step has no metric 'grad_norm'; fix: compile the declaration again");
  return step.metric(*place);
}

/// Whether all numbers of the parameter's gradient are finite.
static bool isFinite(Step &step, const ParameterPlace &parameter) {
  std::vector<float> values;
  for (int64_t first = 0, count = countElements(parameter.shape); first < count; first += values.size()) {
    values.resize(std::min(count - first, Step::transfer_elements));
    step.readState(parameter, StatePart::gradient, first, values);
    if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); }))
      return false;
  }
  return true;
}

std::string findNonFinite(Step &step) {
  const Descriptor &descriptor = step.descriptor();
  for (const Place &metric : descriptor.metrics)
    if (metric.name.starts_with("nonfinite.") && step.metric(metric) != 0)
      return "the output of " + metric.name.substr(10);
  for (const auto &[name, value] : readLosses(step).terms)
    if (!std::isfinite(value))
      return "the loss term " + name;
  // Backward runs from the last parameter to the first.
  for (auto parameter = descriptor.parameters.rbegin(); parameter != descriptor.parameters.rend(); ++parameter)
    if (parameter->trained && !isFinite(step, *parameter))
      return "the gradient of " + parameter->name;
  return std::isfinite(readGradientNorm(step)) ? "" : "the gradient norm";
}

} // namespace megacc::runtime

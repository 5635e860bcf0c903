#include "runtime/train/Sample.h"
#include "runtime/state/Random.h"
#include "runtime/train/Batches.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>

namespace megacc::runtime {
namespace {

constexpr double temperature = 0.7;
constexpr int64_t bytes = 256;

/// The token at `share` of the way through the distribution.
int32_t draw(std::span<const float> logits, double share) {
  double top = *std::ranges::max_element(logits), sum = 0;
  for (float logit : logits)
    sum += std::exp((logit - top) / temperature);
  double left = share * sum;
  for (size_t token = 0; token < logits.size(); ++token)
    if ((left -= std::exp((logits[token] - top) / temperature)) < 0)
      return int32_t(token);
  return int32_t(logits.size() - 1);
}

} // namespace

void sample(Step &step, const std::string &prompt, int64_t count) {
  const Descriptor &descriptor = step.descriptor();
  if (descriptor.vocab < bytes)
    throw std::runtime_error("sampling prints bytes and needs a vocab of at least 256, the model has " + std::to_string(descriptor.vocab));
  if (prompt.empty())
    throw std::runtime_error("sampling needs at least one byte to start from; fix: --prompt TEXT");
  const Place *tokens = descriptor.findInput("tokens"), *targets = descriptor.findInput("targets"),
              *positions = descriptor.findInput("positions");
  const Place *logits = descriptor.findOutput("logits"), *documents = descriptor.findInput("documents");
  if (!tokens || !targets || !positions || !logits)
    throw ArtifactError("the step has no inputs to sample with; fix: compile the declaration again");
  checkInputs(step);
  if (std::vector<std::string> columns = wantedColumns(step); !columns.empty())
    throw std::runtime_error("sampling has no values for the input '" + inputOfColumn(columns.front()) +
                             "' of the step; fix: sample from a model without it");
  std::ranges::fill(step.integers(*tokens), 0);
  std::ranges::fill(step.integers(*targets), -1);
  std::ranges::fill(step.integers(*positions), 0);
  if (documents)
    std::ranges::fill(step.integers(*documents), 0);
  std::string text = prompt;
  fputs(prompt.c_str(), stdout);
  uint64_t key = streamKey(descriptor.seed, "sample");
  for (int64_t n = 0; n < count; ++n) {
    size_t length = std::min<size_t>(text.size(), descriptor.sequence);
    for (size_t t = 0; t < length; ++t)
      step.integers(*tokens)[t] = uint8_t(text[text.size() - length + t]);
    step.integers(*positions)[0] = int32_t(length - 1);
    step.sendInputs();
    step.runEvaluation();
    std::vector<float> scores = step.readOutput(*logits);
    text += char(draw(std::span(scores).first(bytes), unit(key, n)));
    fputc(text.back(), stdout);
    fflush(stdout);
  }
  fputc('\n', stdout);
}

} // namespace megacc::runtime

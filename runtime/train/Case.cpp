#include "runtime/train/Case.h"
#include "runtime/kernels/optimizer/Rounding.h"
#include "runtime/state/Random.h"
#include "runtime/state/Safetensors.h"
#include "runtime/train/Batches.h"
#include "runtime/train/Interventions.h"
#include "runtime/train/Settings.h"
#include "runtime/train/State.h"

#include <algorithm>
#include <bit>
#include <list>

namespace megacc::runtime {
namespace {

constexpr int64_t case_steps = 3;

/// Inputs that the host makes itself.
bool isMadeByHost(const Place &input) {
  return input.name == "scalars" || input.name == "step" || input.name == "positions" || input.name == "stp.spans";
}

/// Whether the case holds exactly what the step wants; every mismatch is one line of the error.
void checkCase(const Step &step, const SafetensorsFile &file, const std::filesystem::path &path) {
  std::string mistakes;
  auto expect = [&](const std::string &name, const std::string &dtype, const std::vector<int64_t> &shape) {
    auto found = file.entries().find(name);
    if (found == file.entries().end())
      mistakes += "\n  '" + name + "' is missing";
    else if (found->second.dtype != dtype || found->second.shape != shape)
      mistakes += "\n  '" + name + "' is " + found->second.dtype + " " + shapeText(found->second.shape) + ", the step takes " + dtype +
                  " " + shapeText(shape);
  };
  const Descriptor &descriptor = step.descriptor();
  for (const ParameterPlace &parameter : descriptor.parameters)
    expect("param." + parameter.name, "F32", parameter.shape);
  for (const Place &input : descriptor.inputs) {
    if (isMadeByHost(input))
      continue;
    std::vector<int64_t> shape = input.shape;
    shape.front() = descriptor.micro_batch; // of all ranks
    shape.insert(shape.begin(), descriptor.accumulate);
    expect("input." + input.name, "I32", shape);
  }
  for (const auto &[name, entry] : file.entries()) {
    auto isParameter = [&](const ParameterPlace &parameter) { return "param." + parameter.name == name; };
    if (name.starts_with("param.") && std::ranges::none_of(descriptor.parameters, isParameter))
      mistakes += "\n  '" + name + "' is not a parameter of the model";
    if (name.starts_with("input.") && !descriptor.findInput(name.substr(6)))
      mistakes += "\n  '" + name + "' is not an input of the step" + (name == "input.documents" ? "; compile it with --documents" : "");
  }
  if (!mistakes.empty())
    throw FileError(path.string() + " does not fit the step of @" + descriptor.model + ":" + mistakes);
}

/// Tokens are in the model's vocab; targets too, or negative. `values` is of all micro-batches.
void checkVocabulary(const Descriptor &descriptor, const Place &place, const std::vector<int32_t> &values,
                     const std::filesystem::path &path) {
  bool targets = place.name == "targets";
  if (place.name != "tokens" && !targets)
    return;
  auto wrong = std::ranges::find_if(values, [&](int32_t value) { return value >= descriptor.vocab || (value < 0 && !targets); });
  if (wrong == values.end())
    return;
  int64_t index = wrong - values.begin(), row = index / descriptor.sequence;
  throw FileError(path.string() + ": 'input." + place.name + "' has " + std::to_string(*wrong) + " at " +
                  shapeText({row / descriptor.micro_batch, row % descriptor.micro_batch, index % descriptor.sequence}) +
                  ", outside the model's vocab " + std::to_string(descriptor.vocab) + "; fix: make the case for this model");
}

/// The bf16 bits to which `round.in` of a case is rounded as the first elements of the first parameter's moments at the first update.
std::vector<std::vector<int32_t>> roundValues(const Descriptor &descriptor, SafetensorsFile &file) {
  auto found = file.entries().find("round.in");
  if (found == file.entries().end())
    return {};
  std::vector<float> values(countElements(found->second.shape));
  file.readFloats("round.in", 0, values);
  const RoundingStream stream = {megacc::draw(streamKey(descriptor.seed, "round." + descriptor.parameters.front().name), 1), nullptr};
  std::vector<std::vector<int32_t>> rounded(2);
  for (size_t i = 0; i < values.size(); ++i)
    for (int which : {0, 1})
      rounded[which].push_back(roundBits(std::bit_cast<uint32_t>(values[i]), uint32_t(stream.draw(int64_t(i), {}) >> 16 * which)));
  return rounded;
}

} // namespace

void runCase(Step &step, const std::filesystem::path &input, const std::filesystem::path &output) {
  SafetensorsFile file(input);
  if (file.hasHashes())
    file.verify();
  checkInputs(step);
  checkCase(step, file, input);
  const Descriptor &descriptor = step.descriptor();
  step.clearState();
  step.poison();
  for (const ParameterPlace &parameter : descriptor.parameters) {
    std::vector<float> values(countElements(parameter.shape));
    file.readFloats("param." + parameter.name, 0, values);
    step.writeState(parameter, StatePart::value, 0, values);
  }
  for (const Place &place : descriptor.inputs) {
    if (isMadeByHost(place))
      continue;
    int64_t count = place.elements(), stride = count * descriptor.dataRanks();
    std::vector<int32_t> all(descriptor.accumulate * stride);
    file.read("input." + place.name, "I32", std::as_writable_bytes(std::span(all)));
    checkVocabulary(descriptor, place, all, input);
    for (int64_t m = 0; m < descriptor.accumulate; ++m)
      std::copy_n(all.begin() + m * stride + step.mesh().dataRank() * count, count, step.integers(place, m).begin());
  }

  std::list<std::vector<float>> kept; // what the views below look at
  std::map<std::string, TensorSource> results;
  auto keep = [&](const std::string &name, std::vector<float> values, std::vector<int64_t> shape) {
    const std::vector<float> &stored = kept.emplace_back(std::move(values));
    results[name] = viewOf(stored, std::move(shape));
  };
  bool has_moments = std::ranges::any_of(file.entries(), [](const auto &entry) { return entry.first.starts_with("m1."); });
  std::map<std::string, std::vector<float>> losses;
  std::vector<float> norms;
  RunSettings settings{descriptor.optimizer.lr, descriptor.optimizer.final_lr, descriptor.optimizer.warmup, descriptor.optimizer.steps};
  std::vector<Schedule> schedules;
  for (const Intervention &intervention : descriptor.interventions)
    schedules.push_back(intervention.schedule);
  for (int64_t t = 1; t <= case_steps; ++t) {
    stageScalars(step, learningRate(settings, descriptor.optimizer.schedule, t), t);
    runStep(step);
    Losses now = readLosses(step);
    for (const auto &[name, value] : now.terms)
      losses[name].push_back(float(value));
    losses["total"].push_back(float(now.total));
    norms.push_back(float(readGradientNorm(step)));
    interveneAfter(step, schedules, t, /*finite=*/true);
    if (t == 1) {
      for (const ParameterPlace &parameter : descriptor.parameters)
        if (parameter.trained)
          keep("grad." + parameter.name, step.readState(parameter, StatePart::gradient), parameter.shape);
      for (const auto &[name, values] : readBlocks(step))
        keep("measured." + name, {values.begin(), values.end()}, {int64_t(values.size())});
      for (const Place &place : descriptor.outputs) {
        if (place.function != "micro_batch")
          continue;
        if (step.mesh().size() > 1)
          throw std::runtime_error("the output '" + place.name + "' of several ranks is not supported yet; fix: compile it without --taps");
        std::vector<float> all;
        for (int64_t m = 0; m < descriptor.accumulate; ++m) {
          std::vector<float> values = step.readOutput(place, m);
          all.insert(all.end(), values.begin(), values.end());
        }
        std::vector<int64_t> shape = place.shape;
        shape.insert(shape.begin(), descriptor.accumulate);
        keep(place.name, std::move(all), std::move(shape));
      }
    }
    if (t == 1 || t == case_steps)
      for (const ParameterPlace &parameter : descriptor.parameters) {
        auto keepPart = [&](const char *name, StatePart part) {
          keep(name + std::to_string(t) + "." + parameter.name, step.readState(parameter, part), parameter.shape);
        };
        keepPart("param", StatePart::value);
        if (!parameter.trained || !has_moments)
          continue;
        keepPart("m", StatePart::first_moment);
        if (parameter.second_moment)
          keepPart("v", StatePart::second_moment);
      }
  }
  for (auto &[name, values] : losses)
    keep("loss." + name, std::move(values), {case_steps});
  keep("grad_norm", std::move(norms), {case_steps});
  std::vector<std::vector<int32_t>> rounded = roundValues(descriptor, file); // of m and of v
  for (size_t i = 0; i < rounded.size(); ++i)
    results[i == 0 ? "round.m" : "round.v"] = viewOf(std::span<const int32_t>(rounded[i]), {int64_t(rounded[i].size())});
  if (step.mesh().rank() == 0)
    writeSafetensors(output, results);
}

void writeInitial(Step &step, const std::filesystem::path &output) {
  initializeState(step);
  std::list<std::vector<float>> kept;
  std::map<std::string, TensorSource> results;
  for (const ParameterPlace &parameter : step.descriptor().parameters) {
    std::vector<float> &values = kept.emplace_back(step.readState(parameter, StatePart::value));
    if (values.size() > 16)
      values.erase(values.begin() + 8, values.end() - 8);
    results["initial." + parameter.name] = viewOf(values, {int64_t(values.size())});
  }
  writeSafetensors(output, results);
}

} // namespace megacc::runtime

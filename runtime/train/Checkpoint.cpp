#include "runtime/train/Checkpoint.h"
#include "runtime/state/Safetensors.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace megacc::runtime {
namespace {

constexpr const char *format_name = "megacc checkpoint 1";

std::string exactText(double value) {
  char text[40];
  snprintf(text, sizeof text, "%.17g", value);
  return text;
}

/// Moments of a parameter in the file.
std::string firstMoment(const ParameterPlace &parameter) { return "optimizer.m." + parameter.name; }
std::string secondMoment(const ParameterPlace &parameter) { return "optimizer.v." + parameter.name; }

/// The first key that the file lacks or has in another shape.
void checkKeys(const Step &step, const SafetensorsFile &file, const std::filesystem::path &path, bool with_moments) {
  auto expect = [&](const std::string &name, const std::vector<int64_t> &shape) {
    auto found = file.entries().find(name);
    std::string has = found == file.entries().end() ? "no such tensor" : found->second.dtype + " " + shapeText(found->second.shape);
    if (has != "F32 " + shapeText(shape))
      throw FileError(path.string() + ": is of another model: '" + name + "' is F32 " + shapeText(shape) + " in @" + step.descriptor().model +
                      ", the file has " + has + "; fix: use the step.so this run was started with");
  };
  for (const ParameterPlace &parameter : step.descriptor().parameters) {
    expect(parameter.name, parameter.shape);
    if (with_moments && parameter.trained)
      expect(firstMoment(parameter), parameter.shape), expect(secondMoment(parameter), parameter.shape);
  }
  if (!with_moments)
    return;
  for (const auto &[name, entry] : file.entries()) {
    auto known = [&](const ParameterPlace &parameter) { return name == parameter.name || name.ends_with("." + parameter.name); };
    const auto &parameters = step.descriptor().parameters;
    if (name != "optimizer.step" && name != "data.position" && std::none_of(parameters.begin(), parameters.end(), known))
      throw FileError(path.string() + ": is of another model: it has '" + name + "' " + shapeText(entry.shape) + ", @" +
                      step.descriptor().model + " has no such tensor; fix: use the step.so this run was started with");
  }
}

std::string find(const Metadata &metadata, const std::string &key, const std::filesystem::path &path) {
  auto found = metadata.find(key);
  if (found == metadata.end())
    throw FileError(path.string() + ": lacks '" + key + "' in its metadata; it is no checkpoint of megacc-run");
  return found->second;
}

} // namespace

std::filesystem::path checkpointPath(const std::filesystem::path &folder) { return folder / "checkpoint.safetensors"; }

void saveCheckpoint(Step &step, const RunState &state, const std::filesystem::path &path) {
  const Descriptor &descriptor = step.descriptor();
  std::map<std::string, TensorView> tensors;
  for (const ParameterPlace &parameter : descriptor.parameters) {
    tensors[parameter.name] = viewOf(step.weights(parameter), parameter.shape);
    if (!parameter.trained)
      continue;
    tensors[firstMoment(parameter)] = viewOf(step.firstMoments(parameter), parameter.shape);
    tensors[secondMoment(parameter)] = viewOf(step.secondMoments(parameter), parameter.shape);
  }
  tensors["optimizer.step"] = viewOf(std::span(&state.step, 1), {});
  tensors["data.position"] = viewOf(std::span(&state.position, 1), {});
  writeSafetensors(path, tensors,
                   {{"format", format_name},
                    {"model", descriptor.model},
                    {"megacc", descriptor.compiler},
                    {"seed", std::to_string(descriptor.seed)},
                    {"lr", exactText(state.settings.lr)},
                    {"final_lr", exactText(state.settings.final_lr)},
                    {"warmup", std::to_string(state.settings.warmup)},
                    {"steps", std::to_string(state.settings.steps)},
                    {"kernels", step.kernelVariant()}});
}

RunState loadCheckpoint(Step &step, const std::filesystem::path &path) {
  SafetensorsFile file(path);
  file.verify();
  const Metadata &about = file.metadata();
  if (std::string format = find(about, "format", path); format != format_name)
    throw FileError(path.string() + ": has format '" + format + "', this megacc-run reads '" + format_name + "'");
  checkKeys(step, file, path, /*with_moments=*/true);
  if (std::string seed = find(about, "seed", path); seed != std::to_string(step.descriptor().seed))
    throw FileError(path.string() + ": was trained with seed " + seed + ", the step has seed " + std::to_string(step.descriptor().seed) +
                    ", and would read other data; fix: use the step.so this run was started with");
  if (std::string variant = find(about, "kernels", path); variant != step.kernelVariant())
    fprintf(stderr, "warning: %s was computed with %s kernels, this machine uses %s: the run goes on, but not to the same bits\n", path.c_str(),
            variant.c_str(), step.kernelVariant().c_str());
  for (const ParameterPlace &parameter : step.descriptor().parameters) {
    file.read(parameter.name, "F32", std::as_writable_bytes(step.weights(parameter)));
    if (!parameter.trained)
      continue;
    file.read(firstMoment(parameter), "F32", std::as_writable_bytes(step.firstMoments(parameter)));
    file.read(secondMoment(parameter), "F32", std::as_writable_bytes(step.secondMoments(parameter)));
  }
  RunState state;
  file.read("optimizer.step", "I64", std::as_writable_bytes(std::span(&state.step, 1)));
  file.read("data.position", "I64", std::as_writable_bytes(std::span(&state.position, 1)));
  state.settings = {std::strtod(find(about, "lr", path).c_str(), nullptr), std::strtod(find(about, "final_lr", path).c_str(), nullptr),
                    std::strtoll(find(about, "warmup", path).c_str(), nullptr, 10),
                    std::strtoll(find(about, "steps", path).c_str(), nullptr, 10)};
  return state;
}

void loadParameters(Step &step, const std::filesystem::path &path) {
  SafetensorsFile file(path);
  checkKeys(step, file, path, /*with_moments=*/false);
  for (const ParameterPlace &parameter : step.descriptor().parameters)
    file.read(parameter.name, "F32", std::as_writable_bytes(step.weights(parameter)));
}

} // namespace megacc::runtime

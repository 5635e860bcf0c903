#include "runtime/train/Checkpoint.h"
#include "runtime/core/Bfloat16.h"
#include "runtime/state/Safetensors.h"

#include <algorithm>
#include <cmath>
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

/// What the file has of a trained parameter beside its value; the master where the parameter itself is BF16.
std::string firstMoment(const ParameterPlace &parameter) { return "optimizer.m." + parameter.name; }
std::string secondMoment(const ParameterPlace &parameter) { return "optimizer.v." + parameter.name; }
std::string master(const ParameterPlace &parameter) { return "optimizer.master." + parameter.name; }

/// The first key that the file lacks or has in another shape. Parameters may be F32 or BF16, whatever the step has.
void checkKeys(const Step &step, const SafetensorsFile &file, const std::filesystem::path &path, bool with_moments) {
  auto expect = [&](const std::string &name, const std::vector<int64_t> &shape, bool may_be_half) {
    auto found = file.entries().find(name);
    bool half = may_be_half && found != file.entries().end() && found->second.dtype == "BF16";
    std::string has = found == file.entries().end() ? "no such tensor" : found->second.dtype + " " + shapeText(found->second.shape);
    if (has != (half ? "BF16 " : "F32 ") + shapeText(shape))
      throw FileError(path.string() + ": is of another model: '" + name + "' is F32 " + shapeText(shape) + " in @" +
                      step.descriptor().model + ", the file has " + has + "; fix: use the step.so this run was started with");
    return half;
  };
  for (const ParameterPlace &parameter : step.descriptor().parameters) {
    bool half = expect(parameter.name, parameter.shape, true);
    if (half && with_moments)
      expect(master(parameter), parameter.shape, false);
    if (with_moments && parameter.trained)
      expect(firstMoment(parameter), parameter.shape, false), expect(secondMoment(parameter), parameter.shape, false);
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

TensorSource sourceOf(Step &step, const ParameterPlace &parameter, StatePart part) {
  return {"F32", parameter.shape, [&step, &parameter, part](uint64_t offset, std::span<std::byte> target) {
            std::span<float> values(reinterpret_cast<float *>(target.data()), target.size() / 4);
            step.readState(parameter, part, int64_t(offset / 4), values);
            if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); }))
              throw FileError("the state is not finite, first in " + std::string(part == StatePart::value ? "" : "a moment of ") +
                              parameter.name + "; no checkpoint was written, an older one stays; fix: a smaller --lr");
          }};
}

/// The weight as it is, of a BF16 parameter.
TensorSource halfSourceOf(Step &step, const ParameterPlace &parameter) {
  return {"BF16", parameter.shape, [&step, &parameter](uint64_t offset, std::span<std::byte> target) {
            std::vector<float> values(target.size() / 2);
            step.readState(parameter, StatePart::weight, int64_t(offset / 2), values);
            std::ranges::transform(values, reinterpret_cast<uint16_t *>(target.data()), toBfloat16);
          }};
}

void load(Step &step, const ParameterPlace &parameter, StatePart part, SafetensorsFile &file, const std::string &name) {
  std::vector<float> values;
  for (int64_t first = 0, count = countElements(parameter.shape); first < count; first += int64_t(values.size())) {
    values.resize(std::min(count - first, Step::transfer_elements));
    file.readFloats(name, first, values);
    step.writeState(parameter, part, first, values);
  }
}

/// The fp32 value is the master where the file has one.
void loadValue(Step &step, const ParameterPlace &parameter, SafetensorsFile &file) {
  load(step, parameter, StatePart::value, file, file.entries().contains(master(parameter)) ? master(parameter) : parameter.name);
}

std::string find(const Metadata &metadata, const std::string &key, const std::filesystem::path &path) {
  auto found = metadata.find(key);
  if (found == metadata.end())
    throw FileError(path.string() + ": lacks '" + key + "' in its metadata; it is no checkpoint of megacc-run");
  return found->second;
}

} // namespace

std::filesystem::path checkpointPath(const std::filesystem::path &folder) { return folder / "checkpoint.safetensors"; }

/// checkpoint.N.safetensors beside checkpoint.safetensors.
static std::filesystem::path olderPath(const std::filesystem::path &path, int64_t age) {
  return std::filesystem::path(path).replace_extension(std::to_string(age) + path.extension().string());
}

/// Moves older checkpoints one place on and gives the newest a second name, the first of them, so that the new one can take its place.
static void keepOlder(const std::filesystem::path &path, int64_t keep) {
  if (keep < 2 || !std::filesystem::exists(path))
    return;
  try {
    for (int64_t age = keep - 1; age > 1; --age)
      if (std::filesystem::exists(olderPath(path, age - 1)))
        std::filesystem::rename(olderPath(path, age - 1), olderPath(path, age));
    std::filesystem::remove(olderPath(path, 1));
    std::filesystem::create_hard_link(path, olderPath(path, 1));
  } catch (const std::filesystem::filesystem_error &error) {
    throw FileError(path.string() + ": cannot keep the older checkpoint: " + error.code().message() + "; fix: --keep 1, or another --out");
  }
}

void saveCheckpoint(Step &step, const RunState &state, const std::filesystem::path &path, int64_t keep) {
  const Descriptor &descriptor = step.descriptor();
  std::map<std::string, TensorSource> tensors;
  for (const ParameterPlace &parameter : descriptor.parameters) {
    tensors[parameter.name] = parameter.master ? halfSourceOf(step, parameter) : sourceOf(step, parameter, StatePart::value);
    if (parameter.master)
      tensors[master(parameter)] = sourceOf(step, parameter, StatePart::value);
    if (!parameter.trained)
      continue;
    tensors[firstMoment(parameter)] = sourceOf(step, parameter, StatePart::first_moment);
    tensors[secondMoment(parameter)] = sourceOf(step, parameter, StatePart::second_moment);
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
                    {"kernels", step.kernelVariant()}},
                   [&] { keepOlder(path, keep); });
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
    fprintf(stderr, "warning: %s was computed with %s kernels, this machine uses %s: the run goes on, but not to the same bits\n",
            path.c_str(), variant.c_str(), step.kernelVariant().c_str());
  for (const ParameterPlace &parameter : step.descriptor().parameters) {
    loadValue(step, parameter, file);
    if (!parameter.trained)
      continue;
    load(step, parameter, StatePart::first_moment, file, firstMoment(parameter));
    load(step, parameter, StatePart::second_moment, file, secondMoment(parameter));
  }
  RunState state;
  file.read("optimizer.step", "I64", std::as_writable_bytes(std::span(&state.step, 1)));
  file.read("data.position", "I64", std::as_writable_bytes(std::span(&state.position, 1)));
  state.settings = {std::strtod(find(about, "lr", path).c_str(), nullptr), std::strtod(find(about, "final_lr", path).c_str(), nullptr),
                    std::strtoll(find(about, "warmup", path).c_str(), nullptr, 10),
                    std::strtoll(find(about, "steps", path).c_str(), nullptr, 10)};
  for (double setting : {state.settings.lr, state.settings.final_lr})
    if (!std::isfinite(setting))
      throw FileError(path.string() + ": its learning rates are " + find(about, "lr", path) + " and " + find(about, "final_lr", path) +
                      ", expected finite numbers");
  return state;
}

void loadParameters(Step &step, const std::filesystem::path &path) {
  SafetensorsFile file(path);
  checkKeys(step, file, path, /*with_moments=*/false);
  for (const ParameterPlace &parameter : step.descriptor().parameters)
    loadValue(step, parameter, file);
}

} // namespace megacc::runtime

#include "runtime/train/Checkpoint.h"
#include "runtime/core/Bfloat16.h"
#include "runtime/state/Safetensors.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

namespace megacc::runtime {
namespace {

constexpr const char *format_name = "megacc checkpoint 2";

std::string exactText(double value) {
  char text[40];
  snprintf(text, sizeof text, "%.17g", value);
  return text;
}

/// What the file has of a trained parameter beside its value; the master where the parameter itself is BF16.
std::string firstMoment(const ParameterPlace &parameter) { return "optimizer.m." + parameter.name; }
std::string secondMoment(const ParameterPlace &parameter) { return "optimizer.v." + parameter.name; }
std::string master(const ParameterPlace &parameter) { return "optimizer.master." + parameter.name; }

/// The first key that the file lacks or has in another shape, and of a checkpoint the first that the step lacks. Parameters and moments may
/// be F32 or BF16, whatever the step has.
void checkKeys(const Step &step, const SafetensorsFile &file, const std::filesystem::path &path, bool with_moments) {
  const std::string of_model = " in @" + step.descriptor().model, other_model = path.string() + ": is of another model: ";
  std::set<std::string> known = {"optimizer.step", "data.position"};
  auto expect = [&](const std::string &name, const std::vector<int64_t> &shape, bool may_be_half) {
    auto found = file.entries().find(name);
    bool half = may_be_half && found != file.entries().end() && found->second.dtype == "BF16";
    std::string has = found == file.entries().end() ? "no such tensor" : found->second.dtype + " " + shapeText(found->second.shape);
    if (has != (half ? "BF16 " : "F32 ") + shapeText(shape))
      throw FileError(other_model + "'" + name + "' is F32 " + shapeText(shape) + of_model + ", the file has " + has +
                      "; fix: use the step.so this run was started with");
    known.insert(name);
    return half;
  };
  for (const ParameterPlace &parameter : step.descriptor().parameters) {
    bool half = expect(parameter.name, parameter.shape, true);
    if (with_moments && (half || file.entries().contains(master(parameter))))
      expect(master(parameter), parameter.shape, false);
    if (with_moments && parameter.trained)
      expect(firstMoment(parameter), parameter.shape, true);
    if (with_moments && parameter.second_moment)
      expect(secondMoment(parameter), parameter.shape, true);
  }
  if (!with_moments)
    return;
  for (const auto &[name, entry] : file.entries())
    if (!known.contains(name))
      throw FileError(other_model + "it has '" + name + "' " + shapeText(entry.shape) + ", which is not" + of_model +
                      "; fix: use the step.so this run was started with");
}

using Fields = std::map<std::string, std::string>;

/// Every field that differs, with both values, a line each; "" where none does.
std::string describeDifferences(const Fields &then, const Fields &now, const std::string &of_now) {
  std::set<std::string> names;
  for (const Fields *fields : {&then, &now})
    for (const auto &[name, value] : *fields)
      names.insert(name);
  auto valueOf = [](const Fields &fields, const std::string &name) {
    auto found = fields.find(name);
    return found == fields.end() ? std::string("absent") : found->second;
  };
  std::string text;
  for (const std::string &name : names)
    if (std::string before = valueOf(then, name), after = valueOf(now, name); before != after)
      text += "\n  '" + name + "' is " + before + " in the checkpoint and " + after + " in " + of_now;
  return text;
}

[[noreturn]] void refuseState(const ParameterPlace &parameter, StatePart part) {
  bool is_moment = part == StatePart::first_moment || part == StatePart::second_moment;
  throw FileError("the state is not finite, first in " + std::string(is_moment ? "a moment of " : "") + parameter.name +
                  "; no checkpoint was written, an older one stays; fix: a smaller --lr");
}

TensorSource sourceOf(Step &step, const ParameterPlace &parameter, StatePart part) {
  return {"F32", parameter.shape, [&step, &parameter, part](uint64_t offset, std::span<std::byte> target) {
            std::span<float> values(reinterpret_cast<float *>(target.data()), target.size() / 4);
            step.collectState(parameter, part, int64_t(offset / 4), values);
            if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); }))
              refuseState(parameter, part);
          }};
}

/// What is BF16 as it is: a weight, or a moment.
TensorSource halfSourceOf(Step &step, const ParameterPlace &parameter, StatePart part) {
  return {"BF16", parameter.shape, [&step, &parameter, part](uint64_t offset, std::span<std::byte> target) {
            std::vector<float> values(target.size() / 2);
            step.collectState(parameter, part, int64_t(offset / 2), values);
            if (part != StatePart::weight && !std::ranges::all_of(values, [](float value) { return std::isfinite(value); }))
              refuseState(parameter, part);
            std::ranges::transform(values, reinterpret_cast<uint16_t *>(target.data()), toBfloat16);
          }};
}

void load(Step &step, const ParameterPlace &parameter, StatePart part, SafetensorsFile &file, const std::string &name) {
  std::vector<float> values;
  for (int64_t first = 0, count = countElements(parameter.shape); first < count; first += int64_t(values.size())) {
    values.resize(std::min(count - first, Step::transfer_elements));
    file.readFloats(name, first, values);
    if (auto wrong = std::ranges::find_if_not(values, [](float value) { return std::isfinite(value); }); wrong != values.end())
      throw FileError(file.name() + ": '" + name + "' is " + std::to_string(*wrong) + " at element " +
                      std::to_string(first + (wrong - values.begin())) + "; fix: start from finite parameters");
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
    throw FileError(path.string() + ": lacks '" + key + "' in its metadata; it is not a checkpoint of megacc-run");
  return found->second;
}

template <typename Number> Number readNumber(const Metadata &metadata, const std::string &key, const std::filesystem::path &path) {
  std::string text = find(metadata, key, path);
  Number number{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(double(number)) || number < Number(0))
    throw FileError(path.string() + ": its '" + key + "' is " + text + ", expected a finite number that is not negative");
  return number;
}

Fields readFields(const Metadata &metadata, const std::string &key, const std::filesystem::path &path) {
  try {
    return nlohmann::json::parse(find(metadata, key, path)).get<Fields>();
  } catch (const nlohmann::json::exception &) {
    throw FileError(path.string() + ": its '" + key + "' is damaged");
  }
}

std::string writeFields(const Fields &fields) {
  return nlohmann::json(fields).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// The fields of a declaration that say what the model is, without its training.
Fields modelOf(Fields declaration) {
  std::erase_if(declaration, [](const auto &field) { return field.first.starts_with("train/"); });
  return declaration;
}

/// The file is one of ours, as it was written, and of this format.
void checkFormat(const SafetensorsFile &file, const std::filesystem::path &path) {
  std::string format = find(file.metadata(), "format", path);
  if (format != format_name)
    throw FileError(path.string() + ": has format '" + format + "', this megacc-run reads '" + format_name + "'");
  file.verify();
}

void warnOfOther(const std::filesystem::path &path, const std::string &what, const std::string &then, const std::string &now) {
  if (then != now)
    fprintf(stderr, "warning: %s was computed with %s %s, this is %s: the run goes on, but not to the same bits\n", path.c_str(),
            what.c_str(), then.c_str(), now.c_str());
}

/// Another type of moments is legal: widening is exact, narrowing was to nearest even, this once.
void sayOtherMoments(const Descriptor &descriptor, const SafetensorsFile &file, const std::filesystem::path &path) {
  auto trained = std::ranges::find_if(descriptor.parameters, &ParameterPlace::trained);
  if (trained == descriptor.parameters.end())
    return;
  std::string then = file.entries().at(firstMoment(*trained)).dtype == "BF16" ? "bf16" : "fp32";
  if (then != descriptor.moments)
    fprintf(stderr, "%s has moments in %s, this run keeps them in %s: they were %s\n", path.c_str(), then.c_str(),
            descriptor.moments.c_str(), then == "fp32" ? "rounded to nearest even, once" : "widened, which is exact");
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
    tensors[parameter.name] =
        parameter.master ? halfSourceOf(step, parameter, StatePart::weight) : sourceOf(step, parameter, StatePart::value);
    if (parameter.master)
      tensors[master(parameter)] = sourceOf(step, parameter, StatePart::value);
    if (!parameter.trained)
      continue;
    auto momentSource = [&](StatePart part) {
      return parameter.moment_type == MG_BF16 ? halfSourceOf(step, parameter, part) : sourceOf(step, parameter, part);
    };
    tensors[firstMoment(parameter)] = momentSource(StatePart::first_moment);
    if (parameter.second_moment)
      tensors[secondMoment(parameter)] = momentSource(StatePart::second_moment);
  }
  tensors["optimizer.step"] = viewOf(std::span(&state.step, 1), {});
  tensors["data.position"] = viewOf(std::span(&state.position, 1), {});
  if (step.mesh().rank() != 0) {
    readThrough(tensors);
    step.mesh().largest(0);
    return;
  }
  Metadata about = {{"format", format_name},
                    {"model", descriptor.model},
                    {"megacc", descriptor.compiler},
                    {"declaration", writeFields(descriptor.declaration)},
                    {"declaration_hash", descriptor.declarationHash()},
                    {"data", writeFields(state.data)},
                    {"held_out", writeFields(state.held_out)},
                    {"lr", exactText(state.settings.lr)},
                    {"final_lr", exactText(state.settings.final_lr)},
                    {"warmup", std::to_string(state.settings.warmup)},
                    {"steps", std::to_string(state.settings.steps)},
                    {"precision", descriptor.precision},
                    {"kernels", step.kernelVariant()}};
  if (!state.interventions.empty())
    about["interventions"] = state.interventions;
  writeSafetensors(path, tensors, about, [&] { keepOlder(path, keep); });
  step.mesh().largest(0); // nobody goes on before it is there
}

RunState loadCheckpoint(Step &step, const std::filesystem::path &path) {
  SafetensorsFile file(path);
  checkFormat(file, path);
  const Metadata &about = file.metadata();
  const Descriptor &descriptor = step.descriptor();
  const Fields then = readFields(about, "declaration", path);
  std::string differences = describeDifferences(then, descriptor.declaration, "the step.so");
  auto compareKeys = [&] { checkKeys(step, file, path, /*with_moments=*/true); };
  if (modelOf(then) != modelOf(descriptor.declaration)) // of another optimizer the field says more than the tensors
    compareKeys();
  if (!differences.empty())
    throw FileError(
        path.string() + ": is of another declaration:" + differences +
        "\nfix: use the step.so this run was started with (--lr, --warmup and --steps change a resumed run), or --init for a new run");
  compareKeys();
  warnOfOther(path, "the kernels", find(about, "kernels", path), step.kernelVariant());
  warnOfOther(path, "precision", find(about, "precision", path), descriptor.precision);
  warnOfOther(path, "megacc", find(about, "megacc", path), descriptor.compiler);
  RunState state;
  file.read("optimizer.step", "I64", std::as_writable_bytes(std::span(&state.step, 1)));
  file.read("data.position", "I64", std::as_writable_bytes(std::span(&state.position, 1)));
  if (state.step < 0 || state.position < state.step)
    throw FileError(path.string() + ": stands after step " + std::to_string(state.step) + " and batch " + std::to_string(state.position) +
                    " of the data, which no run does");
  state.settings = {readNumber<double>(about, "lr", path), readNumber<double>(about, "final_lr", path),
                    readNumber<int64_t>(about, "warmup", path), readNumber<int64_t>(about, "steps", path)};
  if (auto found = about.find("interventions"); found != about.end())
    state.interventions = found->second;
  state.data = readFields(about, "data", path), state.held_out = readFields(about, "held_out", path);
  for (const ParameterPlace &parameter : descriptor.parameters) {
    loadValue(step, parameter, file);
    if (!parameter.trained)
      continue;
    load(step, parameter, StatePart::first_moment, file, firstMoment(parameter));
    if (parameter.second_moment)
      load(step, parameter, StatePart::second_moment, file, secondMoment(parameter));
  }
  sayOtherMoments(descriptor, file, path);
  return state;
}

void checkSameData(const RunState &state, const Fingerprint &data, const Fingerprint &held_out, const std::filesystem::path &path) {
  if (std::string differences = describeDifferences(state.data, data, "the data given now"); !differences.empty())
    throw FileError(path.string() + ": the run was trained on other data:" + differences +
                    "\nfix: give --data, --eval-data and --token-type as before, with the same files, or --init for a new run");
  if (std::string differences = describeDifferences(state.held_out, held_out, "the data given now"); !differences.empty())
    fprintf(stderr, "warning: %s was evaluated on other held-out data:%s\n", path.c_str(), differences.c_str());
}

void loadModel(Step &step, const std::filesystem::path &path) {
  SafetensorsFile file(path);
  checkFormat(file, path);
  checkKeys(step, file, path, /*with_moments=*/false);
  Fields then = modelOf(readFields(file.metadata(), "declaration", path));
  if (std::string differences = describeDifferences(then, modelOf(step.descriptor().declaration), "the step.so"); !differences.empty())
    throw FileError(path.string() + ": is of another model:" + differences + "\nfix: use the step.so this run was started with");
  for (const ParameterPlace &parameter : step.descriptor().parameters)
    loadValue(step, parameter, file);
}

void loadParameters(Step &step, const std::filesystem::path &path) {
  SafetensorsFile file(path);
  if (file.hasHashes())
    file.verify();
  checkKeys(step, file, path, /*with_moments=*/false);
  if (file.metadata().contains("declaration")) {
    Fields then = modelOf(readFields(file.metadata(), "declaration", path));
    if (std::string differences = describeDifferences(then, modelOf(step.descriptor().declaration), "the step.so"); !differences.empty())
      fprintf(stderr, "warning: %s has the parameters of another model:%s\n", path.c_str(), differences.c_str());
  }
  for (const ParameterPlace &parameter : step.descriptor().parameters)
    loadValue(step, parameter, file);
}

} // namespace megacc::runtime

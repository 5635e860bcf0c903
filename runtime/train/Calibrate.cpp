#include "runtime/train/Calibrate.h"
#include "megacc/KernelSignatures.h"
#include "runtime/data/Corpus.h"
#include "runtime/state/Safetensors.h"
#include "runtime/train/Batches.h"
#include "runtime/train/Progress.h"
#include "runtime/train/State.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace megacc::runtime {
namespace {

constexpr int measured_steps = 5;

/// Times every launch of a step by what the launch is asked to do.
class CostObserver : public LaunchObserver {
public:
  explicit CostObserver(Step &step) : step(step) {}

  int32_t launch(const LaunchRecord &record, MgKernel kernel, const MgLaunch *launch) override {
    Device::Mark begin = step.target().mark();
    int32_t status = kernel(launch);
    Device::Mark end = step.target().mark();
    pending.push_back({describe(record.kernel, launch), std::move(begin), std::move(end)});
    return status;
  }

  /// Takes the times of the launches since the last call, unless they are of a first step, which loads code.
  void collect(bool keep) {
    for (const Timed &timed : pending)
      if (keep)
        milliseconds[timed.key].push_back(1e3 * step.target().elapsed(timed.begin, timed.end));
    pending.clear();
  }

  nlohmann::json costs() const {
    nlohmann::json list = nlohmann::json::array();
    for (auto [key, times] : milliseconds) {
      std::ranges::sort(times);
      nlohmann::json entry = nlohmann::json::parse(key);
      entry["milliseconds"] = times[times.size() / 2];
      entry["launches"] = int64_t(times.size()) / measured_steps;
      list.push_back(std::move(entry));
    }
    return list;
  }

private:
  struct Timed {
    std::string key;
    Device::Mark begin, end;
  };

  /// The kernel, its integers by name and the types of its operands, as JSON text.
  static std::string describe(const std::string &kernel, const MgLaunch *launch) {
    nlohmann::json entry = {{"kernel", kernel}, {"ints", nlohmann::json::object()}, {"types", nlohmann::json::array()}};
    for (const KernelSignature &signature : kernelSignatures)
      if (kernel == signature.symbol) {
        std::istringstream names(signature.ints);
        std::string name;
        for (int64_t i = 0; names >> name; ++i)
          entry["ints"][name] = launch->ints[i];
      }
    for (int64_t i = 0; i < launch->operand_count; ++i)
      entry["types"].push_back(launch->types[i] == MG_ABSENT ? "absent"
                               : launch->types[i] == MG_RAW  ? "raw"
                                                             : typeName(MgType(launch->types[i])));
    return entry.dump();
  }

  Step &step;
  std::vector<Timed> pending;
  std::map<std::string, std::vector<double>> milliseconds;
};

nlohmann::json readCalibration(const std::filesystem::path &path) {
  std::ifstream file(path);
  if (!file)
    throw FileError(path.string() + ": cannot be read: " + std::strerror(errno));
  nlohmann::json content = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!content.is_object() || !content["target"].is_string() || !content["choices"].is_array())
    throw FileError(path.string() + ": is not a file that --calibrate wrote");
  return content;
}

} // namespace

void calibrate(Step &step, const RunOptions &options, const std::filesystem::path &path) {
  checkInputs(step);
  Corpus corpus = openCorpus(options.data, options.token_type, step.descriptor().vocab, false, {}, wantedColumns(step));
  checkLength(step, corpus.train);
  initializeState(step);
  if (step.target().hasChoices())
    step.target().calibrate();
  CostObserver observer(step);
  step.setObserver(&observer);
  const Descriptor &about = step.descriptor();
  // Half of the steps launch by launch, half as a whole; the first of each half loads code, or captures.
  const int half = measured_steps + 1;
  Progress progress(1, 2 * half, about.accumulate * about.micro_batch * about.sequence);
  std::vector<double> whole;
  for (int t = 1; t <= 2 * half; ++t) {
    if (t == half + 1)
      step.setObserver(nullptr);
    stageTrainingBatch(step, corpus.train, t - 1);
    stageScalars(step, about.optimizer.lr, t);
    Device::Mark begin = step.target().mark();
    runStep(step);
    double milliseconds = 1e3 * step.target().elapsed(begin, step.target().mark());
    observer.collect(t > 1);
    if (t > half + 1)
      whole.push_back(milliseconds);
    progress.show(t, readLosses(step).total);
  }
  progress.clear();
  std::ranges::sort(whole);

  nlohmann::ordered_json content = {{"target", about.target}, {"machine", step.kernelVariant()}};
  content["choices"] = nlohmann::ordered_json::array();
  if (step.target().hasChoices()) {
    std::istringstream lines(step.target().choices());
    for (std::string line; std::getline(lines, line);)
      content["choices"].push_back(line);
  }
  content["costs"] = observer.costs();
  double kernels = 0, steps = whole[whole.size() / 2];
  for (const auto &cost : content["costs"])
    kernels += cost["milliseconds"].get<double>() * cost["launches"].get<double>();
  content["step_milliseconds"] = steps, content["kernel_milliseconds"] = kernels;
  std::ofstream file(path);
  file << content.dump(1) << "\n";
  if (!file.flush())
    throw FileError(path.string() + ": cannot be written: " + std::strerror(errno));
  printf("%s: %zu choices, times of %zu launches\n", path.c_str(), content["choices"].empty() ? 0 : content["choices"].size() - 1,
         content["costs"].size());
  printf("a step: %.3f ms, its kernels: %.3f ms, between them: %.1f %%\n", steps, kernels, 100 * (steps - kernels) / steps);
}

void setChoices(Step &step, const std::filesystem::path &path) {
  nlohmann::json content = readCalibration(path);
  const std::string &target = step.descriptor().target;
  if (content["target"] != target)
    throw FileError(path.string() + ": is of target " + content["target"].get<std::string>() + ", the step of " + target +
                    "; fix: --calibrate with this step");
  if (!step.target().hasChoices())
    throw FileError(path.string() + ": the kernels of target " + target + " have nothing to choose; fix: leave --choices out");
  std::string text;
  for (const nlohmann::json &line : content["choices"])
    text += (line.is_string() ? line.get<std::string>() : std::string("?")) + "\n";
  try {
    step.target().setChoices(text);
  } catch (const std::runtime_error &error) {
    throw FileError(path.string() + ": " + error.what());
  }
}

} // namespace megacc::runtime

#include "runtime/train/Loop.h"
#include "runtime/data/Corpus.h"
#include "runtime/state/FileSystem.h"
#include "runtime/train/Batches.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/FolderLock.h"
#include "runtime/train/Interventions.h"
#include "runtime/train/MetricsLog.h"
#include "runtime/train/Observers.h"
#include "runtime/train/Progress.h"
#include "runtime/train/Signals.h"
#include "runtime/train/State.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <sys/stat.h>

namespace fs = std::filesystem;

namespace megacc::runtime {
namespace {

class Run {
public:
  Run(Step &step, const RunOptions &options) : step(step), options(options), about(step.descriptor()) {}

  int run() {
    folder = options.out.empty() ? options.resume : options.out;
    checkInputs(step);
    if (options.log_every && !about.findMetric("block_norm.0"))
      throw std::runtime_error("--log-every " + std::to_string(options.log_every) +
                               ": the step measures no blocks; fix: compile it with --log-blocks");
    prepareState();
    openData();
    stageTrainingBatch(step, corpus.train, state.position); // a token that does not fit shows before anything is written
    prepareFolder();
    MetricsLog log(folder / "metrics.jsonl", (options.resume.empty() ? folder : options.resume) / "metrics.jsonl", state.step, isFirst());
    return loop(log);
  }

private:
  /// What tells a file from one that takes its place.
  using Identity = std::array<int64_t, 5>;
  static Identity identify(const fs::path &file) {
    struct stat about = {};
    if (::stat(file.c_str(), &about) != 0)
      return {};
    return {int64_t(about.st_dev), int64_t(about.st_ino), about.st_size, about.st_mtim.tv_sec, about.st_mtim.tv_nsec};
  }

  /// The rank that writes; ranks are asked for what they do together in the same order on all of them.
  bool isFirst() const { return step.mesh().rank() == 0; }
  /// The signal that any rank has caught; all ranks act on it after the same step.
  int caughtSignal() const { return int(step.mesh().largest(SignalGuard::caught())); }

  bool isResumedInPlace() const {
    std::error_code error;
    return !options.resume.empty() && fs::equivalent(options.resume, folder, error);
  }

  /// Initial, read, or resumed state and the settings of the run.
  void prepareState() {
    std::optional<RunSettings> resumed;
    fs::path checkpoint = checkpointPath(options.resume);
    if (!options.resume.empty()) {
      if (!fs::exists(checkpoint))
        throw FileError(options.resume.string() +
                        ": holds no checkpoint.safetensors to resume from; fix: name the --out folder of an earlier run");
      resumed_file = identify(checkpoint);
      state = loadCheckpoint(step, checkpoint);
      resumed = state.settings;
    } else {
      initializeState(step);
      if (!options.init.empty())
        loadParameters(step, options.init);
    }
    std::vector<std::string> notes;
    state.settings = chooseSettings(about.optimizer, resumed, state.step, options.settings, notes);
    std::vector<size_t> once = readNumbers(about.interventions, options.intervene);
    schedules = chooseSchedules(about.interventions, state.interventions, options.interventions, state.step, state.settings.steps, notes);
    state.interventions = schedules.empty() ? "" : storeSchedules(about.interventions, schedules);
    if (resumed)
      fprintf(stderr, "resuming after step %lld of %s; the run ends after step %lld\n", (long long)state.step, checkpoint.c_str(),
              (long long)state.settings.steps);
    for (const std::string &note : notes)
      fprintf(stderr, "%s\n", note.c_str());
    for (size_t number : once)
      reports.push_back(intervene(step, number));
  }

  /// To the log, and a line each for people.
  void noteReports(MetricsLog &log, Progress &progress) {
    for (const nlohmann::ordered_json &report : reports) {
      nlohmann::ordered_json entry = {{"step", state.step}};
      entry.update(report);
      log.add(entry);
      progress.clear();
      fprintf(stderr, "step %lld: %s\n", (long long)state.step, describeReport(report).c_str());
    }
    reports.clear();
  }

  void openData() {
    std::vector<fs::path> run_folders = {folder};
    if (!options.resume.empty())
      run_folders.push_back(options.resume);
    corpus = openCorpus(options.data, options.token_type, about.vocab, options.eval_data.empty(), run_folders, wantedColumns(step));
    if (!options.eval_data.empty())
      openEvaluationData(run_folders);
    if (corpus.train.knowsDocuments() && !about.findInput("documents"))
      corpus.notes.push_back(corpus.name + " has documents, which the step does not take; fix: compile it with --documents");
    for (const std::string &note : corpus.notes)
      fprintf(stderr, "data: %s\n", note.c_str());
    std::string missing = describeMissing(step, corpus.train, corpus.name);
    if (corpus.held_out && missing.empty())
      missing = describeMissing(step, *corpus.held_out, corpus.held_out_name);
    if (!missing.empty())
      throw DataError(missing + "; fix: write these files (of C++ sources tools/prepare-cpp does), or leave the placement out");
    std::string mistakes = describeShortage(step, corpus.train, corpus.name), fixes = "; fix: give more data";
    if (corpus.held_out)
      if (std::string shortage = describeShortage(step, *corpus.held_out, corpus.held_out_name); !shortage.empty())
        mistakes += (mistakes.empty() ? "" : "\n") + shortage, fixes += ", or name held-out data with --eval-data";
    if (!mistakes.empty())
      throw DataError(mistakes + fixes);
    if (!corpus.held_out && options.eval_every)
      throw std::runtime_error("--eval-every needs held-out data, and " + corpus.name +
                               " has none (a token file, or fewer than 8 files); fix: --eval-data PATH");
    Fingerprint data = corpus.train.fingerprint(), held_out = corpus.held_out ? corpus.held_out->fingerprint() : Fingerprint();
    if (!options.resume.empty())
      checkSameData(state, data, held_out, checkpointPath(options.resume));
    state.data = data, state.held_out = held_out;
    fprintf(stderr, "data: %s, %lld tokens to train on, %lld held out\n", corpus.name.c_str(), (long long)corpus.train.size(),
            corpus.held_out ? (long long)corpus.held_out->size() : 0LL);
    fprintf(stderr, "kernels: %s\n", step.kernelVariant().c_str());
  }

  void openEvaluationData(const std::vector<fs::path> &run_folders) {
    Corpus other = openCorpus(options.eval_data, options.token_type, about.vocab, false, run_folders, wantedColumns(step));
    std::vector<fs::path> trained = corpus.train.files(), evaluated = other.train.files();
    int64_t shared = std::ranges::count_if(evaluated, [&](const fs::path &file) { return std::ranges::binary_search(trained, file); });
    if (shared)
      corpus.notes.push_back("warning: " + std::to_string(shared) + " of the " + std::to_string(evaluated.size()) +
                             " files of --eval-data are trained on, too");
    corpus.notes.insert(corpus.notes.end(), other.notes.begin(), other.notes.end());
    corpus.held_out = std::move(other.train), corpus.held_out_name = "the held-out data " + other.name;
  }

  /// Creates and locks it; nothing is written before everything else is known to be good.
  void prepareFolder() {
    if (!isFirst())
      return;
    bool is_resumed = isResumedInPlace();
    auto refuseOther = [&] {
      if (!is_resumed && fs::exists(checkpointPath(folder)))
        throw FileError(folder.string() + ": already holds the checkpoint of a run; fix: --resume " + folder.string() +
                        ", or another --out");
    };
    refuseOther();
    createFolders(folder);
    lock.emplace(folder);
    // Another run may have been here until now.
    refuseOther();
    if (is_resumed && identify(checkpointPath(folder)) != resumed_file)
      throw FileError(checkpointPath(folder).string() + ": was replaced while it was read, by another run; fix: --resume again");
  }

  /// The loop; what is done when it cannot go on is saved, unless it ends within a step.
  int loop(MetricsLog &log) {
    SignalGuard signals;
    Progress progress(state.step + 1, state.settings.steps, tokensOfStep());
    saved = isResumedInPlace() ? state.step : -1;
    step.mesh().watchdog().noteStep(state.step);
    try {
      return train(log, progress);
    } catch (const std::exception &error) {
      progress.clear();
      if (step.mesh().size() > 1) // other ranks may not have come here
        throw std::runtime_error("after step " + std::to_string(state.step) + ": " + error.what());
      if (is_in_step || is_saving)
        throw;
      try {
        save();
      } catch (const std::exception &second) {
        throw std::runtime_error(std::string(error.what()) + "\nerror: the steps done until then are not saved: " + second.what());
      }
      throw;
    }
  }

  /// After a first step, when drivers and libraries have taken what they take.
  void noteMemory(Progress &progress) {
    std::optional<int64_t> used = step.target().bytesInUse();
    if (!used)
      return;
    progress.clear();
    double planned = double(step.target().bytesReserved()) / (1 << 20), all = double(*used) / (1 << 20);
    fprintf(stderr, "memory: %.0f MiB planned and reserved, %.0f MiB in use on the card: %.0f MiB of driver, libraries, other programs\n",
            planned, all, all - planned);
  }

  int64_t tokensOfStep() const { return about.accumulate * about.micro_batch * about.sequence; }

  void save() {
    if (saved == state.step)
      return;
    is_saving = true;
    saveCheckpoint(step, state, checkpointPath(folder), options.keep);
    is_saving = false, saved = state.step;
  }

  int train(MetricsLog &log, Progress &progress) {
    Verifier verifier(step);
    std::optional<Profiler> profiler;
    if (options.verify)
      step.setObserver(&verifier);
    else if (options.profile)
      profiler.emplace(step);
    int64_t first = state.step + 1, last = state.settings.steps;
    noteReports(log, progress);
    for (int64_t t = first; t <= last; ++t) {
      double lr = learningRate(state.settings, about.optimizer.schedule, t);
      if (stageTrainingBatch(step, corpus.train, state.position) == 0)
        noteIgnored(t, progress);
      stageScalars(step, lr, t);
      auto begin = std::chrono::steady_clock::now();
      is_in_step = true;
      if (profiler)
        profiler->beginStep();
      runStep(step);
      if (profiler)
        profiler->endStep();
      if (options.verify)
        verifier.checkStep();
      Losses losses = readLosses(step);
      double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      double norm = readGradientNorm(step);
      bool finite = std::isfinite(losses.total) && std::isfinite(norm);
      std::string culprit = finite ? "" : findNonFinite(step);
      if (!schedules.empty()) {
        reports = interveneAfter(step, schedules, t, finite);
        verifier.forget();
      }
      state.step = t, ++state.position, is_in_step = false;
      step.mesh().watchdog().noteStep(t);
      if (t == first)
        noteMemory(progress);
      if (finite)
        log.note(losses.total);
      progress.show(t, losses.total);
      log.add(describeStep(t, lr, losses, norm, seconds, progress));
      noteReports(log, progress);
      if (!finite && !goesOnAfter(t, norm, culprit, progress))
        return 1;
      int signal = caughtSignal();
      if (t == last || signal || (options.checkpoint_every && t % options.checkpoint_every == 0))
        save();
      if (signal)
        return stopBySignal(progress, signal);
      if (corpus.held_out && options.eval_every && t % options.eval_every == 0 && t != last) {
        std::optional<Evaluation> result = evaluateHeldOut(log, verifier);
        if (!result)
          return stopBySignal(progress, evaluation_signal);
        progress.clear();
        printf("step %lld: held-out loss %s\n", (long long)t, lossText(result->loss()).c_str());
      }
    }
    progress.clear();
    training_seconds = progress.seconds();
    save();
    std::optional<Evaluation> held_out;
    if (corpus.held_out && !(held_out = evaluateHeldOut(log, verifier)))
      return stopBySignal(progress, evaluation_signal);
    step.setObserver(nullptr);
    printSummary(log, held_out, tokensOfStep() * (last - first + 1));
    if (options.verify)
      printf("launches: %lld, all as the receipt says\n", (long long)verifier.launches());
    if (profiler) {
      profiler->measurePeaks();
      if (isFirst())
        profiler->writeTrace(folder / "trace.json");
      printf("\n%s\ntrace: %s (open it in Perfetto or chrome://tracing)\n", profiler->table().c_str(), (folder / "trace.json").c_str());
    }
    printf("draw it: tools/plot %s\n", folder.c_str());
    return 0;
  }

  void noteIgnored(int64_t t, Progress &progress) {
    if (++ignored_steps > 1)
      return;
    progress.clear();
    fprintf(stderr, "warning: every target of step %lld is ignored: its documents have one token each, and its loss says nothing\n",
            (long long)t);
  }

  /// Tells of a step whose loss or gradient is not finite; the update goes by the gradient's norm alone. False: the run ends.
  bool goesOnAfter(int64_t t, double norm, const std::string &culprit, Progress &progress) {
    progress.clear();
    bool is_updated = std::isfinite(norm);
    if (is_updated)
      fprintf(stderr, "the loss of step %lld is not finite, first in %s; its gradient is, and changed the parameters\n", (long long)t,
              culprit.c_str());
    else
      fprintf(stderr, "step %lld is not finite, first in %s; it changed no parameter\n", (long long)t, culprit.c_str());
    if (options.skip_nonfinite)
      return true;
    save();
    fprintf(stderr, "error: stopped; the state %s it is in %s; fix: a smaller --lr, or --skip-nonfinite\n", is_updated ? "after" : "before",
            checkpointPath(folder).c_str());
    return false;
  }

  int stopBySignal(Progress &progress, int signal) {
    progress.clear();
    save();
    fprintf(stderr, "stopped by signal %d after step %lld; go on with --resume %s\n", signal, (long long)state.step, folder.c_str());
    return 128 + signal;
  }

  nlohmann::ordered_json describeStep(int64_t t, double lr, const Losses &losses, double norm, double seconds, const Progress &progress) {
    nlohmann::ordered_json entry = {{"step", t}, {"loss", losses.total}};
    if (losses.terms.size() > 1)
      for (const auto &[name, value] : losses.terms)
        entry["loss." + name] = value;
    entry["grad_norm"] = norm, entry["lr"] = lr, entry["tokens"] = t * tokensOfStep();
    entry["seconds"] = seconds;
    entry["tokens_per_second"] = std::round(progress.tokensPerSecond());
    if (t % std::max<int64_t>(1, options.log_every) == 0)
      for (auto &[name, values] : readBlocks(step))
        entry[name] = std::move(values);
    return entry;
  }

  /// Nothing where a signal ends it.
  std::optional<Evaluation> evaluateHeldOut(MetricsLog &log, Verifier &verifier) {
    std::optional<Evaluation> result = evaluate(step, *corpus.held_out, [this] { return (evaluation_signal = caughtSignal()) != 0; });
    verifier.forget();
    if (result && result->loss())
      log.add({{"step", state.step}, {"held_out_loss", *result->loss()}});
    return result;
  }

  static std::string lossText(std::optional<double> loss) {
    char text[32] = "none";
    if (loss)
      snprintf(text, sizeof text, "%.4f", *loss);
    return text;
  }

  void printSummary(const MetricsLog &log, const std::optional<Evaluation> &held_out, int64_t tokens) {
    printf("first loss %s, last loss %s, held-out loss %s (nats per token)\n", lossText(log.first_loss).c_str(),
           lossText(log.last_loss).c_str(), lossText(held_out ? held_out->loss() : std::nullopt).c_str());
    if (ignored_steps)
      printf("in %lld steps every target was ignored\n", (long long)ignored_steps);
    if (held_out && !held_out->loss())
      printf("every target of the evaluation is ignored: its documents have one token each; name other data with --eval-data\n");
    if (!held_out)
      printf("nothing was held out to evaluate on (a token file, or fewer than 8 files); name a source with --eval-data\n");
    if (tokens)
      printf("%lld tokens in %s, %.0f tokens/s\n", (long long)tokens, durationText(training_seconds).c_str(),
             double(tokens) / training_seconds);
    printf("files: %s, %s\n", checkpointPath(folder).c_str(), (folder / "metrics.jsonl").c_str());
  }

  Step &step;
  const RunOptions &options;
  const Descriptor &about;
  fs::path folder;
  std::optional<FolderLock> lock;
  Identity resumed_file = {};                  // the checkpoint that the run goes on from
  std::vector<Schedule> schedules;             // of the interventions
  std::vector<nlohmann::ordered_json> reports; // of those that ran, until they are logged
  RunState state;
  Corpus corpus;
  int64_t saved = -1;        // step of the checkpoint in the folder; -1: none
  bool is_in_step = false;   // the state is half done
  bool is_saving = false;    // or could not be saved
  int evaluation_signal = 0; // that ended an evaluation
  int64_t ignored_steps = 0; // without a target
  double training_seconds = 0;
};

} // namespace

int train(Step &step, const RunOptions &options) { return Run(step, options).run(); }

} // namespace megacc::runtime

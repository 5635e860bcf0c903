#include "runtime/train/Loop.h"
#include "runtime/data/Source.h"
#include "runtime/state/Safetensors.h"
#include "runtime/train/Batches.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/FolderLock.h"
#include "runtime/train/Observers.h"
#include "runtime/train/Progress.h"
#include "runtime/train/State.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

namespace fs = std::filesystem;

namespace megacc::runtime {
namespace {

volatile std::sig_atomic_t caught_signal = 0;

/// SIGHUP, SIGINT and SIGTERM are noted while this lives; a second one ends the program at once. A pipe that nobody reads any more ends
/// nothing.
class SignalGuard {
public:
  SignalGuard() {
    for (size_t i = 0; i < std::size(signals); ++i) {
      struct sigaction action = {};
      action.sa_handler = [](int number) { caught_signal = number; };
      action.sa_flags = SA_RESETHAND;
      if (signals[i] == SIGPIPE)
        action.sa_handler = SIG_IGN, action.sa_flags = 0;
      sigaction(signals[i], &action, &old[i]);
    }
  }
  ~SignalGuard() {
    for (size_t i = 0; i < std::size(signals); ++i)
      sigaction(signals[i], &old[i], nullptr);
  }

private:
  static constexpr int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE};
  struct sigaction old[std::size(signals)];
};

/// One JSON object a line. A resumed run drops what was logged after its checkpoint.
class MetricsLog {
public:
  /// `resumed`: the log of the run that goes on; a part of it stays whatever happens.
  MetricsLog(const fs::path &path, const fs::path &resumed, int64_t resumed_step) : path(path) {
    std::string kept;
    std::ifstream old(resumed);
    for (std::string line; resumed_step > 0 && std::getline(old, line);) {
      nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
      if (!entry.is_object() || entry.value("step", int64_t(0)) > resumed_step)
        continue;
      kept += line + "\n";
      if (entry.contains("loss") && entry["loss"].is_number())
        note(entry["loss"]);
    }
    old.close();
    fs::path partial = path.string() + ".partial";
    file.open(partial, std::ios::trunc);
    file << kept;
    check();
    file.close();
    std::error_code error;
    fs::rename(partial, path, error);
    if (error)
      throw FileError(path.string() + ": cannot replace: " + error.message());
    file.open(path, std::ios::app);
    check();
  }

  /// The first and the last finite loss of the whole run, what was resumed included.
  std::optional<double> first_loss, last_loss;
  void note(double loss) {
    first_loss = first_loss.value_or(loss);
    last_loss = loss;
  }

  void add(const nlohmann::ordered_json &entry) {
    file << entry.dump() << "\n";
    check();
  }

private:
  void check() {
    if (!file.flush())
      throw FileError(path.string() + ": cannot write; fix: free some space, then --resume");
  }

  fs::path path;
  std::ofstream file;
};

class Run {
public:
  Run(Step &step, const RunOptions &options) : step(step), options(options), about(step.descriptor()) {}

  int run() {
    folder = options.out.empty() ? options.resume : options.out;
    checkInputs(step);
    prepareState();
    openData();
    stageTrainingBatch(step, corpus.train, state.position); // a token that does not fit shows before anything is written
    prepareFolder();
    FolderLock lock(folder);
    MetricsLog log(folder / "metrics.jsonl", (options.resume.empty() ? folder : options.resume) / "metrics.jsonl", state.step);
    return loop(log);
  }

private:
  /// Initial, read, or resumed state and the settings of the run.
  void prepareState() {
    const OptimizerDefaults &defaults = about.optimizer;
    RunSettings declared{defaults.lr, defaults.final_lr, defaults.warmup, defaults.steps};
    if (!options.resume.empty()) {
      fs::path checkpoint = checkpointPath(options.resume);
      if (!fs::exists(checkpoint))
        throw FileError(options.resume.string() +
                        ": holds no checkpoint.safetensors to resume from; fix: name the --out folder of an earlier run");
      state = loadCheckpoint(step, checkpoint);
      fprintf(stderr, "resuming after step %lld of %s\n", (long long)state.step, checkpoint.c_str());
      warnOfChange("--lr", options.lr, state.settings.lr);
      warnOfChange("--warmup", options.warmup, state.settings.warmup);
      warnOfChange("--steps", options.steps, state.settings.steps);
    } else {
      initializeState(step);
      if (!options.init.empty())
        loadParameters(step, options.init);
      state.settings = declared;
    }
    RunSettings &settings = state.settings;
    if (options.lr) {
      settings.lr = *options.lr;
      if (defaults.final_lr < 0)
        settings.final_lr = -1;
    }
    settings.warmup = options.warmup.value_or(settings.warmup);
    if (options.steps && *options.steps != settings.steps && settings.steps > 0 && about.optimizer.schedule == "cosine")
      fprintf(stderr, "the cosine schedule ends at step %lld (--steps) instead of %lld\n", (long long)*options.steps,
              (long long)settings.steps);
    settings.steps = options.steps.value_or(settings.steps);
    if (settings.final_lr < 0)
      settings.final_lr = settings.lr / 10;
    if (settings.steps < 1)
      throw std::runtime_error("how many steps to train is not said; fix: --steps N, or `steps` in the declaration's schedule");
    if (state.step > settings.steps)
      throw std::runtime_error("the checkpoint stands after step " + std::to_string(state.step) + ", --steps is the total and says " +
                               std::to_string(settings.steps) + "; fix: more --steps");
  }

  template <typename T> static void warnOfChange(const char *flag, const std::optional<T> &given, T stored) {
    if (given && *given != stored)
      fprintf(stderr, "warning: %s %s replaces the checkpoint's %s\n", flag, std::to_string(*given).c_str(),
              std::to_string(stored).c_str());
  }

  void openData() {
    corpus = openCorpus(options.data, options.token_type, about.vocab, options.eval_data.empty());
    checkLength(step, corpus.train);
    if (!options.eval_data.empty())
      corpus.held_out = openCorpus(options.eval_data, options.token_type, about.vocab, false).train;
    if (corpus.held_out)
      checkLength(step, *corpus.held_out);
    if (!corpus.held_out && options.eval_every)
      throw std::runtime_error("--eval-every needs held-out data, and " + corpus.name +
                               " has none (a token file, or fewer than 8 files); fix: --eval-data PATH");
    fprintf(stderr, "data: %s, %lld tokens to train on, %lld held out\n", corpus.name.c_str(), (long long)corpus.train.size(),
            corpus.held_out ? (long long)corpus.held_out->size() : 0LL);
  }

  void prepareFolder() {
    std::error_code error;
    bool is_resumed = !options.resume.empty() && fs::equivalent(options.resume, folder, error);
    if (!is_resumed && fs::exists(checkpointPath(folder)))
      throw FileError(folder.string() + ": already holds the checkpoint of a run; fix: --resume " + folder.string() + ", or another --out");
    error.clear();
    fs::create_directories(folder, error);
    if (error)
      throw FileError(folder.string() + ": cannot create the folder: " + error.message());
  }

  int loop(MetricsLog &log) {
    SignalGuard signals;
    Verifier verifier(step);
    std::optional<Profiler> profiler;
    if (options.verify)
      step.setObserver(&verifier);
    else if (options.profile)
      profiler.emplace(step);
    int64_t first = state.step + 1, last = state.settings.steps, saved = options.resume.empty() ? -1 : state.step;
    int64_t tokens = about.accumulate * about.micro_batch * about.sequence;
    Progress progress(first, last, tokens);
    auto save = [&] {
      if (saved != state.step)
        saveCheckpoint(step, state, checkpointPath(folder), options.keep);
      saved = state.step;
    };
    for (int64_t t = first; t <= last; ++t) {
      double lr = learningRate(state.settings, about.optimizer.schedule, t);
      try {
        stageTrainingBatch(step, corpus.train, state.position);
      } catch (const DataError &) {
        progress.clear();
        save();
        throw;
      }
      stageScalars(step, lr, t);
      auto begin = std::chrono::steady_clock::now();
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
      state.step = t, ++state.position;
      if (finite)
        log.note(losses.total);
      progress.show(t, losses.total);
      log.add(describeStep(t, lr, losses, norm, seconds, progress, tokens));
      if (!finite) {
        progress.clear();
        fprintf(stderr, "step %lld is not finite, first in %s; it changed no parameter\n", (long long)t, culprit.c_str());
        if (!options.skip_nonfinite) {
          save();
          fprintf(stderr, "error: stopped; the state before it is in %s; fix: a smaller --lr, or --skip-nonfinite\n",
                  checkpointPath(folder).c_str());
          return 1;
        }
      }
      if (t == last || caught_signal || (options.checkpoint_every && t % options.checkpoint_every == 0))
        save();
      if (caught_signal) {
        progress.clear();
        fprintf(stderr, "stopped by signal %d after step %lld; go on with --resume %s\n", int(caught_signal), (long long)t, folder.c_str());
        return 128 + caught_signal;
      }
      if (corpus.held_out && options.eval_every && t % options.eval_every == 0 && t != last) {
        double loss = evaluateHeldOut(log, verifier);
        progress.clear();
        printf("step %lld: held-out loss %.4f\n", (long long)t, loss);
      }
    }
    progress.clear();
    training_seconds = progress.seconds();
    save();
    std::optional<double> held_out;
    if (corpus.held_out)
      held_out = evaluateHeldOut(log, verifier);
    step.setObserver(nullptr);
    printSummary(log, held_out, tokens * (last - first + 1));
    if (options.verify)
      printf("launches: %lld, all as the receipt says\n", (long long)verifier.launches());
    if (profiler) {
      profiler->measurePeaks();
      profiler->writeTrace(folder / "trace.json");
      printf("\n%s\ntrace: %s (open it in Perfetto or chrome://tracing)\n", profiler->table().c_str(), (folder / "trace.json").c_str());
    }
    return 0;
  }

  nlohmann::ordered_json describeStep(int64_t t, double lr, const Losses &losses, double norm, double seconds, const Progress &progress,
                                      int64_t tokens) {
    nlohmann::ordered_json entry = {{"step", t}, {"loss", losses.total}};
    if (losses.terms.size() > 1)
      for (const auto &[name, value] : losses.terms)
        entry["loss." + name] = value;
    entry["grad_norm"] = norm, entry["lr"] = lr, entry["tokens"] = t * tokens;
    entry["seconds"] = seconds;
    entry["tokens_per_second"] = std::round(progress.tokensPerSecond());
    return entry;
  }

  double evaluateHeldOut(MetricsLog &log, Verifier &verifier) {
    double loss = evaluate(step, *corpus.held_out);
    verifier.forget();
    log.add({{"step", state.step}, {"held_out_loss", loss}});
    return loss;
  }

  void printSummary(const MetricsLog &log, std::optional<double> held_out, int64_t tokens) {
    auto text = [](std::optional<double> loss) {
      char buffer[32] = "none";
      if (loss)
        snprintf(buffer, sizeof buffer, "%.4f", *loss);
      return std::string(buffer);
    };
    printf("first loss %s, last loss %s, held-out loss %s (nats a token)\n", text(log.first_loss).c_str(), text(log.last_loss).c_str(),
           text(held_out).c_str());
    if (!held_out)
      printf("nothing was held out to evaluate on (a token file, or fewer than 8 files); name a source with --eval-data\n");
    if (tokens)
      printf("%lld tokens in %s, %.0f tokens/s\n", (long long)tokens, durationText(training_seconds).c_str(),
             double(tokens) / training_seconds);
    printf("files: %s, %s\n", checkpointPath(folder).c_str(), (folder / "metrics.jsonl").c_str());
    printf("draw it: tools/plot %s\n", folder.c_str());
  }

  Step &step;
  const RunOptions &options;
  const Descriptor &about;
  fs::path folder;
  RunState state;
  Corpus corpus;
  double training_seconds = 0;
};

} // namespace

int train(Step &step, const RunOptions &options) { return Run(step, options).run(); }

} // namespace megacc::runtime

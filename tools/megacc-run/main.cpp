// Trains a step.so, or runs it on given numbers.
#include "runtime/train/Calibrate.h"
#include "runtime/train/Case.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Loop.h"
#include "runtime/train/Sample.h"
#include "runtime/train/Signals.h"
#include "tools/cli/Documents.h"
#include "tools/cli/Version.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <csignal>
#include <fcntl.h>
#include <map>
#include <set>
#include <unistd.h>

using namespace megacc::runtime;

namespace {

struct Options {
  std::string step, case_file, dump, print_initial, prompt, calibrate, choices;
  int threads = 0;
  int64_t sample = 0;
  RunOptions run;
};

/// Far above any run, and small enough that products of it fit.
constexpr int64_t largest_count = 1'000'000'000'000;

void addOptions(CLI::App &app, Options &options) {
  RunOptions &run = options.run;
  const CLI::Range count(int64_t(1), largest_count), count_or_none(int64_t(0), largest_count);
  app.add_option("STEP", options.step, "the step.so that megacc wrote")->required();
  app.add_option("--data", run.data, "token files (.bin, or Megatron's .bin with .idx), or files and folders read as bytes")
      ->group("Training");
  app.add_option("--steps", run.settings.steps, "optimizer steps in all, those of a resumed run included")->check(count)->group("Training");
  app.add_option("--out", run.out, "folder for the checkpoint and metrics.jsonl")->group("Training");
  app.add_option("--lr", run.settings.lr, "peak learning rate")->group("Training");
  app.add_option("--warmup", run.settings.warmup, "steps of linear warm-up")->check(count_or_none)->group("Training");
  app.add_option("--token-type", run.token_type, "of token files: uint16 or uint32 (recognised)")
      ->check(CLI::IsMember({"uint16", "uint32"}))
      ->group("Training");
  app.add_option("--init", run.init, "start from the parameters of a safetensors file")->group("Training");
  app.add_flag("--skip-nonfinite", run.skip_nonfinite, "go on after a step that is not finite")->group("Training");
  app.add_option("--eval-every", run.eval_every, "steps between evaluations (at the end)")->check(count)->group("Evaluation");
  app.add_option("--eval-data", run.eval_data, "held-out data instead of every twentieth file of --data")->group("Evaluation");
  app.add_option("--checkpoint-every", run.checkpoint_every, "steps between checkpoints (at the end)")->check(count)->group("Checkpoints");
  app.add_option("--log-every", run.log_every, "steps between entries of what megacc --log-blocks measures (1)")
      ->check(count)
      ->group("Training");
  app.add_option("--intervention", run.interventions, "change when an intervention is due: K:every=500, K:at=[100,200], K:start=, K:stop=")
      ->allow_extra_args(false)
      ->group("Training");
  app.add_option("--intervene", run.intervene, "run these interventions once, before the first step: K[,K]")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->group("Training");
  app.add_option("--keep", run.keep, "checkpoints to keep: checkpoint.safetensors, checkpoint.1.safetensors, ... (2)")
      ->check(CLI::Range(1, 1000))
      ->group("Checkpoints");
  app.add_option("--resume", run.resume, "go on from the checkpoint in this folder")->group("Checkpoints");
  app.add_option("--sample", options.sample, "print this many bytes that follow --prompt, by the checkpoint of --resume")
      ->check(count)
      ->group("Sampling");
  app.add_option("--prompt", options.prompt, "the text that --sample continues")->group("Sampling");
  app.add_option("--threads", options.threads, "CPU threads (all cores)")->check(CLI::Range(1, 1024))->group("Running");
  app.add_flag("--verify", run.verify, "compare every launch with the receipt")->group("Running");
  app.add_flag("--profile", run.profile, "time by kernel and by block, and a trace")->group("Running");
  app.add_option("--calibrate", options.calibrate, "write measured times of kernels, and the choices made by them, to this file")
      ->group("Running");
  app.add_option("--choices", options.choices, "use the choices in a file that --calibrate wrote")->group("Running");
  app.add_option("--case", options.case_file, "run three steps on param.* and input.* of this safetensors file")->group("Checking numbers");
  app.add_option("--dump", options.dump, "where --case writes losses, gradients and parameters")->group("Checking numbers");
  app.add_option("--print-initial", options.print_initial, "write the first and last initial values of every parameter")
      ->group("Checking numbers");
  app.set_version_flag("--version", [] { return megacc::describeBuild("megacc-run"); });
  megacc::addDocumentFlags(app);
}

/// What else than training can be asked for, and the flags that go with it.
const std::map<std::string, std::set<std::string>> modes = {
    {"--sample", {"--sample", "--prompt", "--resume", "--threads", "--choices"}},
    {"--case", {"--case", "--dump", "--threads", "--choices"}},
    {"--print-initial", {"--print-initial", "--threads"}},
    {"--calibrate", {"--calibrate", "--data", "--token-type", "--threads"}},
};

/// One line for every flag that does not fit the others; "" if all fit.
std::string findMistakes(const CLI::App &app, const Options &options) {
  std::string mistakes;
  auto expect = [&](bool good, const std::string &text) { mistakes += good ? "" : (mistakes.empty() ? "error: " : "\nerror: ") + text; };
  std::vector<std::string> asked;
  for (const auto &[mode, flags] : modes)
    if (app.count(mode))
      asked.push_back(mode);
  if (asked.size() > 1)
    expect(false, asked[0] + " and " + asked[1] + " are different things to do; give one of them");
  for (const CLI::Option *option : app.get_options())
    if (std::string name = option->get_name(); asked.size() == 1 && option->count() && name.starts_with("--"))
      expect(modes.at(asked[0]).contains(name), name + " does not go with " + asked[0] + "; give one of them");

  if (const std::optional<double> &lr = options.run.settings.lr)
    expect(std::isfinite(float(*lr)) && float(*lr) > 0, "--lr must be a finite number above 0, in fp32");
  expect(options.case_file.empty() == options.dump.empty(), "--case and --dump go together");
  expect(options.prompt.empty() || options.sample, "--prompt goes with --sample");
  if (options.sample)
    expect(!options.run.resume.empty(), "--sample needs a trained model; fix: --resume DIR");
  expect(!(options.run.verify && options.run.profile), "--verify and --profile watch the same launches; give one of them");
  expect(options.run.init.empty() || options.run.resume.empty(),
         "--init and --resume both say where parameters come from; give one of them");
  if (asked.empty() || asked[0] == "--calibrate")
    expect(!options.run.data.empty(), "training needs --data PATH");
  if (asked.empty())
    expect(!options.run.out.empty() || !options.run.resume.empty(), "training needs a folder for its files: --out DIR");
  return mistakes;
}

/// What else than training needs one rank; "" where that is asked for.
std::string findSingle(const Options &options) {
  return options.sample ? "--sample" : !options.calibrate.empty() ? "--calibrate" : !options.print_initial.empty() ? "--print-initial" : "";
}

/// The rank among several, -1 alone. All but the first are silent, errors excepted.
int64_t rank = -1;
int errors = STDERR_FILENO;

void keepSilent() {
  errors = dup(STDERR_FILENO);
  int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  for (int stream : {STDOUT_FILENO, STDERR_FILENO})
    dup2(nowhere, stream);
}

/// Of an error: what to say.
std::string textOf(const std::exception &error) {
  return dynamic_cast<const std::bad_alloc *>(&error) ? "there is not enough memory" : error.what();
}

void report(const std::string &message) {
  std::string from = rank < 0 ? "" : "rank " + std::to_string(rank) + ": ";
  dprintf(errors, "%serror: %s\n", from.c_str(), message.c_str());
}

int runStep(Step &step, const Options &options);

int run(const Options &options) {
  Step step(options.step);
  if (step.mesh().size() > 1) {
    rank = step.mesh().rank();
    if (std::string flag = findSingle(options); !flag.empty())
      throw std::runtime_error(flag + " of a step of several ranks is not supported yet; fix: compile it without --mesh");
    if (rank > 0)
      keepSilent();
    auto fail = [](const std::string &message) {
      report(message);
      std::_Exit(1);
    };
    auto note = [](const std::string &message) { dprintf(errors, "rank %lld: %s\n", (long long)rank, message.c_str()); };
    step.mesh().watchdog().start(readPatience(), {fail, note, SignalGuard::caught});
  }
  try {
    int status = runStep(step, options);
    step.mesh().leave();
    return status;
  } catch (const std::exception &error) {
    if (step.mesh().size() == 1)
      throw;
    // Not through destructors: they would wait for work that waits for ranks that have ended.
    report(textOf(error));
    std::_Exit(1);
  }
}

int runStep(Step &step, const Options &options) {
  if (options.threads)
    step.setThreads(options.threads);
  if (!options.choices.empty())
    setChoices(step, options.choices);
  if (!options.calibrate.empty())
    calibrate(step, options.run, options.calibrate);
  else if (!options.print_initial.empty())
    writeInitial(step, options.print_initial);
  else if (!options.case_file.empty())
    runCase(step, options.case_file, options.dump);
  else if (options.sample) {
    loadModel(step, checkpointPath(options.run.resume));
    sample(step, options.prompt, options.sample);
  } else
    return train(step, options.run);
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("megacc-run: trains a compiled step", "megacc-run");
  Options options;
  addOptions(app, options);
  CLI11_PARSE(app, argc, argv);
  if (std::string mistakes = findMistakes(app, options); !mistakes.empty()) {
    fprintf(stderr, "%s\n", mistakes.c_str());
    return 1;
  }
  std::signal(SIGXFSZ, SIG_IGN); // writing fails where a file grew to its limit
  try {
    return run(options);
  } catch (const std::exception &error) {
    report(textOf(error));
    return 1;
  }
}

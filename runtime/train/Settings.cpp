#include "runtime/train/Settings.h"

#include <cmath>
#include <cstdio>
#include <numbers>
#include <stdexcept>

namespace megacc::runtime {
namespace {

std::string textOf(int64_t number) { return std::to_string(number); }
std::string textOf(double number) {
  char text[40];
  snprintf(text, sizeof text, "%g", number);
  return text;
}

template <typename T> void noteChange(const char *flag, const std::optional<T> &given, T stored, std::vector<std::string> &notes) {
  if (given && *given != stored)
    notes.push_back("warning: " + std::string(flag) + " " + textOf(*given) + " replaces the checkpoint's " + textOf(stored));
}

} // namespace

double learningRate(const RunSettings &settings, const std::string &schedule, int64_t t) {
  if (schedule != "cosine")
    return settings.lr;
  if (t <= settings.warmup)
    return settings.lr * double(t) / double(settings.warmup);
  if (t >= settings.steps)
    return settings.final_lr;
  double progress = double(t - settings.warmup) / double(settings.steps - settings.warmup);
  return settings.final_lr + (settings.lr - settings.final_lr) / 2 * (1 + std::cos(std::numbers::pi * progress));
}

RunSettings chooseSettings(const OptimizerDefaults &declared, const std::optional<RunSettings> &resumed, int64_t step,
                           const SettingFlags &flags, std::vector<std::string> &notes) {
  const bool is_cosine = declared.schedule == "cosine";
  RunSettings settings = resumed.value_or(RunSettings{declared.lr, declared.final_lr, declared.warmup, declared.steps});
  if (resumed) {
    noteChange("--lr", flags.lr, settings.lr, notes);
    noteChange("--warmup", flags.warmup, settings.warmup, notes);
    noteChange("--steps", flags.steps, settings.steps, notes);
  }
  if (flags.lr && declared.final_lr < 0)
    settings.final_lr = -1;
  if (is_cosine && flags.steps && *flags.steps != settings.steps && settings.steps > 0)
    notes.push_back("the cosine schedule ends at step " + textOf(*flags.steps) + " (--steps) instead of " + textOf(settings.steps));
  settings.lr = flags.lr.value_or(settings.lr);
  settings.warmup = flags.warmup.value_or(settings.warmup);
  settings.steps = flags.steps.value_or(settings.steps);
  if (settings.final_lr < 0)
    settings.final_lr = settings.lr / 10;

  std::string mistakes;
  auto refuse = [&](const std::string &text) { mistakes += (mistakes.empty() ? "" : "\n") + text; };
  if (settings.steps < 1)
    refuse("the number of steps is not given; fix: --steps N, or `steps` in the declaration's schedule");
  else if (step > settings.steps)
    refuse("the checkpoint stands after step " + textOf(step) + ", --steps is the total and says " + textOf(settings.steps) +
           "; fix: more --steps");
  for (double rate : {settings.lr, settings.final_lr}) // kernels take them as fp32
    if (!std::isfinite(float(rate)) || rate < 0)
      refuse("a learning rate is " + textOf(rate) + ", expected a finite number that is not negative; fix: --lr");
  if (!is_cosine && flags.warmup)
    refuse("--warmup " + textOf(*flags.warmup) + ": the declared schedule is " + declared.schedule +
           ", which has no warm-up; fix: schedule = cosine<warmup = " + textOf(*flags.warmup) + "> in the declaration");
  if (is_cosine && settings.final_lr > settings.lr)
    refuse("the learning rate would rise, from its peak " + textOf(settings.lr) + (flags.lr ? " (--lr)" : "") + " to " +
           textOf(settings.final_lr) + ", the schedule's declared `final`; fix: --lr of at least " + textOf(settings.final_lr) +
           ", or a smaller `final`");
  if (is_cosine && settings.steps > 0 && settings.warmup > settings.steps) {
    std::string text = "the warm-up of " + textOf(settings.warmup) + " steps is longer than the run of " + textOf(settings.steps) +
                       ", the rate does not reach " + textOf(settings.lr);
    if (flags.warmup)
      refuse("--warmup: " + text + "; fix: --warmup of at most " + textOf(settings.steps));
    else
      notes.push_back("warning: " + text);
  }
  if (!mistakes.empty())
    throw std::runtime_error(mistakes);
  return settings;
}

} // namespace megacc::runtime

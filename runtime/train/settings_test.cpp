#include "runtime/train/Settings.h"

#include <cmath>
#include <gtest/gtest.h>
#include <stdexcept>

using namespace megacc::runtime;

namespace {

const OptimizerDefaults cosine = {
    .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .final_lr = 1e-4, .schedule = "cosine", .warmup = 5, .steps = 100};
const OptimizerDefaults constant = {
    .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .final_lr = -1, .schedule = "constant", .warmup = 0, .steps = 0};
const RunSettings before = {.lr = 1e-3, .final_lr = 1e-4, .warmup = 5, .steps = 50};

struct Choice {
  RunSettings settings;
  std::string error, notes;
};

Choice choose(const OptimizerDefaults &declared, const SettingFlags &flags, const std::optional<RunSettings> &resumed = std::nullopt,
              int64_t step = 0) {
  Choice choice;
  std::vector<std::string> notes;
  try {
    choice.settings = chooseSettings(declared, resumed, step, flags, notes);
  } catch (const std::runtime_error &error) {
    choice.error = error.what();
  }
  for (const std::string &note : notes)
    choice.notes += note + "\n";
  return choice;
}

bool contains(const std::string &text, const std::string &words) { return text.find(words) != text.npos; }

} // namespace

TEST(Settings, AreTheDeclarationsOrTheRunsWithWhatTheFlagsChange) {
  Choice declared = choose(cosine, {});
  EXPECT_EQ(declared.settings.lr, 1e-3);
  EXPECT_EQ(declared.settings.final_lr, 1e-4);
  EXPECT_EQ(declared.settings.steps, 100);
  EXPECT_EQ(declared.notes + declared.error, "");
  Choice flags = choose(cosine, {.steps = 20, .warmup = 0, .lr = 2e-3});
  EXPECT_EQ(flags.settings.lr, 2e-3);
  EXPECT_EQ(flags.settings.warmup, 0);
  EXPECT_EQ(flags.settings.steps, 20);
  EXPECT_TRUE(contains(flags.notes, "the cosine schedule ends at step 20 (--steps) instead of 100")) << flags.notes;
  EXPECT_EQ(choose(constant, {.steps = 9, .warmup = {}, .lr = 2e-3}).settings.final_lr, 2e-4);
  Choice resumed = choose(cosine, {}, before, 10);
  EXPECT_EQ(resumed.settings.steps, 50);
  EXPECT_EQ(resumed.notes + resumed.error, "");
}

TEST(Settings, SayWhatAResumedRunChanges) {
  Choice changed = choose(cosine, {.steps = 60, .warmup = 6, .lr = 2e-3}, before, 10);
  for (const char *words : {"warning: --lr 0.002 replaces the checkpoint's 0.001", "warning: --warmup 6 replaces the checkpoint's 5",
                            "warning: --steps 60 replaces the checkpoint's 50"})
    EXPECT_TRUE(contains(changed.notes, words)) << changed.notes;
  EXPECT_EQ(choose(cosine, {.steps = 50, .warmup = 5, .lr = 1e-3}, before, 10).notes, "");
  EXPECT_TRUE(contains(choose(cosine, {.steps = 9, .warmup = {}, .lr = {}}, before, 10).error,
                       "the checkpoint stands after step 10, --steps is the total and says 9; fix: more --steps"));
}

TEST(Settings, RefuseAWarmUpThatTheScheduleDoesNotHave) {
  for (const auto &resumed : {std::optional<RunSettings>(), std::optional(before)})
    EXPECT_TRUE(contains(choose(constant, {.steps = 50, .warmup = 3, .lr = {}}, resumed).error,
                         "--warmup 3: the declared schedule is constant, which has no warm-up; fix: schedule = cosine<warmup = 3>"));
}

TEST(Settings, RefuseARateThatRises) {
  for (const auto &resumed : {std::optional<RunSettings>(), std::optional(before)}) {
    std::string error = choose(cosine, {.steps = {}, .warmup = {}, .lr = 1e-5}, resumed).error;
    EXPECT_TRUE(contains(error, "the learning rate would rise, from its peak 1e-05 (--lr) to 0.0001")) << error;
    EXPECT_TRUE(contains(error, "fix: --lr of at least 0.0001")) << error;
    EXPECT_EQ(choose(cosine, {.steps = {}, .warmup = {}, .lr = 1e-4}, resumed).error, "");
  }
  OptimizerDefaults rising = cosine, derived = cosine;
  rising.final_lr = 1, derived.final_lr = -1;
  EXPECT_TRUE(contains(choose(rising, {}).error, "the learning rate would rise, from its peak 0.001 to 1"));
  EXPECT_EQ(choose(derived, {.steps = {}, .warmup = {}, .lr = 1e-5}).settings.final_lr, 1e-5 / 10);
  EXPECT_EQ(choose(derived, {.steps = {}, .warmup = {}, .lr = 1e-5}, before).settings.final_lr, 1e-5 / 10);
}

TEST(Settings, RefuseAWarmUpThatIsLongerThanTheRun) {
  for (const auto &resumed : {std::optional<RunSettings>(), std::optional(before)}) {
    std::string error = choose(cosine, {.steps = 8, .warmup = 9, .lr = {}}, resumed).error;
    EXPECT_TRUE(contains(error, "--warmup: the warm-up of 9 steps is longer than the run of 8")) << error;
    EXPECT_EQ(choose(cosine, {.steps = 9, .warmup = 9, .lr = {}}, resumed).error, "");
    Choice short_run = choose(cosine, {.steps = 4, .warmup = {}, .lr = {}}, resumed); // declared, and the run is a short one
    EXPECT_EQ(short_run.error, "");
    EXPECT_TRUE(contains(short_run.notes, "warning: the warm-up of 5 steps is longer than the run of 4")) << short_run.notes;
  }
}

TEST(Settings, RefuseRatesThatFp32DoesNotHold) {
  OptimizerDefaults infinite = constant;
  infinite.steps = 5;
  for (double rate : {1e300, double(INFINITY), double(NAN), -1.0}) {
    infinite.lr = rate;
    EXPECT_TRUE(contains(choose(infinite, {}).error, "expected a finite number that is not negative")) << rate;
  }
}

TEST(Settings, SayEverythingThatIsWrongAtOnce) {
  std::string error = choose(constant, {.steps = {}, .warmup = 3, .lr = {}}).error;
  EXPECT_TRUE(contains(error, "the number of steps is not given") && contains(error, "no warm-up")) << error;
}

TEST(LearningRate, WarmsUpAndFallsToItsLastValue) {
  const RunSettings settings = {.lr = 1, .final_lr = 0.5, .warmup = 2, .steps = 4};
  for (auto [t, rate] : {std::pair{1, 0.5}, {2, 1.0}, {3, 0.75}, {4, 0.5}, {5, 0.5}})
    EXPECT_DOUBLE_EQ(learningRate(settings, "cosine", t), rate);
  EXPECT_EQ(learningRate(settings, "constant", 9), 1);
  EXPECT_EQ(learningRate({.lr = 1, .final_lr = 0.5, .warmup = 3, .steps = 3}, "cosine", 3), 1);
}

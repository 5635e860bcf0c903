// Checkpoints and cases of a step: what goes on from them, and what is refused.
#include "runtime/train/Checkpoint.h"
#include "runtime/core/Bfloat16.h"
#include "runtime/state/Safetensors.h"
#include "runtime/train/Batches.h"
#include "runtime/train/Case.h"
#include "runtime/train/Loop.h"
#include "runtime/train/State.h"
#include "test/runtime/StepFixture.h"

#include <algorithm>
#include <cmath>

TEST_F(Steps, GoOnOnAnotherElementTypeFromTheirCheckpoint) {
  fs::path whole = folder / "whole", half = folder / "half", back = folder / "back";
  std::vector<float> moments = {1.5f, -2.25f};
  {
    Step step(write(describeStep()));
    initializeState(step);
    step.writeState(step.descriptor().parameters[1], StatePart::second_moment, 3, moments);
    saveCheckpoint(step, {.step = 5, .position = 6, .settings = {}, .data = {{"files", "1"}}, .held_out = {}}, whole, 1);
  }
  EXPECT_FALSE(SafetensorsFile(whole).entries().contains("optimizer.master.b"));
  {
    Step step(write(describeHalf()));
    RunState state = loadCheckpoint(step, whole);
    EXPECT_EQ(state.step, 5);
    EXPECT_EQ(state.position, 6);
    EXPECT_EQ(state.data, (Fingerprint{{"files", "1"}}));
    EXPECT_EQ(step.readState(step.descriptor().parameters[1], StatePart::value)[9], 9 + 1.0f / 512);
    EXPECT_EQ(step.readState(step.descriptor().parameters[1], StatePart::weight)[9], 9.0f);
    saveCheckpoint(step, state, half, 1);
  }
  SafetensorsFile file(half);
  EXPECT_EQ(file.entries().at("b").dtype, "BF16");
  EXPECT_EQ(file.entries().at("optimizer.master.b").dtype, "F32");
  EXPECT_EQ(file.entries().at("a").dtype, "F32");
  Step step(write(describeStep()));
  saveCheckpoint(step, loadCheckpoint(step, half), back, 1);
  std::ifstream one(whole, std::ios::binary), other(back, std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(one), {}), std::string(std::istreambuf_iterator<char>(other), {}));
  EXPECT_EQ(step.readState(step.descriptor().parameters[1], StatePart::second_moment)[4], -2.25f);
}

TEST_F(Steps, WidenParametersOfAFileWithoutMasters) {
  uint16_t halves[15];
  for (int i = 0; i < 15; ++i)
    halves[i] = toBfloat16(float(i));
  std::vector<float> b(16, 0.5f);
  TensorSource a = {"BF16", {3, 5}, [&](uint64_t offset, std::span<std::byte> target) {
                      std::ranges::copy(std::as_bytes(std::span(halves)).subspan(offset, target.size()), target.begin());
                    }};
  writeSafetensors(folder / "parameters", {{"a", a}, {"b", viewOf(b, {8, 2})}});
  Step step(write(describeStep()));
  loadParameters(step, folder / "parameters");
  EXPECT_EQ(step.readState(step.descriptor().parameters[0], StatePart::value)[14], 14.0f);
  std::string error = errorOf([&] { loadCheckpoint(step, folder / "parameters"); });
  EXPECT_NE(error.find("is not a checkpoint of megacc-run"), std::string::npos) << error;
}

TEST_F(Steps, RefuseTheCheckpointOfAnotherDeclarationByEveryFieldThatDiffers) {
  fs::path path = folder / "checkpoint";
  {
    Step step(write(describeStep()));
    initializeState(step);
    saveCheckpoint(step, {.step = 5, .position = 5, .settings = {}, .data = {}, .held_out = {}}, path, 1);
  }
  auto refusalOf = [&](const std::function<void(json &)> &change, auto &&load) {
    json changed = describeStep();
    change(changed);
    Step step(write(changed));
    return errorOf([&] { load(step, path); });
  };
  const struct {
    std::function<void(json &)> change;
    std::string words;
    bool is_of_model;
  } cases[] = {
      {[](json &step) { step["declaration"]["families"]["A"]["width"] = 9; },
       "'families/A/width' is 8 in the checkpoint and 9 in the step.so", true},
      {[](json &step) { step["declaration"]["families"]["A"]["kind"] = "paste"; }, "'families/A/kind' is copy", true},
      {[](json &step) { step["declaration"]["families"]["A"]["theta"] = 1.5; },
       "'families/A/theta' is absent in the checkpoint and 1.5 in the step.so", true},
      {[](json &step) { step["declaration"]["pattern"] = "B"; }, "'pattern' is A in the checkpoint and B", true},
      {[](json &step) { step["declaration"]["placements"] = {{{"kind", "mtp"}}}; }, "'placements/0/kind' is absent", true},
      {[](json &step) { step["hidden"] = 16; }, "'hidden' is 8 in the checkpoint and 16", true},
      {[](json &step) { step["vocab"] = 17; }, "'vocab' is 16", true},
      {[](json &step) { step["micro_batch"] = 1; }, "'train/micro_batch' is 2 in the checkpoint and 1 in the step.so", false},
      {[](json &step) { step["accumulate"] = 1; }, "'train/accumulate' is 2 in the checkpoint and 1 in the step.so", false},
      {[](json &step) { step["seed"] = 8; }, "'train/seed' is 7", false},
      {[](json &step) { step["clip"] = 0.5; }, "'train/clip' is 1.0 in the checkpoint and 0.5", false},
      {[](json &step) { step["documents"] = 1; }, "'train/documents' is 0", false},
      {[](json &step) { step["optimizer"]["beta1"] = 0.8; }, "'train/optimizer/beta1' is 0.9 in the checkpoint and 0.8", false},
      {[](json &step) { step["optimizer"]["schedule"] = "cosine"; }, "'train/optimizer/schedule' is constant", false},
  };
  for (const auto &entry : cases) {
    std::string error = refusalOf(entry.change, loadCheckpoint);
    EXPECT_NE(error.find(entry.words), std::string::npos) << error << "\nexpected: " << entry.words;
    EXPECT_NE(error.find("\nfix: use the step.so this run was started with"), std::string::npos) << error;
    error = refusalOf(entry.change, loadModel); // sampling is of the model alone
    EXPECT_EQ(error.find(entry.words) != error.npos, entry.is_of_model) << error << "\n" << entry.words;
  }
  std::string both = refusalOf([](json &step) { step["clip"] = 0, step["seed"] = 8; }, loadCheckpoint);
  EXPECT_TRUE(both.find("train/clip") != both.npos && both.find("train/seed") != both.npos) << both;
  // What is legal: another name, target's variant, precision, release, and more steps.
  auto legal = [](json &step) {
    step["model"] = "renamed", step["precision"] = "bf16", step["megacc"] = "9.9.9", step["optimizer"]["steps"] = 400;
  };
  EXPECT_EQ(refusalOf(legal, loadCheckpoint), "");
}

TEST_F(Steps, RefuseOtherDataByEveryFieldThatDiffers) {
  RunState state = {.step = 1, .position = 1, .settings = {}, .data = {{"files", "3"}, {"bytes", "30"}}, .held_out = {}};
  checkSameData(state, state.data, {}, "run");
  std::string error = errorOf([&] { checkSameData(state, {{"files", "4"}, {"bytes", "40"}}, {}, "run"); });
  EXPECT_NE(
      error.find("run: the run was trained on other data:\n  'bytes' is 30 in the checkpoint and 40 in the data given now\n  'files' is 3"),
      std::string::npos)
      << error;
}

TEST_F(Steps, RefuseCheckpointsWithNumbersThatNoRunHas) {
  Step step(write(describeStep()));
  initializeState(step);
  auto refused = [&](const RunState &state, const std::string &words) {
    saveCheckpoint(step, state, folder / "checkpoint", 1);
    std::string error = errorOf([&] { loadCheckpoint(step, folder / "checkpoint"); });
    EXPECT_NE(error.find(words), std::string::npos) << error << "\nexpected: " << words;
  };
  RunState good = {.step = 1, .position = 1, .settings = {0.1, 0.01, 2, 3}, .data = {}, .held_out = {}}, bad = good;
  bad.settings.lr = NAN;
  refused(bad, "its 'lr' is nan, expected a finite number that is not negative");
  (bad = good).settings.final_lr = INFINITY;
  refused(bad, "its 'final_lr' is inf");
  (bad = good).settings.lr = -1;
  refused(bad, "its 'lr' is -1");
  (bad = good).settings.warmup = -1;
  refused(bad, "its 'warmup' is -1");
  (bad = good).step = -1;
  refused(bad, "stands after step -1");
  (bad = good).position = 0;
  refused(bad, "stands after step 1 and batch 0");
  saveCheckpoint(step, good, folder / "checkpoint", 1);
  RunState state = loadCheckpoint(step, folder / "checkpoint");
  EXPECT_EQ(state.settings.lr, 0.1);
  EXPECT_EQ(state.settings.warmup, 2);
}

TEST_F(Steps, StartFromNoFileThatFailsItsHash) {
  Step step(write(describeStep()));
  initializeState(step);
  saveCheckpoint(step, {.step = 1, .position = 1, .settings = {}, .data = {}, .held_out = {}}, folder / "checkpoint", 1);
  std::ifstream in(folder / "checkpoint", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  for (size_t at = 0; at < bytes.size(); at += 5) {
    std::string changed = bytes;
    changed[at] ^= 1;
    std::ofstream(folder / "changed", std::ios::binary) << changed;
    EXPECT_NE(errorOf([&] { loadParameters(step, folder / "changed"); }), "") << "byte " << at;
  }
}

TEST_F(Steps, StartFromNoParametersThatAreNotFinite) {
  std::vector<float> a(15, 0.5f), b(16, 0.5f);
  for (float wrong : {NAN, -INFINITY}) {
    b[9] = wrong;
    writeSafetensors(folder / "parameters", {{"a", viewOf(a, {3, 5})}, {"b", viewOf(b, {8, 2})}});
    Step step(write(describeStep()));
    std::string error = errorOf([&] { loadParameters(step, folder / "parameters"); });
    EXPECT_NE(error.find("parameters: 'b' is " + std::to_string(wrong) + " at element 9"), std::string::npos) << error;
  }
}

TEST_F(Steps, SayThatParametersChangedWhenTheyDid) {
  std::ofstream(folder / "data.bin", std::ios::binary) << std::string(200, '\0');
  json described = describeStep();
  described["metrics"][0]["weight"] = 1e308; // times the rate of 1000, which FakeStep.cpp takes for the loss; its norm stays finite

  Step step(write(described));
  RunOptions options;
  options.data = {folder / "data.bin"}, options.token_type = "uint16", options.out = folder / "run";
  options.settings = {.steps = 2, .warmup = {}, .lr = 1000};
  testing::internal::CaptureStderr();
  EXPECT_EQ(train(step, options), 1);
  std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("the loss of step 1 is not finite, first in the loss term main; its gradient is, and changed the parameters"),
            log.npos)
      << log;
  EXPECT_NE(log.find("error: stopped; the state after it is in " + (folder / "run/checkpoint.safetensors").string()), log.npos) << log;
  EXPECT_EQ(loadCheckpoint(step, folder / "run/checkpoint.safetensors").step, 1);
}

TEST_F(Steps, MoveLargeTensorsInParts) {
  json large = describeStep();
  constexpr int64_t elements = (int64_t(20) << 20) / 4;
  large["parameters"] = {describeParameter("w", {elements}, 0, 0, 0)};
  large["segments"][MG_WEIGHTS]["bytes"] = 4 * elements, large["segments"][MG_GRADIENTS]["bytes"] = 4 * elements;
  large["segments"][MG_OPTIMIZER]["bytes"] = 8 * elements;
  Step step(write(large));
  initializeState(step);
  saveCheckpoint(step, {}, folder / "large", 1);
  step.clearState();
  loadCheckpoint(step, folder / "large");
  runStep(step);
  EXPECT_EQ(findNonFinite(step), "");
  EXPECT_EQ(fakeTarget().largest, 16 << 20);
  float last[1];
  step.readState(step.descriptor().parameters[0], StatePart::value, elements - 1, last);
  EXPECT_EQ(last[0], float(elements - 1) + 1.0f / 512);
}

TEST_F(Steps, RunACaseAndRefuseItsNumbersOutsideTheVocabulary) {
  std::vector<float> a(15, 0.5f), b(16, 0.25f);
  auto numbers = [](const std::vector<int32_t> &values) {
    return TensorSource{"I32", {2, 2, 4}, [&](uint64_t offset, std::span<std::byte> target) {
                          std::ranges::copy(std::as_bytes(std::span(values)).subspan(offset, target.size()), target.begin());
                        }};
  };
  std::vector<int32_t> tokens(16, 3), targets(16, 0);
  auto write_case = [&] {
    writeSafetensors(folder / "case", {{"param.a", viewOf(a, {3, 5})},
                                       {"param.b", viewOf(b, {8, 2})},
                                       {"input.tokens", numbers(tokens)},
                                       {"input.targets", numbers(targets)}});
  };
  targets[5] = -1; // ignored, and not the first, which FakeStep.cpp looks at
  write_case();
  Step step(write(describeStep()));
  runCase(step, folder / "case", folder / "results");
  SafetensorsFile results(folder / "results");
  std::vector<float> values(3), hidden(16);
  results.readFloats("loss.main", 0, values), results.readFloats("hidden.0", 0, hidden);
  EXPECT_EQ(values, (std::vector<float>(3, 0.25f)));
  EXPECT_EQ(hidden, (std::vector<float>(16, 3.0f)));
  targets[6] = 16;
  write_case();
  std::string error = errorOf([&] { runCase(step, folder / "case", folder / "results"); });
  EXPECT_NE(error.find("'input.targets' has 16 at (0, 1, 2), outside the model's vocab 16"), std::string::npos) << error;
  targets[6] = 0, tokens[15] = -1;
  write_case();
  error = errorOf([&] { runCase(step, folder / "case", folder / "results"); });
  EXPECT_NE(error.find("'input.tokens' has -1 at (1, 1, 3), outside the model's vocab 16"), std::string::npos) << error;
}

// Marks of the fake target are a millisecond apart: an observed launch takes one, a step as a whole one, and an observed step two a launch
// and one more. The first step of each kind does not count.

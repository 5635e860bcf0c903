// The runtime on a target whose arena cannot be touched: everything it does with memory goes through the target's table.
#include "megacc/KernelSignatures.h"
#include "runtime/core/Artifact.h"
#include "runtime/core/Bfloat16.h"
#include "runtime/state/Random.h"
#include "runtime/state/Safetensors.h"
#include "runtime/train/Batches.h"
#include "runtime/train/Case.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Loop.h"
#include "runtime/train/Observers.h"
#include "runtime/train/State.h"
#include "test/runtime/FakeStep.h"
#include "test/runtime/FakeTarget.h"

#include <algorithm>
#include <cmath>
#include <dlfcn.h>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

using namespace megacc::runtime;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::string signatureOf(const std::string &symbol) {
  for (const megacc::KernelSignature &kernel : megacc::kernelSignatures)
    if (kernel.symbol == symbol)
      return kernel.text;
  return "";
}

std::string errorOf(const std::function<void()> &body) {
  try {
    body();
  } catch (const std::runtime_error &error) {
    return error.what();
  }
  return "";
}

json describePlace(const char *name, const char *dtype, std::vector<int64_t> shape, int64_t offset, int64_t stride = 0) {
  return {{"name", name}, {"dtype", dtype}, {"shape", std::move(shape)}, {"offset", offset}, {"stride", stride}};
}

json describeParameter(const char *name, std::vector<int64_t> shape, int64_t offset, int64_t optimizer, int64_t gradient) {
  int64_t bytes = (4 * countElements(shape) + 255) / 256 * 256;
  return {
      {"name", name},    {"dtype", "f32"}, {"shape", std::move(shape)}, {"init", "normal"},     {"init_a", 0.5},  {"decays", true},
      {"trained", true}, {"block", 0},     {"offset", offset},          {"gradient", gradient}, {"m", optimizer}, {"v", optimizer + bytes}};
}

json describeLaunch(int64_t block) { return {{"kernel", "mg_copy"}, {"path", "a copy"}, {"block", block}, {"flops", 0}, {"bytes", 8}}; }

/// What FakeStep.cpp is, with the parameters a[3, 5] and b[8, 2].
json describeStep() {
  using namespace fake_step;
  json inputs = {describePlace("tokens", "i32", {micro_batch, sequence}, tokens, stride),
                 describePlace("targets", "i32", {micro_batch, sequence}, targets, stride),
                 describePlace("positions", "i32", {micro_batch}, positions), describePlace("scalars", "f32", {3}, scalars)};
  json main_loss = describePlace("loss.main", "f32", {1}, loss),
       hidden_output = describePlace("hidden.0", "i32", {micro_batch, sequence}, hidden, stride);
  json sums = describePlace("loss_sum", "f32", {micro_batch}, loss_sum), counts = describePlace("count", "f32", {micro_batch}, count);
  sums["function"] = counts["function"] = "evaluate";
  main_loss["weight"] = 1.0;
  hidden_output["function"] = "micro_batch";
  json update = {
      {"name", "update"}, {"symbol", "megacc_update"}, {"launches", {describeLaunch(-1), describeLaunch(-1), describeLaunch(-1)}}};
  return {
      {"abi", MEGACC_ABI_VERSION},
      {"megacc", "0.1.0"},
      {"target", "fake"},
      {"model", "fake"},
      {"hidden", 8},
      {"vocab", vocab},
      {"sequence", sequence},
      {"depth", 1},
      {"micro_batch", micro_batch},
      {"accumulate", accumulate},
      {"seed", 7},
      {"clip", 1.0},
      {"documents", 0},
      {"precision", "fp32"},
      {"declaration",
       {{"families", {{"A", {{"kind", "copy"}, {"width", 8}}}}},
        {"pattern", "A"},
        {"placements", json::array()},
        {"features", json::array()}}},
      {"mesh", {{"dp", 1}, {"tp", 1}, {"ep", 1}}},
      {"optimizer",
       {{"lr", 0.25}, {"beta1", 0.9}, {"beta2", 0.95}, {"final", -1.0}, {"schedule", "constant"}, {"warmup", 0}, {"steps", 0}}},
      {"segments",
       {{{"name", "weights"}, {"bytes", 512}},
        {{"name", "optimizer"}, {"bytes", 1024}},
        {{"name", "gradients"}, {"bytes", 512}},
        {{"name", "temporaries"}, {"bytes", 256}},
        {{"name", "io"}, {"bytes", io_bytes}},
        {{"name", "constants"}, {"bytes", 256}}}},
      {"parameters", {describeParameter("a", {3, 5}, 0, 0, 0), describeParameter("b", {8, 2}, 256, 512, 256)}},
      {"inputs", inputs},
      {"metrics", {main_loss, describePlace("grad_norm", "f32", {1}, grad_norm), describePlace("invalid.embedding", "i32", {1}, invalid)}},
      {"outputs", {hidden_output, sums, counts}},
      {"kernels", {{"mg_copy", signatureOf("mg_copy")}}},
      {"functions",
       {{{"name", "micro_batch"}, {"symbol", "megacc_micro_batch"}, {"launches", {describeLaunch(0)}}},
        update,
        {{"name", "evaluate"}, {"symbol", "megacc_evaluate"}, {"launches", {describeLaunch(0), describeLaunch(0)}}},
        {{"name", "overrun"}, {"symbol", "megacc_overrun"}, {"launches", json::array()}}}},
      {"receipt", {{{"slot", 0}, {"letter", "A"}, {"family", "copy"}, {"launches", {{"mg_copy", 1}}}}}}};
}

/// b as a bf16 parameter, whose master follows the moments.
json describeHalf() {
  json step = describeStep();
  step["parameters"][1]["dtype"] = "bf16";
  step["parameters"][1]["master"] = 1024;
  step["segments"][MG_OPTIMIZER]["bytes"] = 1280;
  return step;
}

class Steps : public testing::Test {
protected:
  void SetUp() override {
    resetFakeTarget();
    std::string name = (fs::temp_directory_path() / "step-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override { fs::remove_all(folder); }

  /// A step.so with this descriptor.
  std::string write(const json &descriptor) {
    std::ifstream in(MEGACC_FAKE_STEP, std::ios::binary);
    std::string image((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>()), text = descriptor.dump();
    image.replace(image.find("@descriptor@"), text.size(), text);
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(image.data(), image.size()));
    fs::path path = folder / ("step" + std::to_string(++files) + ".so");
    std::ofstream(path, std::ios::binary) << image << std::string(reinterpret_cast<char *>(hash.digest), sizeof hash.digest)
                                          << MEGACC_TRAILER;
    return path;
  }

  std::string refusal(const json &descriptor) {
    std::string path = write(descriptor);
    return errorOf([&] { Step step(path); });
  }

  static void stageTokens(Step &step) {
    for (int64_t m = 0; m < fake_step::accumulate; ++m)
      for (int32_t i = 0; i < 8; ++i)
        step.integers(*step.descriptor().findInput("tokens"), m)[i] = 10 * int32_t(m) + i;
  }

  fs::path folder;
  int files = 0;
};

} // namespace

TEST_F(Steps, ReserveWhatTheDescriptorPlansAndCopyTheConstants) {
  json descriptor = describeStep();
  {
    Step step(write(descriptor));
    for (int segment = 0; segment < MG_SEGMENT_COUNT; ++segment)
      EXPECT_EQ(fakeTarget().shadow[segment].size(), descriptor["segments"][segment]["bytes"]);
    EXPECT_EQ(std::vector(fakeTarget().shadow[MG_CONSTANTS].begin(), fakeTarget().shadow[MG_CONSTANTS].begin() + 4),
              (std::vector{std::byte(1), std::byte(2), std::byte(3), std::byte(0)}));
  }
  EXPECT_TRUE(fakeTarget().shadow[MG_IO].empty()) << "the arena is not released";
}

TEST_F(Steps, SendAllInputsInOneWriteAndFetchAllMetricsInOneRead) {
  Step step(write(describeStep()));
  stageTokens(step);
  stageScalars(step, 0.25, 1);
  int64_t writes = fakeTarget().writes, reads = fakeTarget().reads;
  runStep(step);
  EXPECT_EQ(fakeTarget().writes - writes, 1);
  EXPECT_EQ(fakeTarget().reads - reads, 1);
  EXPECT_EQ(readLosses(step).total, 0.25);
  EXPECT_EQ(float(readGradientNorm(step)), 0.1f);
  for (int64_t m = 0; m < 2; ++m)
    for (int i = 0; i < 8; ++i)
      EXPECT_EQ(step.readOutput(step.descriptor().outputs[0], m)[i], float(10 * m + i));
}

TEST_F(Steps, EvaluateWithOneWriteABatch) {
  std::ofstream(folder / "data.bin", std::ios::binary) << std::string(200, '\0');
  Step step(write(describeStep()));
  stageScalars(step, 3, 1);
  int64_t writes = fakeTarget().writes;
  std::optional<Evaluation> result = evaluate(step, Source::fromTokens(folder / "data.bin", 2), [] { return false; });
  ASSERT_TRUE(result && result->loss());
  EXPECT_FLOAT_EQ(*result->loss(), (3 + 0.1) / (0.1 + 0.05));
  EXPECT_EQ(fakeTarget().writes - writes, 64 / fake_step::micro_batch);
}

TEST_F(Steps, StopEvaluatingBetweenBatches) {
  std::ofstream(folder / "data.bin", std::ios::binary) << std::string(200, '\0');
  Step step(write(describeStep()));
  int64_t writes = fakeTarget().writes, asked = 0;
  EXPECT_FALSE(evaluate(step, Source::fromTokens(folder / "data.bin", 2), [&] { return ++asked > 3; }));
  EXPECT_EQ(fakeTarget().writes - writes, 3);
}

TEST_F(Steps, HaveNoLossWhereEveryTargetIsIgnored) {
  EXPECT_FALSE((Evaluation{.sum = 0, .targets = 0}.loss()));
  EXPECT_EQ((Evaluation{.sum = 3, .targets = 2}.loss()), 1.5);
}

TEST_F(Steps, CountTheTargetsThatAreNotIgnored) {
  json described = describeStep();
  described["inputs"].push_back(
      describePlace("documents", "i32", {fake_step::micro_batch, fake_step::sequence}, fake_step::documents, fake_step::stride));
  for (const char *name : {"a", "b", "c", "d", "e", "f"})
    std::ofstream(folder / name) << "\1";
  Step apart(write(described)), together(write(describeStep()));
  std::vector<fs::path> files = {folder / "a", folder / "b", folder / "c", folder / "d", folder / "e", folder / "f"};
  Source ones = Source::fromBytes(files);
  EXPECT_EQ(stageTrainingBatch(apart, ones, 0), 0);
  EXPECT_EQ(stageTrainingBatch(together, ones, 0), 2 * 2 * 4);
  EXPECT_EQ(describeShortage(apart, ones, "it"), "it has only documents of one token, which leave no target to learn from");
  EXPECT_EQ(describeShortage(together, ones, "it"), "");
  std::ofstream(folder / "f") << "\1\2\3\4\5\6\7\10";
  Source whole = Source::fromBytes({folder / "f"});
  EXPECT_EQ(stageTrainingBatch(apart, whole, 0), 2 * 2 * 4);
  EXPECT_EQ(describeShortage(apart, Source::fromBytes({folder / "a"}), "it"), "it has 1 tokens, a sample of sequence 4 needs 5");
}

TEST_F(Steps, ReportAFlagThatAKernelRaised) {
  Step step(write(describeStep()));
  step.integers(*step.descriptor().findInput("targets"))[0] = 1;
  std::string error = errorOf([&] { runStep(step); });
  EXPECT_NE(error.find("embedding met a token or target outside the model's vocab 16 (invalid.embedding)"), std::string::npos) << error;
}

TEST_F(Steps, ReportWhatTheTargetSays) {
  Step step(write(describeStep()));
  EXPECT_EQ(errorOf([&] { step.run("overrun"); }), "a range is outside the arena");
  EXPECT_NE(errorOf([&] { step.run("elsewhere"); }).find("no function 'elsewhere'"), std::string::npos);
  std::vector<std::byte> bytes(8);
  EXPECT_NE(errorOf([&] { step.read(MG_WEIGHTS, 508, bytes); }).find("8 bytes at 508 are not inside segment 0 of 512 bytes"),
            std::string::npos);
  fakeTarget().reserve_fails = true;
  EXPECT_EQ(refusal(describeStep()), "there is no such memory");
}

TEST_F(Steps, AreSeenByObservers) {
  Step step(write(describeStep()));
  Verifier verifier(step);
  step.setObserver(&verifier);
  runStep(step);
  verifier.checkStep();
  EXPECT_EQ(verifier.launches(), 5);
  std::string error = errorOf([&] { step.run("overrun"); });
  EXPECT_NE(error.find("call 0 of overrun is not among the 0"), std::string::npos) << error;
  step.setObserver(nullptr); // and what fails then says so itself
  EXPECT_EQ(errorOf([&] { step.run("overrun"); }), "a range is outside the arena");
}

TEST_F(Steps, ReportWhatAnObserverThrows) {
  struct Thrower : LaunchObserver {
    int32_t launch(const LaunchRecord &, MgKernel, const MgLaunch *) override { throw std::runtime_error("the clock stopped"); }
  } thrower;
  Step step(write(describeStep()));
  step.setObserver(&thrower);
  EXPECT_EQ(errorOf([&] { runStep(step); }), "the clock stopped");
  step.setObserver(nullptr);
  runStep(step);
}

// Refusals.

TEST_F(Steps, RefuseAnotherLibrary) {
  fakeTarget().table.abi = 1;
  std::string error = refusal(describeStep());
  EXPECT_NE(error.find("libmegacc_fake.so: was built with ABI version 1, this megacc-run has " + std::to_string(MEGACC_ABI_VERSION)),
            std::string::npos)
      << error;
  resetFakeTarget();
  fakeTarget().kernels[0].signature = "out:z:any | count | ";
  error = refusal(describeStep());
  EXPECT_NE(error.find("other kernels than libmegacc_fake.so has (mg_copy)"), std::string::npos) << error;
  resetFakeTarget();
  fakeTarget().table.kernel_count = 1; // mg_initialize is the second
  error = refusal(describeStep());
  EXPECT_NE(error.find("(mg_initialize)"), std::string::npos) << error;
  resetFakeTarget();
  json elsewhere = describeStep();
  elsewhere["target"] = "nowhere";
  error = refusal(elsewhere);
  EXPECT_NE(error.find("fix: keep libmegacc_nowhere.so beside megacc-run"), std::string::npos) << error;
  elsewhere["target"] = "sm_90a";
  std::string card = refusal(elsewhere); // no library where it was not built, no driver or no card where it was
  EXPECT_TRUE(card.find("libmegacc_cuda.so") != card.npos || card.find("card") != card.npos || card.find("driver") != card.npos) << card;
  elsewhere["target"] = "../fake";
  EXPECT_NE(refusal(elsewhere).find("'../fake' is not the name of a target"), std::string::npos);
}

TEST_F(Steps, OpenTheBytesThatWereCheckedWhateverHappensToTheFile) {
  std::string path = write(describeStep()), other = write(describeHalf());
  Artifact artifact(path), removed(other);
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary) << std::string(4096, 'x');
  fs::remove(other);
  for (const Artifact *checked : {&artifact, &removed}) {
    std::shared_ptr<void> code = checked->open();
    const char *text = static_cast<const char *>(dlsym(code.get(), "megacc_descriptor"));
    ASSERT_NE(text, nullptr);
    EXPECT_EQ(text, checked->descriptor());
  }
  EXPECT_NE(artifact.descriptor(), removed.descriptor());
  EXPECT_NE(errorOf([&] { Artifact again(path); }).find("has changed since it was compiled"), std::string::npos);
}

TEST_F(Steps, RefuseWhatTheArtifactLacks) {
  json missing = describeStep();
  missing["functions"][3]["symbol"] = "megacc_missing";
  EXPECT_NE(refusal(missing).find("lacks the symbol megacc_missing"), std::string::npos);
  json mesh = describeStep();
  mesh["mesh"]["tp"] = 4;
  EXPECT_NE(refusal(mesh).find("was compiled for 4 ranks (dp = 1, tp = 4, ep = 1)"), std::string::npos);
}

TEST_F(Steps, RefuseAnIoSegmentThatIsNotInOrder) {
  json mixed = describeStep();
  std::swap(mixed["inputs"][3]["offset"], mixed["metrics"][0]["offset"]);
  EXPECT_NE(refusal(mixed).find("not one after the other"), std::string::npos);
  json beyond = describeStep();
  beyond["outputs"][0]["stride"] = 4096;
  EXPECT_NE(refusal(beyond).find("'hidden.0' of 32 bytes at 2304 is not inside the io segment of 3328"), std::string::npos);
}

TEST_F(Steps, RefuseInputsThatNoDataFills) {
  json more = describeStep();
  more["inputs"].push_back(describePlace("images", "f32", {2, 2}, 1408));
  more["inputs"][2]["shape"] = {1};
  Step step(write(more));
  std::string error = errorOf([&] { checkInputs(step); });
  EXPECT_NE(error.find("'images' f32 (2, 2), which data cannot fill"), std::string::npos) << error;
  EXPECT_NE(error.find("'positions' i32 (1), given is i32 (2)"), std::string::npos) << error;
  Step whole(write(describeStep()));
  EXPECT_EQ(errorOf([&] { checkInputs(whole); }), "");
}

// State.

TEST_F(Steps, InitializeEachParameterWithItsKindAndStream) {
  Step step(write(describeStep()));
  initializeState(step);
  ASSERT_EQ(fakeTarget().initializations.size(), 2u);
  const FakeTarget::Initialization &b = fakeTarget().initializations[1];
  EXPECT_EQ(b.count, 16);
  EXPECT_EQ(b.first, 0);
  EXPECT_EQ(b.kind, 1);
  EXPECT_EQ(b.a, 0.5);
  EXPECT_FALSE(b.master);
  EXPECT_EQ(uint64_t(b.key), streamKey(7, "b"));
  json strange = describeStep();
  strange["parameters"][0]["init"] = "orthogonal";
  Step other(write(strange));
  EXPECT_NE(errorOf([&] { initializeState(other); }).find("'a' has the unknown initialiser 'orthogonal'"), std::string::npos);
}

TEST_F(Steps, InitializeARunOfIndicesAtATime) {
  json shuffled = describeHalf();
  shuffled["parameters"][1]["ranges"] = {{{6, 8}, {0, 6}}, {{0, 2}}};
  Step step(write(shuffled));
  initializeState(step);
  ASSERT_EQ(fakeTarget().initializations.size(), 3u);
  EXPECT_EQ(fakeTarget().initializations[1].first, 12);
  EXPECT_EQ(fakeTarget().initializations[1].count, 4);
  EXPECT_EQ(fakeTarget().initializations[2].first, 0);
  EXPECT_EQ(fakeTarget().initializations[2].count, 12);
  EXPECT_TRUE(fakeTarget().initializations[1].master);
  // Read back in the order of the whole tensor, from master and weight.
  const ParameterPlace &b = step.descriptor().parameters[1];
  std::vector<float> values = step.readState(b, StatePart::value), weights = step.readState(b, StatePart::weight);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(values[i], float(i) + 1.0f / 512);
    EXPECT_EQ(weights[i], fromBfloat16(toBfloat16(float(i) + 1.0f / 512)));
  }
  uint16_t first;
  std::memcpy(&first, fakeTarget().shadow[MG_WEIGHTS].data() + 256, sizeof first);
  EXPECT_EQ(fromBfloat16(first), 12.0f);
}

TEST_F(Steps, PoisonGradientsInsideParametersAlone) {
  Step step(write(describeStep()));
  step.poison();
  const auto &shadow = fakeTarget().shadow;
  auto all = [](const std::vector<std::byte> &bytes, size_t begin, size_t end, int value) {
    return std::all_of(bytes.begin() + begin, bytes.begin() + end, [&](std::byte byte) { return byte == std::byte(value); });
  };
  EXPECT_TRUE(all(shadow[MG_GRADIENTS], 0, 60, 0xFF));
  EXPECT_TRUE(all(shadow[MG_GRADIENTS], 60, 256, 0));
  EXPECT_TRUE(all(shadow[MG_GRADIENTS], 256, 320, 0xFF));
  EXPECT_TRUE(all(shadow[MG_GRADIENTS], 320, 512, 0));
  EXPECT_TRUE(all(shadow[MG_IO], 0, fake_step::io_bytes, 0xFF));
  EXPECT_TRUE(all(shadow[MG_TEMPORARIES], 0, 256, 0xFF));
  EXPECT_TRUE(all(shadow[MG_WEIGHTS], 0, 512, 0));
  EXPECT_TRUE(all(shadow[MG_OPTIMIZER], 0, 1024, 0));
}

TEST_F(Steps, FindTheGradientThatIsNotFinite) {
  Step step(write(describeStep()));
  runStep(step);
  EXPECT_EQ(findNonFinite(step), "");
  float wrong[] = {NAN};
  step.writeState(step.descriptor().parameters[0], StatePart::gradient, 14, wrong);
  EXPECT_EQ(findNonFinite(step), "the gradient of a");
}

// Checkpoints and cases.

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
TEST_F(Steps, AreProfiledInTurns) {
  {
    Step step(write(describeStep()));
    Profiler profiler(step);
    for (int i = 0; i < 5; ++i) {
      profiler.beginStep();
      step.runStep();
      profiler.endStep();
      if (i == 0)
        EXPECT_NE(profiler.table().find("needs 3 steps"), std::string::npos);
    }
    std::string table = profiler.table();
    EXPECT_NE(table.find("  mg_copy                                5.0       5.000 100.0%"), std::string::npos) << table;
    EXPECT_NE(table.find("  0 A copy                               2.0       2.000  40.0%"), std::string::npos) << table;
    EXPECT_NE(table.find("kernels of a step: 5.000 ms; whole steps: 1.000 ms, median of 1; between kernels: -400.0 %"), std::string::npos)
        << table;
    profiler.measurePeaks(); // there is no room, and no product
    EXPECT_EQ(profiler.table(), table);
    profiler.writeTrace(folder / "trace");
    std::ifstream file(folder / "trace");
    json trace = json::parse(file)["traceEvents"];
    ASSERT_EQ(trace.size(), 15u);
    EXPECT_EQ(trace[1]["ts"], 2000.0);
    EXPECT_EQ(trace[1]["dur"], 1000.0);
  }
  EXPECT_EQ(fakeTarget().marks, fakeTarget().unmarks);
}

TEST_F(Steps, WriteTheirInitialValues) {
  Step step(write(describeStep()));
  writeInitial(step, folder / "initial");
  std::vector<float> values(16);
  SafetensorsFile(folder / "initial").readFloats("initial.b", 0, values);
  EXPECT_EQ(values[15], 15 + 1.0f / 512);
}

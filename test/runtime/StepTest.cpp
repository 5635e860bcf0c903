// What a step does with its target: state, inputs, metrics, observers, and what is refused before it runs.
#include "runtime/core/Artifact.h"
#include "runtime/core/Bfloat16.h"
#include "runtime/state/Random.h"
#include "runtime/state/Safetensors.h"
#include "runtime/train/Batches.h"
#include "runtime/train/Case.h"
#include "runtime/train/Observers.h"
#include "runtime/train/State.h"
#include "test/runtime/StepFixture.h"

#include <algorithm>
#include <cmath>
#include <dlfcn.h>

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

TEST_F(Steps, KnowWhatTheDeviceHoldsBesideThem) {
  Step step(write(describeStep()));
  fakeTarget().bytes_in_use = 5000;
  EXPECT_EQ(step.target().bytesInUse(), 5000);
  int64_t planned = 0;
  for (const auto &shadow : fakeTarget().shadow)
    planned += int64_t(shadow.size());
  EXPECT_EQ(step.target().bytesReserved(), planned);
  fakeTarget().bytes_in_use = -1;
  EXPECT_EQ(errorOf([&] { step.target().bytesInUse(); }), "the device does not answer");
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

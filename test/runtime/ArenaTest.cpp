// planned == reserved, seen from outside (DESIGN 9.8): compiled models run in an arena that starts as NaN and ends at a guard page, and
// nothing allocates while they run.
#include "runtime/train/State.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <numeric>

extern "C" {
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *pointer, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
}

static std::atomic<int64_t> allocations;

// Every allocation of the process comes through here, operator new's too.
extern "C" void *malloc(size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
extern "C" void *calloc(size_t count, size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
extern "C" void *realloc(void *pointer, size_t size) {
  ++allocations;
  return __libc_realloc(pointer, size);
}
extern "C" void *aligned_alloc(size_t alignment, size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}

using namespace megacc::runtime;

namespace {

class Arenas : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    object = testing::TempDir() + "arena-" + GetParam() + ".so";
    std::string command = std::string(MEGACC_PROGRAM " " MEGACC_MODELS "/") + GetParam() + ".mlir --micro-batch 2 --accumulate 2 -o " + object;
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }

  static void writeInputs(Step &step) {
    uint32_t random = 1;
    for (const Place &input : step.descriptor().inputs)
      if (input.dtype == "i32")
        for (int64_t m = 0; m < (input.stride ? step.descriptor().accumulate : 1); ++m)
          for (int32_t &value : step.integers(input, m))
            value = int32_t((random = random * 1664525u + 1013904223u) >> 16) % std::min<int64_t>(step.descriptor().vocab, 97);
    for (int32_t &position : step.integers(*step.descriptor().findInput("positions")))
      position = 0;
  }

  static void runStep(Step &step, int64_t t) {
    writeScalars(step, 1e-3, t);
    for (int64_t m = 0; m < step.descriptor().accumulate; ++m)
      step.runMicroBatch(m);
    step.runUpdate();
  }

  /// All weights after two steps in an arena whose bytes were `fill`.
  std::vector<float> train(unsigned char fill) {
    Step step(object);
    for (int segment = 0; segment < MG_SEGMENT_COUNT; ++segment)
      std::memset(step.arena().segment(segment), fill, step.descriptor().segments[segment]);
    initializeState(step);
    writeInputs(step);
    runStep(step, 1), runStep(step, 2);
    EXPECT_EQ(findNonFinite(step), "");
    step.runEvaluate();
    std::vector<float> results;
    for (const ParameterPlace &parameter : step.descriptor().parameters)
      results.insert(results.end(), step.weights(parameter).begin(), step.weights(parameter).end());
    for (const Place &output : step.descriptor().outputs)
      results.insert(results.end(), step.values(output).begin(), step.values(output).end());
    return results;
  }

  std::string object;
};

} // namespace

TEST_P(Arenas, ReservesWhatIsPlannedToTheByte) {
  Step step(object);
  const auto &segments = step.descriptor().segments;
  EXPECT_EQ(step.arena().reserved(), std::accumulate(std::begin(segments), std::end(segments), int64_t(0)));
}

TEST_P(Arenas, ReadsNothingItHasNotWritten) {
  std::vector<float> from_nan = train(0xFF), from_zero = train(0);
  ASSERT_EQ(from_nan.size(), from_zero.size());
  EXPECT_EQ(std::memcmp(from_nan.data(), from_zero.data(), from_nan.size() * sizeof(float)), 0);
  EXPECT_TRUE(std::ranges::all_of(from_nan, [](float value) { return std::isfinite(value); }));
}

TEST_P(Arenas, EndsAtAGuardPage) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Step step(object);
  for (int segment = 0; segment < MG_SEGMENT_COUNT; ++segment) {
    volatile std::byte *end = step.arena().segment(segment) + step.descriptor().segments[segment];
    EXPECT_DEATH(*end = std::byte(1), "") << "segment " << segment;
  }
}

TEST_P(Arenas, AllocatesNothingDuringAStep) {
  Step step(object);
  initializeState(step);
  writeInputs(step);
  runStep(step, 1); // libraries may set themselves up
  step.runEvaluate();
  int64_t before = allocations;
  runStep(step, 2);
  step.runEvaluate();
  EXPECT_EQ(allocations, before);
}

INSTANTIATE_TEST_SUITE_P(Models, Arenas, testing::Values("dense-tiny"), [](const auto &info) {
  std::string name = info.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

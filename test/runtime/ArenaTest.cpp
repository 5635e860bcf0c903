// planned == reserved, seen from outside (DESIGN 9.8): compiled models run in an arena that starts as NaN and ends at a guard page, and
// nothing allocates while they run.
#include "megacc/KernelSignatures.h"
#include "runtime/train/State.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <link.h>
#include <unistd.h>

extern "C" {
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *pointer, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
}

[[maybe_unused]] static const int opened = setenv("MEGACC_CPU", MEGACC_CPU_LEVEL, 1);

static std::atomic<int64_t> allocations;
/// The code of the library of products, which packs panels of at most a few MiB a thread in memory of its own: this is about ours.
static std::atomic<uintptr_t> products_begin, products_end;

static void count(void *caller) {
  uintptr_t address = reinterpret_cast<uintptr_t>(caller);
  allocations += address < products_begin || address >= products_end;
}

#ifndef MEGACC_SANITIZED // sanitizers have a malloc of their own
// Every allocation of the process comes through here, operator new's too.
extern "C" void *malloc(size_t size) {
  count(__builtin_return_address(0));
  return __libc_malloc(size);
}
extern "C" void *calloc(size_t number, size_t size) {
  count(__builtin_return_address(0));
  return __libc_calloc(number, size);
}
extern "C" void *realloc(void *pointer, size_t size) {
  count(__builtin_return_address(0));
  return __libc_realloc(pointer, size);
}
extern "C" void *aligned_alloc(size_t alignment, size_t size) {
  count(__builtin_return_address(0));
  return __libc_memalign(alignment, size);
}
extern "C" int posix_memalign(void **memory, size_t alignment, size_t size) {
  count(__builtin_return_address(0));
  *memory = __libc_memalign(alignment, size);
  return *memory ? 0 : ENOMEM;
}
#endif

static void findProductLibrary() {
  dl_iterate_phdr(
      [](dl_phdr_info *library, size_t, void *) {
        if (!std::strstr(library->dlpi_name, "libdnnl"))
          return 0;
        for (int i = 0; i < library->dlpi_phnum; ++i)
          if (const ElfW(Phdr) &part = library->dlpi_phdr[i]; part.p_type == PT_LOAD && part.p_flags & PF_X) {
            products_begin = library->dlpi_addr + part.p_vaddr;
            products_end = products_begin + part.p_memsz;
          }
        return 1;
      },
      nullptr);
}

using namespace megacc::runtime;

namespace {

class Arenas : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    std::string name = GetParam(), file = MEGACC_SOURCE "/models/" + name + ".mlir";
    if (!std::filesystem::exists(file))
      file = MEGACC_SOURCE "/test/e2e/goldens/" + name + ".mlir";
    object = testing::TempDir() + "arena-" MEGACC_CPU_LEVEL "-" + name + ".so";
    std::string command = MEGACC_PROGRAM " " + file + " --micro-batch 2 --accumulate 2 -o " + object;
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }

  static void stageInputs(Step &step) {
    uint32_t random = 1;
    for (const Place &input : step.descriptor().inputs)
      if (input.name == "tokens" || input.name == "targets" || input.name == "documents" || input.name.starts_with("structure."))
        for (int64_t m = 0; m < step.descriptor().accumulate; ++m)
          for (int32_t &value : step.integers(input, m))
            value = int32_t((random = random * 1664525u + 1013904223u) >> 16) % std::min<int64_t>(step.descriptor().vocab, 97);
    stageScalars(step, 1e-3, 1);
  }

  /// All parameters and outputs after two steps; what is neither state nor input starts as NaN.
  static std::vector<float> train(Step &step) {
    initializeState(step);
    step.poison();
    return trainFurther(step);
  }

  static std::vector<float> trainFurther(Step &step) {
    stageInputs(step);
    runStep(step), runStep(step);
    EXPECT_EQ(findNonFinite(step), "");
    step.runEvaluation();
    std::vector<float> results;
    auto add = [&](const std::vector<float> &values) { results.insert(results.end(), values.begin(), values.end()); };
    for (const ParameterPlace &parameter : step.descriptor().parameters)
      add(step.readState(parameter, StatePart::value));
    for (const Place &output : step.descriptor().outputs)
      add(step.readOutput(output));
    return results;
  }

  static std::vector<std::byte> readAll(Step &step, MgSegment segment) {
    std::vector<std::byte> bytes(step.descriptor().segments[segment]);
    step.read(segment, 0, bytes);
    return bytes;
  }

  std::string object;
};

bool isZero(std::byte value) { return value == std::byte(0); }

/// Mappings of the process, from /proc/self/maps.
struct Mapping {
  uintptr_t begin, end;
  bool touchable;
};
std::vector<Mapping> readMappings() {
  std::vector<Mapping> mappings;
  std::ifstream file("/proc/self/maps");
  for (std::string line; std::getline(file, line);) {
    unsigned long long begin = 0, end = 0;
    char rights[5] = "";
    sscanf(line.c_str(), "%llx-%llx %4s", &begin, &end, rights);
    mappings.push_back({uintptr_t(begin), uintptr_t(end), rights[0] != '-' || rights[1] != '-'});
  }
  return mappings;
}

} // namespace

TEST_P(Arenas, ReservesWhatIsPlannedToTheByteBetweenGuardPages) {
  int64_t sizes[MG_SEGMENT_COUNT];
  std::ranges::copy(readDescriptor(readArtifact(object)).segments, sizes);
  void *segments[MG_SEGMENT_COUNT];
  ASSERT_EQ(mg_target()->reserve(sizes, segments), 0) << mg_target()->last_error();
  std::vector<Mapping> mappings = readMappings();
  const uintptr_t page = sysconf(_SC_PAGESIZE);
  for (int segment = 0; segment < MG_SEGMENT_COUNT; ++segment) {
    uintptr_t begin = reinterpret_cast<uintptr_t>(segments[segment]), end = begin + sizes[segment];
    auto touchable = [&](uintptr_t address) {
      return std::ranges::any_of(
          mappings, [&](const Mapping &mapping) { return mapping.touchable && mapping.begin <= address && address < mapping.end; });
    };
    EXPECT_FALSE(touchable(end)) << "after segment " << segment;
    EXPECT_FALSE(touchable(begin / page * page - 1)) << "before segment " << segment;
    for (uintptr_t address = begin; address < end; address += page)
      ASSERT_TRUE(touchable(address)) << "in segment " << segment;
  }
  mg_target()->release(segments);
}

TEST_P(Arenas, StartsStateAsZerosAndLeavesItsPaddingSo) {
  Step step(object);
  for (MgSegment segment : {MG_WEIGHTS, MG_OPTIMIZER, MG_GRADIENTS})
    EXPECT_TRUE(std::ranges::all_of(readAll(step, segment), isZero)) << "segment " << segment;
  train(step);
  std::vector<std::byte> weights = readAll(step, MG_WEIGHTS), optimizer = readAll(step, MG_OPTIMIZER),
                         gradients = readAll(step, MG_GRADIENTS);
  for (const ParameterPlace &parameter : step.descriptor().parameters) {
    auto clear = [&](std::vector<std::byte> &bytes, int64_t offset, MgType type) {
      std::fill_n(bytes.begin() + offset, parameter.elements() * typeBytes(type), std::byte(0));
    };
    clear(weights, parameter.offset, parameter.type);
    if (parameter.master)
      clear(optimizer, *parameter.master, MG_F32);
    if (!parameter.trained)
      continue;
    clear(gradients, parameter.gradient, MG_F32);
    clear(optimizer, parameter.first_moment, parameter.moment_type);
    if (parameter.second_moment)
      clear(optimizer, *parameter.second_moment, parameter.moment_type);
  }
  EXPECT_TRUE(std::ranges::all_of(weights, isZero));
  EXPECT_TRUE(std::ranges::all_of(optimizer, isZero));
  EXPECT_TRUE(std::ranges::all_of(gradients, isZero));
}

TEST_P(Arenas, ReadsNothingItHasNotWritten) {
  Step zeros(object), poisoned(object);
  initializeState(zeros);
  for (MgSegment segment : {MG_TEMPORARIES, MG_IO})
    zeros.fill(segment, 0, zeros.descriptor().segments[segment], 0);
  std::vector<float> from_zero = trainFurther(zeros), from_nan = train(poisoned);
  ASSERT_EQ(from_nan.size(), from_zero.size());
  EXPECT_EQ(std::memcmp(from_nan.data(), from_zero.data(), from_nan.size() * sizeof(float)), 0);
  EXPECT_TRUE(std::ranges::all_of(from_nan, [](float value) { return std::isfinite(value); }));
}

TEST_P(Arenas, AllocatesNothingDuringAStep) {
#ifdef MEGACC_SANITIZED
  GTEST_SKIP() << "allocations are not counted in a build with sanitizers";
#endif
  Step step(object);
  initializeState(step);
  stageInputs(step);
  runStep(step); // libraries may set themselves up
  step.runEvaluation();
  findProductLibrary();
  int64_t before = allocations;
  runStep(step);
  step.runEvaluation();
  EXPECT_EQ(allocations, before);
}

INSTANTIATE_TEST_SUITE_P(Models, Arenas,
                         testing::Values("dense-tiny", "dense", "gqa", "mla", "moe_softmax", "moe_sigmoid", "mamba3_mimo", "mamba3_siso",
                                         "m2rnn", "gdn", "gdn_docs", "mtp2_ngram", "aemr", "engrams", "concept_docs", "structure_all",
                                         "stp_docs"),
                         [](const auto &info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(Target, ListsEveryKernelWithItsSignature) {
  const MgTarget *target = mg_target();
  EXPECT_EQ(target->abi, MEGACC_ABI_VERSION);
  ASSERT_EQ(target->kernel_count, int64_t(std::size(megacc::kernelSignatures)));
  for (int64_t i = 0; i < target->kernel_count; ++i) {
    EXPECT_STREQ(target->kernels[i].name, megacc::kernelSignatures[i].symbol);
    EXPECT_STREQ(target->kernels[i].signature, megacc::kernelSignatures[i].text);
    EXPECT_EQ(reinterpret_cast<void *>(target->kernels[i].function), dlsym(RTLD_DEFAULT, target->kernels[i].name));
  }
}

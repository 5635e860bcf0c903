#include "runtime/core/Descriptor.h"
#include "runtime/core/Processor.h"

#include <gtest/gtest.h>

using namespace megacc::runtime;

namespace {

constexpr Processor nehalem = {false, false}, haswell = {true, false}, skylake_server = {true, true};

std::string refuse(Processor processor, const std::string &wanted) {
  try {
    return "took " + cpuLibraryName(processor, wanted);
  } catch (const ArtifactError &error) {
    return error.what();
  }
}

} // namespace

TEST(Processors, RunTheWidestKernelsTheyHave) {
  EXPECT_EQ(cpuLibraryName(haswell, ""), "libmegacc_cpu.so");
  EXPECT_EQ(cpuLibraryName(skylake_server, ""), "libmegacc_cpu_v4.so");
}

TEST(Processors, RunTheKernelsThatAreAskedFor) {
  EXPECT_EQ(cpuLibraryName(skylake_server, "x86-64-v3"), "libmegacc_cpu.so");
  EXPECT_EQ(cpuLibraryName(skylake_server, "x86-64-v4"), "libmegacc_cpu_v4.so");
  EXPECT_NE(refuse(haswell, "x86-64-v4").find("MEGACC_CPU asks for x86-64-v4 (AVX-512), this processor has x86-64-v3"), std::string::npos);
  EXPECT_NE(refuse(haswell, "avx2").find("MEGACC_CPU is 'avx2', expected x86-64-v3 or x86-64-v4"), std::string::npos);
}

TEST(Processors, OlderThanV3AreRefusedWhateverIsAskedFor) {
  for (const char *wanted : {"", "x86-64-v3", "x86-64-v4"})
    EXPECT_NE(refuse(nehalem, wanted).find("this processor lacks x86-64-v3 (AVX2, FMA, BMI2)"), std::string::npos) << wanted;
}

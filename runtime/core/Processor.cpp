#include "runtime/core/Processor.h"
#include "runtime/core/Descriptor.h"

namespace megacc::runtime {

Processor detectProcessor() {
  __builtin_cpu_init();
  return {bool(__builtin_cpu_supports("x86-64-v3")), bool(__builtin_cpu_supports("x86-64-v4"))};
}

std::string cpuLibraryName(Processor processor, const std::string &wanted) {
  if (!processor.v3)
    throw ArtifactError("this processor lacks x86-64-v3 (AVX2, FMA, BMI2), which the kernels of target cpu need; fix: run on a processor "
                        "like Intel's Haswell, AMD's Excavator or newer, in a virtual machine with its instructions passed through");
  if (!wanted.empty() && wanted != "x86-64-v3" && wanted != "x86-64-v4")
    throw ArtifactError("MEGACC_CPU is '" + wanted + "', expected x86-64-v3 or x86-64-v4; fix: unset it for the widest that there is");
  if (wanted == "x86-64-v4" && !processor.v4)
    throw ArtifactError("MEGACC_CPU asks for x86-64-v4 (AVX-512), this processor has x86-64-v3; fix: unset it");
  return processor.v4 && wanted != "x86-64-v3" ? "libmegacc_cpu_v4.so" : "libmegacc_cpu.so";
}

} // namespace megacc::runtime

// Which of the cpu target's two libraries a processor runs: the same sources, compiled for x86-64-v3 and for x86-64-v4.
#pragma once
#include <string>

namespace megacc::runtime {

/// What a processor and its operating system have, as far as kernels care.
struct Processor {
  bool v3; // AVX2, FMA, BMI2 and what else belongs to x86-64-v3
  bool v4; // AVX-512 F, BW, CD, DQ and VL
};

Processor detectProcessor();

/// File name of the widest library that the processor runs, or of the one that `wanted` names, the value of MEGACC_CPU ("": none is named).
/// Throws ArtifactError for a processor older than x86-64-v3, and for a name that is unknown or asks for more than there is.
std::string cpuLibraryName(Processor processor, const std::string &wanted);

} // namespace megacc::runtime

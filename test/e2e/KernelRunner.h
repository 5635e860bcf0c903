// One op of a step, run alone.
#ifndef MEGACC_TEST_E2E_KERNELRUNNER_H
#define MEGACC_TEST_E2E_KERNELRUNNER_H

#include "dialects/Interfaces/StepInterfaces.h"
#include "test/e2e/HostTensor.h"

namespace megacc::test {

/// A rank's place on one axis of a mesh.
struct MeshPlace {
  int64_t axis = 0, rank = 0, size = 1;
};

/// Runs the op's CPU kernel, as its record binds it, on one tensor per operand. Metrics and state that it names start as zeros and are
/// dropped. Returns what is wrong, or an empty string and the results.
std::string runKernel(step::KernelOpInterface op, llvm::ArrayRef<HostTensor> operands, MeshPlace place, std::vector<HostTensor> &results);

} // namespace megacc::test

#endif

// Something to run an op on.
#ifndef MEGACC_TEST_E2E_RANDOMOPERANDS_H
#define MEGACC_TEST_E2E_RANDOMOPERANDS_H

#include "test/e2e/HostTensor.h"

namespace megacc::test {

/// A tensor for every operand of an op with a kernel: the same at every call, random, and valid: tokens are in the vocabulary, documents
/// are runs, positions and offsets are those of a routing.
std::vector<HostTensor> makeOperands(mlir::Operation *op);

} // namespace megacc::test

#endif

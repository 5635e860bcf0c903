// The kernels of a library as its target table lists them: every line of kernels.def, in its order.
#pragma once
#include "megacc/KernelSignatures.h"
#include "megacc/StepABI.h"

extern "C" {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) int32_t symbol(const MgLaunch *);
#include "megacc/kernels.def"
}

namespace megacc::runtime {

enum KernelPosition {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) position_##symbol,
#include "megacc/kernels.def"
};

inline constexpr MgKernelEntry kernel_entries[] = {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) {#symbol, kernelSignatures[position_##symbol].text, symbol},
#include "megacc/kernels.def"
};

} // namespace megacc::runtime

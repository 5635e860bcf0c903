// From one step to launches and machine code.
#ifndef MEGACC_PASSES_RT_PASSES_H
#define MEGACC_PASSES_RT_PASSES_H

#include "dialects/Rt/Rt.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Pass/Pass.h"

namespace megacc::rt {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/rt/Passes.h.inc"
} // namespace megacc::rt

#endif

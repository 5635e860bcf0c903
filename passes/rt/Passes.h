// From one step to launches and machine code.
#ifndef MEGACC_PASSES_RT_PASSES_H
#define MEGACC_PASSES_RT_PASSES_H

#include "dialects/Interfaces/Size.h"
#include "dialects/Rt/Rt.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Pass/Pass.h"

namespace megacc::rt {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/rt/Passes.h.inc"

/// Bytes of all segments of a module, of the temporaries alone, and every segment that is not empty as text for people.
struct SegmentSum {
  Size total = 0;
  int64_t temporaries = 0;
  std::string text;
};
SegmentSum sumSegments(mlir::ModuleOp module);

/// What to do about a step that needs so many bytes, for the end of an error.
std::string adviseMemory(int64_t needed);
} // namespace megacc::rt

#endif

// The passes over the mega dialect.
#pragma once
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace megacc::mega {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/mega/Passes.h.inc"
} // namespace megacc::mega

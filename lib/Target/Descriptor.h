// The descriptor of step.so as JSON, see docs/descriptor.md.
#pragma once
#include "mlir/IR/BuiltinOps.h"
#include <string>

namespace megacc {

/// Describes a module that rt-build-receipt has left. The same module gives the same text.
std::string buildDescriptor(mlir::ModuleOp module, llvm::StringRef target);

} // namespace megacc

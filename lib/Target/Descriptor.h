// The descriptor of step.so as JSON, see docs/descriptor.md.
#pragma once
#include "mlir/IR/BuiltinOps.h"
#include <string>

namespace megacc {

/// The symbol that step.so exports for a function of the step.
std::string getEntrySymbol(llvm::StringRef function);

/// Describes a module that rt-build-receipt has left. The same module gives the same text.
std::string buildDescriptor(mlir::ModuleOp module);

} // namespace megacc

// Machine code of a step.
#pragma once
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include <memory>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace megacc {

/// A module of the LLVM dialect as LLVM IR for x86-64, named "step"; null after an error on the module.
std::unique_ptr<llvm::Module> translateToLLVM(mlir::ModuleOp module, llvm::LLVMContext &context);

/// Position-independent ELF object for any x86-64, not optimised: the code is calls in a row.
mlir::FailureOr<llvm::SmallVector<char>> emitObject(mlir::ModuleOp module);

} // namespace megacc

// The mega dialect: operations of a declaration and where their keys stand in the source.
#pragma once
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"

#include "dialects/Mega/MegaDialect.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Mega/MegaAttributes.h.inc"
#define GET_OP_CLASSES
#include "dialects/Mega/Mega.h.inc"

namespace megacc::mega {

/// The kind of a value that no type can hold, such as `3e-4`; its only key is the text.
inline constexpr llvm::StringLiteral malformed = "!malformed";

/// Where the index-th key at `path` ("optimizer.schedule.final") of an op was written; the op's own place if unknown.
mlir::Location keyLocation(mlir::Operation *op, llvm::StringRef path, unsigned index = 0);

/// The place of the op itself, without its keys.
mlir::Location opLocation(mlir::Operation *op);

} // namespace megacc::mega

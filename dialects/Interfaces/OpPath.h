// Where an op belongs in the model.
#pragma once
#include "mlir/IR/Location.h"
#include "mlir/IR/Operation.h"

namespace megacc {

/// "blocks.2.mixer/in_proj": the name of an op's location; empty without one.
inline llvm::StringRef getPath(mlir::Operation *op) {
  auto name = op->getLoc()->findInstanceOf<mlir::NameLoc>();
  return name ? name.getName().strref() : llvm::StringRef();
}

} // namespace megacc

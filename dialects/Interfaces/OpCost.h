//===- OpCost.h - what one execution of an op costs -----------------------===//
#ifndef MEGACC_DIALECTS_INTERFACES_OPCOST_H
#define MEGACC_DIALECTS_INTERFACES_OPCOST_H

#include <cstdint>

namespace mlir {
class Operation;
}

namespace megacc {

/// Exact integers from static shapes.
struct OpCost {
  /// FLOPs of the model (products of matrices and attention), not of the implementation.
  int64_t flops = 0;
  int64_t bytesRead = 0;
  int64_t bytesWritten = 0;
  int64_t workspace = 0;
  bool recomputable = true;
};

/// Every operand read once, every result written once, no FLOPs; the workspace is the kernel's.
OpCost getMemoryCost(mlir::Operation *op);

} // namespace megacc

#endif

// What one execution of an op costs.
#ifndef MEGACC_DIALECTS_INTERFACES_OPCOST_H
#define MEGACC_DIALECTS_INTERFACES_OPCOST_H

#include <cstdint>

namespace mlir {
class Operation;
}

namespace megacc {

/// Exact integers from static shapes.
struct OpCost {
  /// FLOPs of the model (products of matrices and attention), not of the implementation; Size::kLargest where 64 bits cannot hold them.
  int64_t flops = 0;
  int64_t bytesRead = 0;
  int64_t bytesWritten = 0;
  /// Whether a clone of it may run again: it makes no gradients of its own (no effects and no collectives are asked of the op itself).
  bool recomputable = true;
};

/// Every operand read once, every result written once, no FLOPs.
OpCost getMemoryCost(mlir::Operation *op);
/// What the op says it costs; getMemoryCost() where it says nothing.
OpCost getCost(mlir::Operation *op);

} // namespace megacc

#endif

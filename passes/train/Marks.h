// Block and phase of every op.
#ifndef MEGACC_PASSES_TRAIN_MARKS_H
#define MEGACC_PASSES_TRAIN_MARKS_H

#include "dialects/Step/Step.h"
#include "mlir/IR/Builders.h"

namespace megacc::step {

/// Gives every op that a builder inserts its block and phase.
struct Marks : mlir::OpBuilder::Listener {
  int64_t block = -1;
  Phase phase = Phase::forward;

  void notifyOperationInserted(mlir::Operation *op, mlir::OpBuilder::InsertPoint) override {
    mlir::Builder builder(op->getContext());
    op->setDiscardableAttr(kBlockAttr, builder.getI64IntegerAttr(block));
    op->setDiscardableAttr(kPhaseAttr, PhaseAttr::get(op->getContext(), phase));
  }
};

} // namespace megacc::step

#endif

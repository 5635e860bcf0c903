//===- Fuse.cpp - groups that one kernel serves ---------------------------===//
#include "lib/Kernels/Kernels.h"
#include "passes/memory/Passes.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPFUSE
#include "passes/memory/Passes.h.inc"

namespace {

struct StepFuse : impl::StepFuseBase<StepFuse> {
  void runOnOperation() override {
    StringRef target = getTarget(getOperation());
    for (auto func : getOperation().getOps<FuncOp>()) {
      for (Operation &op : llvm::make_early_inc_range(func.getBody().front().without_terminator()))
        if (auto accumulate = dyn_cast<AccumulateOp>(op))
          fuseWithGradient(accumulate, target);
      markAccumulations(func);
    }
  }

private:
  /// The gradient of an accumulation has no other use, so that it need not exist.
  void fuseWithGradient(AccumulateOp accumulate, StringRef target) {
    Value gradient = accumulate.getGradient();
    Operation *producer = gradient.getDefiningOp();
    if (!producer || !gradient.hasOneUse() || producer->getBlock() != accumulate->getBlock() || !isa<KernelOpInterface>(producer) ||
        !match(target, getFusedQuery({producer, accumulate})))
      return;
    group({producer, accumulate}, producer);
  }

  /// Moves ops into a group that stands where `place` stands.
  void group(ArrayRef<Operation *> ops, Operation *place) {
    SmallVector<Value> outside;
    for (Operation *op : ops)
      for (Value result : op->getResults())
        if (isVisible(result, ops))
          outside.push_back(result);
    OpBuilder builder(place);
    auto fused = FusedOp::create(builder, place->getLoc(), ValueRange(outside).getTypes());
    fused->setAttr(kBlockAttr, ops.back()->getAttr(kBlockAttr));
    fused->setAttr(kPhaseAttr, ops.front()->getAttr(kPhaseAttr));
    Block *body = &fused.getBody().emplaceBlock();
    for (Operation *op : ops)
      op->moveBefore(body, body->end());
    for (auto [value, result] : llvm::zip(outside, fused.getResults()))
      value.replaceUsesWithIf(result, [&](OpOperand &use) { return !llvm::is_contained(ops, use.getOwner()); });
    builder.setInsertionPointToEnd(body);
    YieldOp::create(builder, place->getLoc(), outside);
  }
};

} // namespace
} // namespace megacc::step

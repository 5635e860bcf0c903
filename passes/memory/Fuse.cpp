//===- Fuse.cpp - groups that one kernel serves ---------------------------===//
#include "lib/Kernels/Kernels.h"
#include "passes/memory/Passes.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"

#include <memory>

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPFUSE
#include "passes/memory/Passes.h.inc"

namespace {

/// Ops that become one launch, in the order in which the records' families name them. They are put where `place` stands.
struct Group {
  SmallVector<Operation *> ops;
  Operation *place;
};

struct StepFuse : impl::StepFuseBase<StepFuse> {
  void runOnOperation() override {
    target = getTarget(getOperation());
    for (auto func : getOperation().getOps<FuncOp>()) {
      groups.clear();
      for (auto accumulate : func.getBody().getOps<AccumulateOp>())
        joinGradient(accumulate);
      for (Operation &op : func.getBody().front().without_terminator())
        if (isa<KernelOpInterface>(op) && !groups.contains(&op))
          joinProducer(&op);
      SmallVector<Operation *> order;
      for (Operation &op : func.getBody().front().without_terminator())
        order.push_back(&op);
      for (Operation *op : order)
        if (auto found = groups.find(op); found != groups.end() && found->second->place == op)
          build(*found->second);
      markAccumulations(func);
    }
  }

private:
  /// The gradient of an accumulation has no other use, so that it need not exist.
  void joinGradient(AccumulateOp accumulate) {
    Operation *producer = accumulate.getGradient().getDefiningOp();
    if (producer && isa<KernelOpInterface>(producer) && !groups.contains(producer) && accumulate.getGradient().hasOneUse())
      join({producer, accumulate}, producer);
  }

  /// An op with one of those whose results it takes, the last that a record serves together with it.
  void joinProducer(Operation *op) {
    llvm::SmallSetVector<Operation *, 4> producers;
    for (Value operand : op->getOperands())
      if (Operation *producer = operand.getDefiningOp(); producer && isa<KernelOpInterface>(producer))
        producers.insert(producer);
    SmallVector<Operation *> lastFirst = producers.takeVector();
    llvm::sort(lastFirst, [](Operation *a, Operation *b) { return b->isBeforeInBlock(a); });
    for (Operation *producer : lastFirst) {
      auto found = groups.find(producer);
      SmallVector<Operation *> ops = found == groups.end() ? SmallVector<Operation *>{producer} : found->second->ops;
      ops.push_back(op);
      if (canStandAt(ops, op) && join(ops, op))
        return;
    }
  }

  /// Whether nothing between needs a result of the ops, and what belongs to another slot has no parameters.
  bool canStandAt(ArrayRef<Operation *> ops, Operation *place) {
    for (Operation *op : ops) {
      if (getBlock(op) != getBlock(place) &&
          (isa<AccumulateOp>(op) || llvm::any_of(op->getOperands(), [](Value value) { return value.getDefiningOp<ReadOp>(); })))
        return false;
      for (Operation *user : op->getUsers())
        if (!llvm::is_contained(ops, user) && user->isBeforeInBlock(place))
          return false;
    }
    return true;
  }

  /// Makes a group of the ops if a record serves it. Each op may have been in a smaller one.
  bool join(ArrayRef<Operation *> ops, Operation *place) {
    if (!match(target, getFusedQuery(ops)))
      return false;
    auto group = std::make_shared<Group>(Group{SmallVector<Operation *>(ops), place});
    for (Operation *op : ops)
      groups[op] = group;
    return true;
  }

  /// Moves the ops of a group into a step.fused.
  void build(const Group &group) {
    SmallVector<Value> outside;
    for (Operation *op : group.ops)
      for (Value result : op->getResults())
        if (isVisible(result, group.ops))
          outside.push_back(result);
    OpBuilder builder(group.place);
    auto fused = FusedOp::create(builder, group.place->getLoc(), ValueRange(outside).getTypes());
    fused->setAttr(kBlockAttr, group.ops.back()->getAttr(kBlockAttr));
    fused->setAttr(kPhaseAttr, group.ops.front()->getAttr(kPhaseAttr));
    Block *body = &fused.getBody().emplaceBlock();
    for (Operation *op : group.ops)
      op->moveBefore(body, body->end());
    for (auto [value, result] : llvm::zip(outside, fused.getResults()))
      value.replaceUsesWithIf(result, [&](OpOperand &use) { return !llvm::is_contained(group.ops, use.getOwner()); });
    builder.setInsertionPointToEnd(body);
    YieldOp::create(builder, group.place->getLoc(), outside);
  }

  StringRef target;
  /// The group of every op that is in one. The order of effects does not matter: every op has its own metric, and which addition to a
  /// gradient is the first is marked at the end.
  llvm::DenseMap<Operation *, std::shared_ptr<Group>> groups;
};

} // namespace
} // namespace megacc::step

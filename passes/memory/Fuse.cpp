// Groups that one kernel serves.
#include "lib/Kernels/Kernels.h"
#include "passes/memory/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
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
      for (Operation &op : llvm::make_early_inc_range(func.getBody().front().without_terminator()))
        if (isa<KernelOpInterface>(op) && !groups.contains(&op))
          joinRepeated(&op);
      for (Operation &op : func.getBody().front().without_terminator())
        if (isa<KernelOpInterface>(op) && !groups.contains(&op))
          joinProducer(&op);
      SmallVector<Operation *> order;
      for (Operation &op : func.getBody().front().without_terminator())
        order.push_back(&op);
      for (Operation *op : order)
        if (auto found = groups.find(op); found != groups.end() && found->second->place == op)
          build(*found->second);
      for (Operation *op : llvm::reverse(originals))
        if (isOpTriviallyDead(op))
          op->erase();
      originals.clear();
      markAccumulations(func);
    }
  }

private:
  /// Joins an accumulation with what makes its gradient, which has no other use and so need not exist.
  void joinGradient(AccumulateOp accumulate) {
    Operation *producer = accumulate.getGradient().getDefiningOp();
    if (producer && isa<KernelOpInterface>(producer) && !groups.contains(producer) && accumulate.getGradient().hasOneUse())
      join({producer, accumulate}, producer);
  }

  /// Joins an op with one of those whose results it takes, the last that a record serves together with it.
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

  /// Joins an op with copies of what it reads and with what reads it, where a record names such a group.
  void joinRepeated(Operation *op) {
    std::string own = getFamily(op);
    for (const Record &record : allRecords()) {
      SmallVector<StringRef> families;
      StringRef(record.family).split(families, '+');
      if (record.target == target && record.repeated && families[record.repeated] == own && joinRepeated(op, record, families))
        return;
    }
  }

  bool joinRepeated(Operation *op, const Record &record, ArrayRef<StringRef> families) {
    // Producers, and theirs, in the order of the block, must be of the families before the op's; users in the order of the block of those
    // behind.
    llvm::SmallSetVector<Operation *, 4> found;
    SmallVector<Operation *> open = {op};
    while (!open.empty())
      for (Value operand : open.pop_back_val()->getOperands())
        if (Operation *producer = operand.getDefiningOp();
            producer && isa<KernelOpInterface>(producer) && !groups.contains(producer) && getBlock(producer) == getBlock(op) &&
            llvm::is_contained(families.take_front(record.repeated), getFamily(producer)) && found.insert(producer))
          open.push_back(producer);
    SmallVector<Operation *> before = found.takeVector(), after;
    auto isBefore = [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); };
    llvm::sort(before, isBefore);
    for (size_t i = record.repeated + 1; i < families.size(); ++i) {
      SmallVector<Operation *> next;
      for (Operation *made : llvm::concat<Operation *>(SmallVector<Operation *>{op}, after))
        for (Operation *user : made->getUsers())
          if (isa<KernelOpInterface>(user) && getFamily(user) == families[i] && !llvm::is_contained(after, user) && !groups.contains(user))
            next.push_back(user);
      if (next.empty())
        return false;
      after.push_back(*llvm::min_element(next, isBefore));
    }
    if (before.size() != size_t(record.repeated) ||
        !llvm::equal(before, families.take_front(record.repeated), [&](Operation *a, StringRef family) { return getFamily(a) == family; }))
      return false;

    OpBuilder builder(op);
    IRMapping copies;
    SmallVector<Operation *> ops;
    for (Operation *producer : before) {
      ops.push_back(builder.clone(*producer, copies));
      ops.back()->setAttr(kPhaseAttr, op->getAttr(kPhaseAttr));
    }
    auto exchange = [&](bool forward) {
      for (Operation *producer : before)
        for (auto [result, copy] : llvm::zip(producer->getResults(), copies.lookup(producer)->getResults()))
          for (OpOperand &operand : op->getOpOperands())
            if (operand.get() == (forward ? result : copy))
              operand.set(forward ? copy : result);
    };
    exchange(true);
    ops.push_back(op);
    ops.append(after);
    Operation *place = after.empty() ? op : after.back();
    if (canStandAt(ops, place) && join(ops, place)) {
      originals.insert(before.begin(), before.end());
      return true;
    }
    exchange(false);
    for (size_t i = before.size(); i-- > 0;)
      ops[i]->erase();
    return false;
  }

  static std::string getFamily(Operation *op) { return cast<KernelOpInterface>(op).getKernelQuery().family; }

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
  /// Ops of which groups have copies.
  llvm::SmallSetVector<Operation *, 8> originals;
  /// The group of every op that is in one. The order of effects does not matter: every op has its own metric, and which addition to a
  /// gradient is the first is marked at the end.
  llvm::DenseMap<Operation *, std::shared_ptr<Group>> groups;
};

} // namespace
} // namespace megacc::step

// What the backward computes again.
#include "passes/memory/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::step {
namespace {

/// Walks one function in its order, so that a clone made for one op of the backward stands before all later ones.
class Cloner {
public:
  explicit Cloner(FuncOp func) : body(func.getBody().front()) {}

  void run() {
    body.walk([&](CacheOpInterface gradient) { gradients[gradient->getAttr(kPairAttr)].push_back(body.findAncestorOpInBlock(*gradient)); });
    for (Operation &user : llvm::make_early_inc_range(body.without_terminator()))
      if (getPhase(&user) == Phase::backward)
        user.walk([&](Operation *op) {
          for (OpOperand &operand : op->getOpOperands())
            if (isRecomputed(operand.get()))
              operand.set(getAgain(operand.get(), &user));
        });
    body.walk([](Operation *op) { op->removeAttr(kRecomputeAttr); });
  }

private:
  /// The op that makes a value, inside a group where that is one.
  static OpResult getInner(Value value) {
    auto result = dyn_cast<OpResult>(value);
    if (!result)
      return result;
    if (auto fused = dyn_cast<FusedOp>(result.getOwner()))
      return cast<OpResult>(fused.getBody().front().back().getOperand(result.getResultNumber()));
    return result;
  }

  static bool isMarked(Operation *op) { return op->hasAttr(kRecomputeAttr); }
  bool isRecomputed(Value value) {
    OpResult inner = getInner(value);
    return inner && (isMarked(inner.getOwner()) || isMarked(value.getDefiningOp()));
  }

  /// The value as ops of the backward can read it: itself, the result of its group, or of a clone that stands before `user`.
  Value getAgain(Value value, Operation *user) {
    OpResult inner = getInner(value);
    if (!inner)
      return value;
    Operation *op = inner.getOwner();
    auto fused = dyn_cast<FusedOp>(op->getParentOp());
    if (!fused)
      return isMarked(op) ? clone(op, user)->getResult(inner.getResultNumber()) : value;
    OpResult outside = getOutside(fused, inner);
    if (outside && isMarked(fused))
      return clone(fused, user)->getResult(outside.getResultNumber());
    if (outside && !isMarked(op))
      return outside;
    return clone(op, user)->getResult(inner.getResultNumber()); // of an op by itself; what stays inside never exists
  }

  /// The result of a group that has a value made inside; null where it stays inside.
  static OpResult getOutside(FusedOp fused, Value inner) {
    for (auto [result, yielded] : llvm::zip(fused->getOpResults(), fused.getBody().front().back().getOperands()))
      if (yielded == inner)
        return result;
    return {};
  }

  Operation *clone(Operation *op, Operation *user) {
    auto [found, isNew] = clones.try_emplace(op);
    if (!isNew)
      return found->second;
    IRMapping operands;
    op->walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        if (!op->isAncestor(operand.getDefiningOp()))
          operands.map(operand, getAgain(operand, user));
    });
    OpBuilder builder(user);
    Operation *copy = builder.clone(*op, operands);
    copy->walk([&](Operation *inner) {
      inner->removeAttr(kRecomputeAttr);
      if (!isa<YieldOp>(inner))
        inner->setAttr(kPhaseAttr, PhaseAttr::get(inner->getContext(), Phase::recompute));
      if (auto flags = dyn_cast<FlagOpInterface>(inner))
        flags.dropFlags();
    });
    moveCaches(op, copy);
    return clones[op] = copy;
  }

  /// Caches are kept by the clone if no op that reads them has gone by, else by the original.
  void moveCaches(Operation *op, Operation *copy) {
    SmallVector<std::pair<Operation *, Operation *>> both;
    op->walk([&](Operation *inner) { both.push_back({inner, nullptr}); });
    size_t index = 0;
    copy->walk([&](Operation *inner) { both[index++].second = inner; });
    for (auto [original, again] : both) {
      if (!original->hasAttr(kKeepAttr))
        continue;
      Attribute pair = original->getAttr(kPairAttr);
      bool isInTime = true;
      for (Operation *gradient : gradients[pair])
        isInTime &= copy->isBeforeInBlock(gradient);
      (isInTime ? original : again)->removeAttr(kKeepAttr);
    }
  }

  Block &body;
  llvm::DenseMap<Operation *, Operation *> clones;
  llvm::DenseMap<Attribute, SmallVector<Operation *>> gradients; // by pair: ops of the block that read caches, or hold those that do
};

} // namespace

void cloneRecomputed(FuncOp func) { Cloner(func).run(); }

} // namespace megacc::step

// Clones, and caches as results and operands.
#include "lib/Kernels/Kernels.h"
#include "passes/memory/Passes.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPAPPLYMEMORY
#include "passes/memory/Passes.h.inc"

namespace {

struct StepApplyMemory : impl::StepApplyMemoryBase<StepApplyMemory> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (auto func : module.getOps<FuncOp>())
      cloneRecomputed(func);
    llvm::DenseMap<Attribute, SmallVector<CacheOpInterface>> gradients; // by pair
    SmallVector<Operation *> keeping;
    module.walk([&](Operation *op) {
      if (auto gradient = dyn_cast<CacheOpInterface>(op); gradient && op->hasAttr(kPairAttr))
        gradients[op->getAttr(kPairAttr)].push_back(gradient);
      if (op->hasAttr(kKeepAttr))
        keeping.push_back(op);
    });
    bool good = true;
    for (Operation *op : keeping)
      good &= succeeded(addCaches(op, gradients[op->getAttr(kPairAttr)]));
    module.walk([](Operation *op) { op->removeAttr(kPairAttr); });
    if (!good)
      signalPassFailure();
  }

private:
  LogicalResult addCaches(Operation *op, ArrayRef<CacheOpInterface> gradients) {
    auto names = op->getAttrOfType<ArrayAttr>(kKeepAttr);
    KernelQuery query = cast<KernelOpInterface>(op).getKernelQuery();
    const Record *record = match(getTarget(op), query);
    if (!record)
      return op->emitOpError("keeps caches, but no kernel serves it on ") << getTarget(op);
    SmallVector<Type> types(op->getResultTypes());
    for (Attribute name : names) {
      auto cache = llvm::find_if(record->caches, [&](const Cache &cache) { return cache.name == cast<StringAttr>(name).getValue(); });
      RankedTensorType type = cache == record->caches.end() ? RankedTensorType() : cache->type(query);
      if (!type)
        return op->emitOpError("keeps the cache ") << name << ", which " << record->name << " does not have";
      types.push_back(type);
    }
    OpBuilder builder(op);
    OperationState state(op->getLoc(), op->getName(), op->getOperands(), types);
    state.propertiesAttr = op->getPropertiesAsAttribute();
    state.addAttributes(op->getDiscardableAttrDictionary().getValue());
    state.attributes.erase(kKeepAttr);
    Operation *keeping = builder.create(state);
    keeping->setAttr("cached", names);
    op->replaceAllUsesWith(keeping->getResults().take_front(op->getNumResults()));
    ValueRange caches = keeping->getResults().drop_front(op->getNumResults());
    op->erase();
    if (auto fused = dyn_cast<FusedOp>(keeping->getParentOp()))
      caches = yieldMore(fused, caches);
    for (CacheOpInterface gradient : gradients) {
      gradient.getCachesMutable().append(caches);
      gradient.setCachedAttr(names);
    }
    return success();
  }

  /// Makes values of a group results of it. Returns these results.
  ResultRange yieldMore(FusedOp fused, ValueRange values) {
    auto yield = cast<YieldOp>(fused.getBody().front().back());
    yield->insertOperands(yield->getNumOperands(), values);
    OpBuilder builder(fused);
    auto wider = FusedOp::create(builder, fused.getLoc(), yield->getOperandTypes());
    wider->setAttrs(fused->getAttrs());
    wider.getBody().takeBody(fused.getBody());
    unsigned count = fused->getNumResults();
    fused->replaceAllUsesWith(wider->getResults().take_front(count));
    fused->erase();
    return wider->getResults().drop_front(count);
  }
};

} // namespace
} // namespace megacc::step

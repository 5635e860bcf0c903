// What later phases rely on.
#include "passes/train/Passes.h"

#include "dialects/Interfaces/OpPath.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPCHECKGLOBAL
#include "passes/train/Passes.h.inc"

namespace {

struct StepCheckGlobal : impl::StepCheckGlobalBase<StepCheckGlobal> {
  void runOnOperation() override {
    bool good = true;
    for (StringRef name : {"micro_batch", "update", "evaluate"}) {
      if (auto func = getOperation().lookupSymbol<FuncOp>(name)) {
        good &= checkFunc(func);
        continue;
      }
      getOperation().emitError("has no function \"") << name << "\"";
      good = false;
    }
    good &= checkGradients();
    good &= checkSizes();
    markAllAnalysesPreserved();
    if (!good)
      signalPassFailure();
  }

private:
  bool checkFunc(FuncOp func) {
    bool good = true, backward = false;
    for (Operation &op : func.getBody().front().without_terminator()) {
      if (!op.getAttrOfType<PhaseAttr>(kPhaseAttr) || !op.getAttrOfType<IntegerAttr>(kBlockAttr)) {
        op.emitOpError("lacks 'block' or 'phase'");
        good = false;
        continue;
      }
      if (backward && getPhase(&op) == Phase::forward) {
        op.emitOpError("of the forward stands after the backward");
        good = false;
      }
      backward |= getPhase(&op) == Phase::backward;
    }
    return good;
  }

  /// No tensor has so many elements, and no op so many FLOPs, that a later sum or product could wrap.
  bool checkSizes() {
    bool good = true;
    llvm::DenseSet<Type> reported; // blocks of a letter repeat their types
    getOperation().walk([&](Operation *op) {
      for (Type type : op->getResultTypes())
        if (isa<RankedTensorType>(type) && getElements(type).get() > kMostElements) {
          good = false;
          if (reported.insert(type).second)
            op->emitOpError("makes ") << type << " at \"" << getPath(op) << "\", a tensor has at most " << kMostElements
                                      << " elements; fix: smaller sizes or a smaller micro_batch";
        }
    });
    if (!good) // what follows from such tensors says nothing
      return false;
    getOperation().walk([&](CostOpInterface op) {
      if (op.getCost().flops != Size::kLargest)
        return;
      op->emitOpError("at \"") << getPath(op) << "\" takes more than " << Size::kLargest - 1
                               << " FLOPs; fix: smaller sizes or a smaller micro_batch";
      good = false;
    });
    return good;
  }

  bool checkGradients() {
    bool good = true;
    llvm::DenseMap<StringAttr, int64_t> counts;
    getOperation().walk([&](AccumulateOp op) {
      bool first = counts[op.getParameterAttr().getAttr()]++ == 0;
      if (op.getAdds() == !first)
        return;
      op.emitOpError(first ? "adds to a gradient that nothing has written" : "overwrites a gradient that is there");
      good = false;
    });
    for (auto parameter : getOperation().getOps<ParameterOp>()) {
      int64_t count = counts.lookup(parameter.getSymNameAttr());
      if (parameter.getTrained() == (count > 0))
        continue;
      parameter.emitOpError("\"") << parameter.getSymName() << "\" has " << count << " gradients, expected "
                                  << (parameter.getTrained() ? "at least one" : "none");
      good = false;
    }
    return good;
  }
};

} // namespace
} // namespace megacc::step

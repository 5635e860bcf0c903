//===- CheckGlobal.cpp - what later phases rely on ------------------------===//
#include "passes/train/Passes.h"

#include "llvm/ADT/DenseMap.h"

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
    markAllAnalysesPreserved();
    if (!good)
      signalPassFailure();
  }

private:
  bool checkFunc(FuncOp func) {
    bool good = true, backward = false;
    for (Operation &op : func.getBody().front().without_terminator()) {
      if (!op.getAttrOfType<PhaseAttr>(kPhaseAttr) || !op.getAttrOfType<IntegerAttr>(kBlockAttr)) {
        op.emitOpError("has no 'block' or no 'phase'");
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

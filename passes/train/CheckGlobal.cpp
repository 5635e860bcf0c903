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
      auto phase = op.getAttrOfType<StringAttr>(kPhaseAttr);
      if (!phase || !op.getAttrOfType<IntegerAttr>(kBlockAttr)) {
        op.emitOpError("has no 'block' or no 'phase'");
        good = false;
        continue;
      }
      if (backward && phase == "forward") {
        op.emitOpError("of the forward stands after the backward");
        good = false;
      }
      backward |= phase == "backward";
    }
    return good;
  }

  bool checkGradients() {
    bool good = true;
    llvm::DenseMap<StringAttr, int64_t> counts;
    getOperation().walk([&](AccumulateOp op) { ++counts[op.getParameterAttr().getAttr()]; });
    for (auto parameter : getOperation().getOps<ParameterOp>()) {
      int64_t count = counts.lookup(parameter.getSymNameAttr()), expected = parameter.getTrained();
      if (count == expected)
        continue;
      parameter.emitOpError("\"") << parameter.getSymName() << "\" has " << count << " gradients, expected " << expected;
      good = false;
    }
    return good;
  }
};

} // namespace
} // namespace megacc::step

#include "dialects/Mega/Mega.h"
#include "passes/mega/CheckMesh.h"
#include "passes/mega/Passes.h"

#include "mlir/IR/Builders.h"

using namespace mlir;

namespace megacc::mega {
#define GEN_PASS_DEF_MEGACHECKSTACK
#include "passes/mega/Passes.h.inc"

namespace {

struct MegaCheckStack : impl::MegaCheckStackBase<MegaCheckStack> {
  using Base::Base;

  void runOnOperation() override {
    bool good = true;
    auto refuse = [&](Location where, const Twine &what) {
      emitError(where) << what << " is not supported yet";
      good = false;
    };
    for (auto stack : getOperation().getOps<StackOp>())
      if (!stack.getStageCuts().empty()) // mega.stack.c1
        refuse(opLocation(stack),
               "model '@" + stack.getSymbol() + "': a pattern of " + Twine(stack.getStageCuts().size() + 1) + " pipeline stages");
    for (auto train : getOperation().getOps<TrainOp>())
      for (NamedAttribute setting : train.getSettings().getKeys())
        if (auto kind = dyn_cast<KindAttr>(setting.getValue())) {
          if (setting.getName() == "precision" && target != "cpu" && kind.getWord() != "bf16") { // mega.stack.c4
            emitError(keyLocation(train, "precision")) << "target " << target << " computes in bf16, precision = " << kind.getWord()
                                                       << "; fix: write precision = bf16 or pass --precision=bf16";
            good = false;
          }
        }
    for (auto stack : getOperation().getOps<StackOp>())
      for (auto train : getOperation().getOps<TrainOp>())
        good &= checkMesh(stack, train, remarks);
    markAllAnalysesPreserved();
    if (!good)
      signalPassFailure();
  }
};

} // namespace
} // namespace megacc::mega

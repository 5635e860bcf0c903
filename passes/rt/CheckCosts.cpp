// Whether every launch was measured.
#include "dialects/Interfaces/Functions.h"
#include "lib/Cost/Cost.h"
#include "passes/rt/Passes.h"

#include "llvm/ADT/StringExtras.h"

#include <set>

using namespace mlir;

namespace megacc::rt {
#define GEN_PASS_DEF_RTCHECKCOSTS
#include "passes/rt/Passes.h.inc"

namespace {

struct RtCheckCosts : impl::RtCheckCostsBase<RtCheckCosts> {
  using RtCheckCostsBase::RtCheckCostsBase;

  void runOnOperation() override {
    markAllAnalysesPreserved();
    auto target = getOperation()->getAttrOfType<StringAttr>("megacc.target");
    llvm::Expected<Costs> measured = Costs::read(costs, target ? target.getValue() : "cpu");
    if (!measured) {
      emitError(UnknownLoc::get(&getContext())) << llvm::toString(measured.takeError());
      return signalPassFailure();
    }
    std::set<std::string> missing;
    int64_t launches = 0;
    for (auto func : getOperation().getOps<FuncOp>())
      if (func.getSymName() != "evaluate" && !isIntervention(func.getSymName()))
        for (auto call : func.getBody().getOps<CallOp>())
          if (!measured->isMeasured(call.getKernel(), call.getInts())) {
            missing.insert(call.getKernel().str());
            ++launches;
          }
    if (missing.empty())
      return;
    emitError(UnknownLoc::get(&getContext()))
        << costs << ": has no time of " << launches << " launches of this step (" << llvm::join(missing, ", ")
        << "); fix: megacc-run --calibrate with this step, or --allow-missing-costs, which takes FLOPs and "
           "bytes for them";
    signalPassFailure();
  }
};

} // namespace
} // namespace megacc::rt

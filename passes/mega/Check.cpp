#include "dialects/Mega/Model.h"
#include "passes/mega/Passes.h"

namespace megacc::mega {
#define GEN_PASS_DEF_MEGACHECK
#include "passes/mega/Passes.h.inc"

namespace {
struct MegaCheck : impl::MegaCheckBase<MegaCheck> {
  void runOnOperation() override {
    if (failed(readModels(getOperation())))
      signalPassFailure();
    markAllAnalysesPreserved();
  }
};
} // namespace
} // namespace megacc::mega

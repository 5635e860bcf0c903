// Sharding rules as remarks.
#include "passes/train/Passes.h"

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPPRINTSHARDINGRULES
#include "passes/train/Passes.h.inc"

namespace {
struct StepPrintShardingRules : impl::StepPrintShardingRulesBase<StepPrintShardingRules> {
  void runOnOperation() override {
    getOperation().walk([](ShardingRuleOpInterface op) { op->emitRemark() << op.getShardingRule().str(); });
    markAllAnalysesPreserved();
  }
};
} // namespace
} // namespace megacc::step

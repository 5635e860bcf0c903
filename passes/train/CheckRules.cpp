//===- CheckRules.cpp - whether sharding rules describe their ops ---------===//
#include "dialects/Interfaces/CheckShardingRule.h"
#include "passes/train/Passes.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPCHECKRULES
#include "passes/train/Passes.h.inc"

namespace {
struct StepCheckRules : impl::StepCheckRulesBase<StepCheckRules> {
  void runOnOperation() override {
    getOperation().walk([&](ShardingRuleOpInterface op) {
      ShardingRule rule = op.getShardingRule();
      llvm::SmallVector<std::string> problems = checkShardingRule(rule, op);
      if (problems.empty())
        return;
      InFlightDiagnostic diagnostic = op->emitOpError("has a sharding rule that does not describe it: ") << llvm::join(problems, "; ");
      diagnostic.attachNote() << "the rule is " << rule.str();
      signalPassFailure();
    });
    markAllAnalysesPreserved();
  }
};
} // namespace
} // namespace megacc::step

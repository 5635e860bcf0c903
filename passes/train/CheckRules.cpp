// Whether sharding rules describe their ops.
#include "dialects/Interfaces/CheckShardingRule.h"
#include "passes/train/Passes.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <set>
#include <vector>

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPCHECKRULES
#include "passes/train/Passes.h.inc"

namespace {
struct StepCheckRules : impl::StepCheckRulesBase<StepCheckRules> {
  void runOnOperation() override {
    std::set<std::vector<const void *>> checked; // name, properties and types: blocks of one family repeat their ops
    getOperation().walk([&](ShardingRuleOpInterface op) {
      std::vector<const void *> key = {op->getName().getAsOpaquePointer(), op->getPropertiesAsAttribute().getAsOpaquePointer()};
      for (Type type : llvm::concat<const Type>(SmallVector<Type>(op->getOperandTypes()), SmallVector<Type>(op->getResultTypes())))
        key.push_back(type.getAsOpaquePointer());
      if (!checked.insert(std::move(key)).second)
        return;
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

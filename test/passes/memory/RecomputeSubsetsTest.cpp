// What --memory chooses against every subset of what can be computed again, each rewritten, fused, bound and packed by the passes.
#include "dialects/Interfaces/Decision.h"
#include "dialects/Mega/Mega.h"
#include "dialects/Rt/Rt.h"
#include "dialects/Step/Step.h"
#include "lib/Cost/Cost.h"
#include "lib/Kernels/Kernels.h"
#include "passes/Pipelines.h"
#include "passes/memory/Passes.h"
#include "passes/rt/Passes.h"

#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/STLExtras.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <optional>

using namespace mlir;
using namespace megacc;

namespace {

/// What a step takes: bytes of all segments, and milliseconds of computing again.
struct Figures {
  int64_t bytes = 0;
  double milliseconds = 0;
};

class RecomputeSubsets : public testing::TestWithParam<const char *> {
protected:
  RecomputeSubsets() : costs(llvm::cantFail(Costs::read("", "cpu"))) {
    DialectRegistry registry;
    registry.insert<mega::MegaDialect>();
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  /// The step of a declaration, before anything is planned.
  OwningOpRef<ModuleOp> makeStep(StringRef text) {
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
    EXPECT_TRUE(module);
    PassManager passes(&context);
    buildModelPipeline(passes);
    buildTrainPipeline(passes, {});
    buildShardPipeline(passes);
    passes.addPass(step::createStepFuse());
    EXPECT_TRUE(succeeded(passes.run(*module)));
    return module;
  }

  /// The figures of a planned step, as the passes behind the planner lay it out; none where it is refused.
  std::optional<Figures> lay(ModuleOp module) {
    PassManager passes(&context);
    passes.addPass(step::createStepApplyMemory());
    passes.addPass(rt::createStepSelectKernels());
    passes.addPass(rt::createStepAssignBuffers());
    if (failed(passes.run(module)))
      return std::nullopt;
    Figures figures;
    figures.bytes = rt::sumSegments(module).total.get();
    module.walk([&](rt::CallOp call) {
      if (call->hasAttr(rt::kRecomputeAttr))
        figures.milliseconds +=
            costs.getMilliseconds(call.getKernel(), call.getInts(), {int64_t(call.getFlops()), int64_t(call.getMovedBytes()), 0});
    });
    return figures;
  }

  /// What the planner makes of a budget.
  std::optional<Figures> plan(ModuleOp module, int64_t bytes, int64_t &needed) {
    OwningOpRef<ModuleOp> copy = module.clone();
    auto config = (*copy)->getAttrOfType<DictionaryAttr>("megacc.config");
    NamedAttrList changed(config);
    changed.set("memory", Builder(&context).getI64IntegerAttr(bytes));
    (*copy)->setAttr("megacc.config", changed.getDictionary(&context));
    PassManager passes(&context);
    passes.addPass(step::createStepPlanMemory());
    ScopedDiagnosticHandler quiet(&context, [](Diagnostic &) { return success(); });
    if (failed(passes.run(*copy))) {
      needed = cast<IntegerAttr>((*copy)->getAttr(kNeededAttr)).getInt();
      return std::nullopt;
    }
    return lay(*copy);
  }

  MLIRContext context;
  Costs costs;
};

TEST_P(RecomputeSubsets, NoneIsBetterThanThePlan) {
  OwningOpRef<ModuleOp> module = makeStep(GetParam());
  ASSERT_TRUE(module);
  {
    PassManager caches(&context); // those that are kept without a budget
    caches.addPass(step::createStepPlanMemory());
    ASSERT_TRUE(succeeded(caches.run(*module)));
  }
  auto getFree = [](ModuleOp of) {
    SmallVector<Operation *> free;
    of.lookupSymbol<step::FuncOp>("micro_batch").walk([&](Operation *op) {
      if (step::isForward(op) && step::isRecomputable(op) && !step::isReadByOthers(op))
        free.push_back(op);
    });
    return free;
  };
  size_t count = getFree(*module).size();
  ASSERT_GT(count, 2u);
  ASSERT_LE(count, 14u);
  std::map<int64_t, double> best; // by bytes
  for (uint32_t subset = 0; subset < 1u << count; ++subset) {
    OwningOpRef<ModuleOp> copy = module->clone();
    SmallVector<Operation *> chosen;
    for (auto [index, op] : llvm::enumerate(getFree(*copy)))
      if (subset >> index & 1)
        chosen.push_back(op);
    step::markRecomputed(*copy, chosen);
    std::optional<Figures> figures = lay(*copy);
    ASSERT_TRUE(figures) << "subset " << subset;
    auto [known, isNew] = best.try_emplace(figures->bytes, figures->milliseconds);
    known->second = std::min(known->second, figures->milliseconds);
  }
  // The answer changes where more bytes are needed to be faster.
  std::vector<Figures> corners;
  for (auto [bytes, milliseconds] : best)
    if (corners.empty() || milliseconds < corners.back().milliseconds * (1 - 1e-9))
      corners.push_back({bytes, milliseconds});
  EXPECT_EQ(corners.back().milliseconds, 0);
  EXPECT_GT(corners.size(), 1u);
  int64_t needed = 0;
  EXPECT_FALSE(plan(*module, corners.front().bytes - 1, needed));
  EXPECT_EQ(needed, corners.front().bytes);
  for (auto [index, corner] : llvm::enumerate(corners)) {
    auto check = [&](int64_t budget, const Figures &expected) {
      std::optional<Figures> planned = plan(*module, budget, needed);
      ASSERT_TRUE(planned) << "budget " << budget << ", needs " << needed << ", " << expected.bytes << " are enough";
      EXPECT_LE(planned->bytes, budget);
      EXPECT_GE(planned->milliseconds, expected.milliseconds * (1 - 1e-9)) << "budget " << budget;
      EXPECT_LE(planned->milliseconds, expected.milliseconds * (1 + 1e-9)) << "budget " << budget;
    };
    check(corner.bytes, corner);
    if (index)
      check(corner.bytes - 1, corners[index - 1]);
  }
  printf("%zu that can be computed again, %u plans, %zu budgets where the answer changes\n", count, 1u << count, corners.size());
}

#define TRAIN                                                                                                                              \
  "mega.train @step of @m { micro_batch = 2, precision = fp32, optimizer = adamw<lr = 1.0e-3, beta1 = 0.9, beta2 = 0.95, decay = 0.1> }"

INSTANTIATE_TEST_SUITE_P(Tiny, RecomputeSubsets,
                         testing::Values(R"(
mega.model @m hidden 64 vocab 256 sequence 32 {
  mega.pattern "F" depth 2
  mega.family "F" = mlp<width = 192, activation = swiglu>
}
)" TRAIN,
                                         R"(
mega.model @m hidden 64 vocab 256 sequence 64 {
  mega.pattern "AF" depth 2
  mega.family "A" = attention<heads = 4, kv_heads = 2, head_dim = 16>
  mega.family "F" = mlp<width = 96, activation = gelu>
}
)" TRAIN,
                                         R"(
mega.model @m hidden 64 vocab 256 sequence 64 {
  mega.pattern "M" depth 1
  mega.family "M" = mamba3<expand = 2, head_dim = 16, state = 16, groups = 2, rank = 2, chunk = 16>
}
)" TRAIN,
                                         R"(
mega.model @m hidden 64 vocab 256 sequence 64 {
  mega.pattern "E" depth 1
  mega.family "E" = moe<experts = 4, top_k = 2, width = 64>
}
)" TRAIN,
                                         R"(
mega.model @m hidden 64 vocab 256 sequence 64 {
  mega.pattern "R" depth 1
  mega.family "R" = m2rnn<key = 16, value = 16, conv = 4>
}
)" TRAIN));

} // namespace

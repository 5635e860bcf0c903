// The order of the passes, in one place.
#include "passes/Pipelines.h"

#include "passes/mega/Passes.h"
#include "passes/memory/Passes.h"
#include "passes/rt/Passes.h"
#include "passes/shard/Passes.h"
#include "passes/train/Passes.h"

using namespace mlir;

namespace megacc {

void buildCheckPipeline(OpPassManager &passes) { passes.addPass(mega::createMegaCheck()); }

void buildModelPipeline(OpPassManager &passes) {
  buildCheckPipeline(passes); // everything a person can get wrong, before anything changes
  passes.addPass(mega::createMegaExpandPattern());
  passes.addPass(mega::createMegaPlaceFeatures());
}

void buildTrainPipeline(OpPassManager &passes, const StepOptions &options) {
  mega::MegaCheckStackOptions checks;
  checks.target = options.target, checks.remarks = options.remarks;
  passes.addPass(mega::createMegaCheckStack(checks)); // not part of the model: a stack that cannot be trained yet can still be looked at
  step::MegaToStepOptions lowering;
  lowering.target = options.target;
  lowering.model = options.model;
  lowering.taps = options.taps;
  lowering.log_blocks = options.log_blocks;
  passes.addPass(step::createMegaToStep(lowering));
  passes.addPass(step::createStepDifferentiate());
  passes.addPass(step::createStepAddOptimizer());
  passes.addPass(step::createStepCheckGlobal());
  passes.addPass(step::createStepCheckRules());
}

void buildShardPipeline(OpPassManager &passes) {
  passes.addPass(step::createStepPropagateSharding());
  passes.addPass(step::createStepInsertReshards());
  passes.addPass(step::createStepPartition());
  passes.addPass(step::createStepCheckLocal());
}

void buildMemoryPipeline(OpPassManager &passes, const StepOptions &options) {
  buildShardPipeline(passes);
  passes.addPass(step::createStepFuse()); // before caches: a group is planned as one op
  step::StepPlanMemoryOptions memory;
  memory.recompute = options.recompute, memory.costs = options.costs, memory.pareto = options.pareto;
  memory.explain = options.explain, memory.remarks = options.remarks;
  passes.addPass(step::createStepPlanMemory(memory));
  passes.addPass(step::createStepApplyMemory());
}

void buildLaunchPipeline(OpPassManager &passes, const StepOptions &options) {
  buildMemoryPipeline(passes, options);
  passes.addPass(rt::createStepSelectKernels());
  passes.addPass(rt::createStepAssignBuffers());
  passes.addPass(rt::createRtCheckSchedule());
  passes.addPass(rt::createRtCheckMemory());
  if (!options.costs.empty() && !options.allow_missing_costs)
    passes.addPass(rt::createRtCheckCosts({options.costs}));
  passes.addPass(rt::createRtBuildReceipt());
}

void buildCodePipeline(OpPassManager &passes) { passes.addPass(rt::createRtToLLVM()); }

void registerPassesAndPipelines() {
  mega::registerMegaPasses();
  step::registerTrainPasses();
  step::registerShardPasses();
  step::registerMemoryPasses();
  rt::registerRtPasses();
  static PassPipelineRegistration<> model("model-pipeline", "declaration -> stacks with their features", buildModelPipeline);
  static PassPipelineRegistration<> train("train-pipeline", "stacks -> checked training step",
                                          [](OpPassManager &passes) { buildTrainPipeline(passes, {}); });
  static PassPipelineRegistration<> shard("shard-pipeline", "checked training step -> a rank's part of it", buildShardPipeline);
  static PassPipelineRegistration<> memory("memory-pipeline", "checked training step -> fused, with its caches",
                                           [](OpPassManager &passes) { buildMemoryPipeline(passes, {}); });
  static PassPipelineRegistration<> launch("launch-pipeline", "checked training step -> checked launches with a receipt",
                                           [](OpPassManager &passes) { buildLaunchPipeline(passes, {}); });
  static PassPipelineRegistration<> code("code-pipeline", "launches -> the LLVM dialect", buildCodePipeline);
}

} // namespace megacc

//===- Pipelines.cpp - the order of the passes, in one place --------------===//
#include "passes/Pipelines.h"

#include "passes/mega/Passes.h"
#include "passes/rt/Passes.h"
#include "passes/train/Passes.h"

using namespace mlir;

namespace megacc {

void buildModelPipeline(OpPassManager &passes) { passes.addPass(mega::createMegaCheck()); }

void buildTrainPipeline(OpPassManager &passes, const StepOptions &options) {
  step::MegaToStepOptions lowering;
  lowering.model = options.model;
  lowering.taps = options.taps;
  lowering.documents = options.documents;
  passes.addPass(step::createMegaToStep(lowering));
  passes.addPass(step::createStepDifferentiate());
  passes.addPass(step::createStepAddOptimizer());
  passes.addPass(step::createStepCheckGlobal());
}

void buildLaunchPipeline(OpPassManager &passes) {
  passes.addPass(rt::createStepAssignBuffers());
  passes.addPass(rt::createRtCheckSchedule());
  passes.addPass(rt::createRtBuildReceipt());
}

void buildCodePipeline(OpPassManager &passes, const StepOptions &options) {
  rt::RtToLLVMOptions lowering;
  lowering.target = options.target;
  passes.addPass(rt::createRtToLLVM(lowering));
}

} // namespace megacc

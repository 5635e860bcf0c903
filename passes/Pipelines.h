// The order of the passes, in one place.
#ifndef MEGACC_PASSES_PIPELINES_H
#define MEGACC_PASSES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include <string>

namespace megacc {

struct StepOptions {
  /// The model to compile where the file declares several.
  std::string model;
  /// Also output the residual stream after every block.
  bool taps = false;
  bool log_blocks = false;
  /// The kernel library: "cpu" or "sm_90a".
  std::string target = "cpu";
  /// What the backward computes again: auto, none, full, or names of ops (step-plan-memory). Empty: as declared.
  std::string recompute;
  /// Measured costs that the choice goes by, a file of megacc-run --calibrate. Empty: FLOPs and bytes alone.
  std::string costs;
  /// Goes on where these lack a launch.
  bool allow_missing_costs = false;
  /// Also asks what other budgets would take.
  bool pareto = false;
  /// Also leaves what bounds the plan.
  bool explain = false;
  /// Says every decision as a remark.
  bool remarks = false;
};

/// Declaration -> checked declaration.
void buildCheckPipeline(mlir::OpPassManager &passes);
/// Declaration -> stacks with their features.
void buildModelPipeline(mlir::OpPassManager &passes);
/// Stacks -> checked training step.
void buildTrainPipeline(mlir::OpPassManager &passes, const StepOptions &options);
/// Checked training step -> a rank's part of it; nothing where the mesh has one rank.
void buildShardPipeline(mlir::OpPassManager &passes);
/// Checked training step -> cut for the mesh, fused, with its caches and what the backward computes again.
void buildMemoryPipeline(mlir::OpPassManager &passes, const StepOptions &options);
/// Checked training step -> checked launches with a receipt; the memory pipeline is its first part.
void buildLaunchPipeline(mlir::OpPassManager &passes, const StepOptions &options);
/// Launches -> the LLVM dialect.
void buildCodePipeline(mlir::OpPassManager &passes);

/// Makes all passes, and the pipelines as --model-pipeline, --train-pipeline, --shard-pipeline, --memory-pipeline, --launch-pipeline and
/// --code-pipeline, known to megacc-opt.
void registerPassesAndPipelines();

} // namespace megacc

#endif

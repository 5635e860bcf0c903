//===- Pipelines.h - the order of the passes, in one place ----------------===//
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
  /// The step takes document ids, whatever the declaration says.
  bool documents = false;
  /// The kernel library: "cpu".
  std::string target = "cpu";
};

/// Declaration -> checked declaration.
void buildModelPipeline(mlir::OpPassManager &passes);
/// Checked declaration -> checked training step.
void buildTrainPipeline(mlir::OpPassManager &passes, const StepOptions &options);
/// Checked training step -> checked launches with a receipt.
void buildLaunchPipeline(mlir::OpPassManager &passes);
/// Launches -> the LLVM dialect.
void buildCodePipeline(mlir::OpPassManager &passes, const StepOptions &options);

} // namespace megacc

#endif

// What an op of the training step can be asked.
#ifndef MEGACC_STEPINTERFACES_TD
#define MEGACC_STEPINTERFACES_TD

include "mlir/IR/OpBase.td"

def GradientOpInterface : OpInterface<"GradientOpInterface"> {
  let description = [{An op with a derivative.}];
  let cppNamespace = "::megacc::step";
  let methods = [
    InterfaceMethod<"Values the backward reads; asking builds nothing.",
                    "::llvm::SmallVector<::mlir::Value>", "getSavedValues", (ins)>,
    InterfaceMethod<[{Appends the backward; one entry per operand, null where no gradient flows. An entry of `resultGradients` is null where
                      none arrives; an op that makes its own gradients (a loss) ignores them. `saved` has the order of getSavedValues.}],
                    "::mlir::FailureOr<::llvm::SmallVector<::mlir::Value>>", "buildGradient",
                    (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$resultGradients, "::mlir::ValueRange":$saved)>
  ];
}

def ShardingRuleOpInterface : OpInterface<"ShardingRuleOpInterface"> {
  let description = [{An op that says how its dimensions belong together.}];
  let cppNamespace = "::megacc::step";
  let methods = [
    InterfaceMethod<"Factors of the op and how each operand and result dimension is built from them.",
                    "::megacc::ShardingRule", "getShardingRule", (ins)>,
    InterfaceMethod<[{Factors that are split over a mesh axis (enum MgAxisName) whatever the operands are; none: as they suggest. For what
                      moves between the ranks of one axis.}],
                    "::llvm::SmallVector<unsigned>", "getFactorsOver", (ins "int64_t":$axis), "", [{ return {}; }]>
  ];
}

def CostOpInterface : OpInterface<"CostOpInterface"> {
  let description = [{An op with a known cost; the default moves every operand and result once and counts no FLOPs.}];
  let cppNamespace = "::megacc::step";
  let methods = [
    InterfaceMethod<"FLOPs, bytes read and written, workspace of one execution.",
                    "::megacc::OpCost", "getCost", (ins), "", [{ return ::megacc::getMemoryCost($_op.getOperation()); }]>
  ];
}

def KernelOpInterface : OpInterface<"KernelOpInterface"> {
  let description = [{An op that is one launch. It asks; a record of lib/Kernels answers.}];
  let cppNamespace = "::megacc::step";
  let methods = [
    InterfaceMethod<"The family, parameters and operands, by name.", "::megacc::KernelQuery", "getKernelQuery", (ins)>
  ];
}

def CacheOpInterface : OpInterface<"CacheOpInterface"> {
  let description = [{A gradient op that reads caches of its forward op, or computes them again.}];
  let cppNamespace = "::megacc::step";
  let methods = [
    InterfaceMethod<"The caches it reads, its last operands.", "::mlir::MutableOperandRange", "getCachesMutable", (ins)>,
    InterfaceMethod<"Their names.", "void", "setCachedAttr", (ins "::mlir::ArrayAttr":$names)>
  ];
}

def FlagOpInterface : OpInterface<"FlagOpInterface"> {
  let description = [{An op that may raise flags in metrics, an optional effect: a clone of it drops them.}];
  let cppNamespace = "::megacc::step";
  let methods = [InterfaceMethod<"Removes the flags.", "void", "dropFlags", (ins)>];
}

def MeasureOpInterface : OpInterface<"MeasureOpInterface"> {
  let description = [{An op of the forward with a number that people look at (megacc --log-blocks), one for each block.}];
  let cppNamespace = "::megacc::step";
  let methods = [
    InterfaceMethod<"What the number is, the metric without the block.", "::llvm::StringRef", "getMeasureName", (ins)>,
    InterfaceMethod<"Appends the ops that compute it from what the op reads; f32 [1], without a gradient.",
                    "::mlir::Value", "buildMeasure", (ins "::mlir::OpBuilder &":$builder)>
  ];
}

def UpdateOpInterface : OpInterface<"UpdateOpInterface"> {
  let description = [{An op of the micro-batch with something to do once a step, after the optimizer.}];
  let cppNamespace = "::megacc::step";
  let methods = [
    InterfaceMethod<"Appends it to @update; where `norm`, the gradient norm, is not finite, it must write nothing.",
                    "void", "buildUpdate", (ins "::mlir::OpBuilder &":$builder, "::mlir::Value":$norm)>
  ];
}

#endif

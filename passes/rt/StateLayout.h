// Where everything lies that is not a temporary.
#ifndef MEGACC_PASSES_RT_STATELAYOUT_H
#define MEGACC_PASSES_RT_STATELAYOUT_H

#include "dialects/Rt/Rt.h"
#include "dialects/Step/Step.h"
#include "lib/Lifetimes/Lifetimes.h"

#include "llvm/ADT/StringMap.h"

namespace megacc::rt {

/// The layout of weights, optimizer, gradients, io and constants (DESIGN 9.10).
///
/// Weights, masters, gradients and moments share one element order: parameters by group (AdamW's before Muon's, f32 before bf16, decaying
/// before plain, untrained last), so that second moments are a prefix; each starting at a multiple of 128 elements, so that a group is one
/// sweep of the optimizer, and inside a group by the sums that gradients owe (Sweep); the padding is zero and stays zero. io has the
/// inputs, then the metrics, then the outputs.
class StateLayout {
public:
  explicit StateLayout(mlir::ModuleOp module) : module(module), builder(mlir::OpBuilder::atBlockEnd(module.getBody())) {}

  /// Places everything that the module's parameters and the launches of its functions name, and describes it with rt ops. Fails with an
  /// error on the op that contradicts another.
  mlir::LogicalResult run(llvm::ArrayRef<std::pair<step::FuncOp, const Lifetimes *>> funcs);

  /// The bytes an operand names; null and an error on `op` for a name that does not exist.
  RangeAttr find(mlir::Operation *op, const LaunchOperand &operand);
  RangeAttr getInput(llvm::StringRef name) const { return inputs.lookup(name); }
  /// The constants that hold `values`; equal ones are one.
  RangeAttr addTable(mlir::Location loc, llvm::ArrayRef<int64_t> values);
  RangeAttr getRange(int64_t segment, int64_t offset, int64_t bytes, int64_t type, int64_t stride = 0, int64_t value = -1) const {
    return RangeAttr::get(builder.getContext(), segment, offset, bytes, stride, value, type);
  }

  /// Bytes of every segment; the temporaries are not this class's.
  int64_t sizes[MG_SEGMENT_COUNT] = {};

private:
  /// Elements of a parameter, a sweep or a group: where they begin among all, among the masters, which trained bf16 ones have, in the
  /// weights, and among the moments; of masters and moments this rank has `own`.
  struct Span {
    int64_t first = 0, count = 0, firstMaster = 0, weightOffset = 0;
    mlir::Type element;
    int64_t firstMoment = 0, own = 0;
  };

  void addParameters();
  mlir::LogicalResult addInput(step::InputOp input, step::FuncOp func);
  mlir::LogicalResult addMetric(mlir::Operation *op, const LaunchOperand &operand);
  mlir::LogicalResult addOutput(mlir::Operation *op, step::FuncOp func, const LaunchOperand &operand);
  /// A place in io, one per micro-batch for @micro_batch.
  mlir::FailureOr<RangeAttr> addPlace(mlir::Operation *op, mlir::RankedTensorType type, step::FuncOp func);
  RangeAttr getPart(RangeAttr range, const LaunchOperand &operand) const;
  RangeAttr getStateRange(const Span &span, LaunchOperand::Kind kind) const;

  mlir::ModuleOp module;
  mlir::OpBuilder builder;
  llvm::StringMap<Span> spans;                                      // parameters by name, groups by "*name", sweeps by theirs
  llvm::DenseMap<mlir::Operation *, mlir::DenseI64ArrayAttr> swept; // rt.parameter of parameters whose update ranks share
  llvm::StringMap<RangeAttr> inputs, metrics, outputs;
  llvm::DenseMap<mlir::Attribute, RangeAttr> tables;
  int64_t trained = 0, ownTrained = 0, withSecond = 0, masters = 0; // elements
  bool hasNarrowMoments = false;                                    // bf16
};

} // namespace megacc::rt

#endif

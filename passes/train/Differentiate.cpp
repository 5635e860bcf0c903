//===- Differentiate.cpp - the backward of a micro-batch ------------------===//
#include "passes/train/Marks.h"
#include "passes/train/Passes.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPDIFFERENTIATE
#include "passes/train/Passes.h.inc"

namespace {

/// Walks one function in reverse.
class Differentiator {
public:
  Differentiator(ModuleOp module, FuncOp func) : body(func.getBody().front()), builder(func.getContext(), &marks) {
    marks.phase = "backward";
    builder.setInsertionPoint(body.getTerminator());
    for (auto parameter : module.getOps<ParameterOp>())
      if (parameter.getTrained())
        parameters[parameter.getSymNameAttr()].op = parameter;
  }

  LogicalResult run() {
    SmallVector<Operation *> forward;
    for (Operation &op : body.without_terminator())
      forward.push_back(&op);
    for (Operation *op : forward)
      if (auto read = dyn_cast<ReadOp>(op))
        if (auto found = parameters.find(read.getParameterAttr().getAttr()); found != parameters.end())
          ++found->second.reads;
    for (Operation *op : llvm::reverse(forward)) {
      marks.block = -1;
      if (auto block = op->getAttrOfType<IntegerAttr>(kBlockAttr))
        marks.block = block.getInt();
      if (failed(visit(op)))
        return failure();
    }
    for (auto &[name, parameter] : parameters)
      if (!parameter.done)
        accumulate(parameter);
    eraseUnused(forward.empty() ? nullptr : forward.back());
    return success();
  }

private:
  struct Parameter {
    ParameterOp op;
    int64_t reads = 0;
    Value gradient;
    bool done = false;
  };

  LogicalResult visit(Operation *op) {
    if (auto loss = dyn_cast<LossOp>(op)) {
      losses.insert_range(loss.getValues());
      return success();
    }
    if (auto read = dyn_cast<ReadOp>(op)) {
      auto found = parameters.find(read.getParameterAttr().getAttr());
      if (found == parameters.end())
        return success();
      Parameter &parameter = found->second;
      addTo(parameter.gradient, gradients.lookup(read.getValue()), op->getLoc());
      if (--parameter.reads == 0)
        accumulate(parameter);
      return success();
    }
    SmallVector<Value> arriving;
    bool reached = false;
    for (Value result : op->getResults()) {
      arriving.push_back(gradients.lookup(result));
      reached |= arriving.back() || losses.contains(result);
    }
    if (!reached || isa<InputOp>(op))
      return success();
    auto differentiable = dyn_cast<GradientOpInterface>(op);
    if (!differentiable)
      return op->emitOpError("has no gradient, but the loss depends on it");
    FailureOr<SmallVector<Value>> built = differentiable.buildGradient(builder, arriving, differentiable.getSavedValues());
    if (failed(built))
      return op->emitOpError("cannot be differentiated here: the loss reaches it through a result without a gradient");
    for (auto [operand, gradient] : llvm::zip_equal(op->getOperands(), *built))
      addTo(gradients[operand], gradient, op->getLoc());
    return success();
  }

  /// Sums as gradients arrive, so that at most one of them waits.
  void addTo(Value &sum, Value gradient, Location loc) {
    if (!gradient)
      return;
    sum = sum ? AddOp::create(builder, loc, sum.getType(), sum, gradient).getY() : gradient;
  }

  void accumulate(Parameter &parameter) {
    marks.block = parameter.op.getBlock();
    Location loc = parameter.op.getLoc();
    Value gradient = parameter.gradient;
    if (!gradient)
      gradient = ZeroOp::create(builder, loc, parameter.op.getType());
    AccumulateOp::create(builder, loc, FlatSymbolRefAttr::get(parameter.op.getSymNameAttr()), gradient);
    parameter.done = true;
  }

  /// Gradients that no parameter needs.
  void eraseUnused(Operation *lastOfForward) {
    SmallVector<Operation *> backward;
    for (Operation *op = body.getTerminator()->getPrevNode(); op && op != lastOfForward; op = op->getPrevNode())
      backward.push_back(op);
    for (Operation *op : backward)
      if (isOpTriviallyDead(op))
        op->erase();
  }

  Block &body;
  Marks marks;
  OpBuilder builder;
  llvm::MapVector<StringAttr, Parameter> parameters;
  llvm::DenseMap<Value, Value> gradients;
  llvm::DenseSet<Value> losses;
};

struct StepDifferentiate : impl::StepDifferentiateBase<StepDifferentiate> {
  void runOnOperation() override {
    auto func = getOperation().lookupSymbol<FuncOp>("micro_batch");
    if (!func) {
      getOperation().emitError("has no function \"micro_batch\"");
      return signalPassFailure();
    }
    if (!func.getBody().getOps<AccumulateOp>().empty()) {
      func.emitOpError("already has a backward");
      return signalPassFailure();
    }
    if (failed(Differentiator(getOperation(), func).run()))
      signalPassFailure();
  }
};

} // namespace
} // namespace megacc::step

// The backward of a micro-batch.
#include "passes/train/Marks.h"
#include "passes/train/Passes.h"

#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPDIFFERENTIATE
#include "passes/train/Passes.h.inc"

namespace {

/// Walks one function in reverse.
class Differentiator {
public:
  Differentiator(ModuleOp module, FuncOp func) : func(func), body(func.getBody().front()), builder(func.getContext(), &marks) {
    marks.phase = Phase::backward;
    builder.setInsertionPoint(body.getTerminator());
    for (auto parameter : module.getOps<ParameterOp>())
      if (parameter.getTrained())
        parameters[parameter.getSymNameAttr()].op = parameter;
  }

  LogicalResult run() {
    SmallVector<Operation *> forward;
    for (Operation &op : body.without_terminator())
      forward.push_back(&op);
    for (Operation *op : llvm::reverse(forward)) {
      marks.block = getBlock(op);
      if (failed(visit(op)))
        return failure();
    }
    for (auto &[name, parameter] : parameters)
      if (!parameter.reached)
        accumulate(parameter, ZeroOp::create(builder, parameter.op.getLoc(), getF32(parameter.op.getType())));
    for (auto detach : llvm::make_early_inc_range(body.getOps<DetachOp>())) {
      detach.getY().replaceAllUsesWith(detach.getX());
      detach.erase();
    }
    eraseUnused(forward.empty() ? nullptr : forward.back());
    markAccumulations(func);
    return success();
  }

private:
  struct Parameter {
    ParameterOp op;
    bool reached = false;
  };

  /// The type of a parameter's gradient.
  RankedTensorType getF32(Type type) { return RankedTensorType::get(cast<RankedTensorType>(type).getShape(), builder.getF32Type()); }

  LogicalResult visit(Operation *op) {
    if (auto loss = dyn_cast<LossOp>(op)) {
      losses.insert_range(loss.getValues());
      return success();
    }
    if (auto log = dyn_cast<LogNormOp>(op)) { // every use of the value has been visited
      if (Value gradient = gradients.lookup(log.getValue()))
        LogNormOp::create(builder, op->getLoc(), builder.getStringAttr("gradient_" + log.getName()), gradient);
      return success();
    }
    if (auto read = dyn_cast<ReadOp>(op)) {
      auto found = parameters.find(read.getParameterAttr().getAttr());
      if (found == parameters.end())
        return success();
      for (Value gradient : parameterGradients.lookup(read.getValue()))
        accumulate(found->second, gradient);
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
    Operation *before = body.getTerminator()->getPrevNode();
    FailureOr<SmallVector<Value>> built = differentiable.buildGradient(builder, arriving, differentiable.getSavedValues());
    if (failed(built))
      return op->emitOpError("cannot be differentiated here: the loss reaches it through a result without a gradient");
    pair(op, before);
    for (auto [operand, gradient] : llvm::zip_equal(op->getOperands(), *built)) {
      if (!gradient)
        continue;
      if (operand.getDefiningOp<ReadOp>())
        parameterGradients[operand].push_back(gradient);
      else
        addTo(gradients[operand], gradient, op->getLoc());
    }
    return success();
  }

  /// Numbers an op and those of its gradient ops, built after `before`, that can read its caches.
  void pair(Operation *op, Operation *before) {
    for (Operation *built = before->getNextNode(); built != body.getTerminator(); built = built->getNextNode())
      if (isa<CacheOpInterface>(built)) {
        built->setAttr(kPairAttr, builder.getI64IntegerAttr(pairs));
        op->setAttr(kPairAttr, builder.getI64IntegerAttr(pairs));
      }
    ++pairs;
  }

  /// Sums as gradients arrive, so that at most one of them waits.
  void addTo(Value &sum, Value gradient, Location loc) {
    sum = sum ? AddOp::create(builder, loc, sum.getType(), sum, gradient).getY() : gradient;
  }

  void accumulate(Parameter &parameter, Value gradient) {
    marks.block = parameter.op.getBlock();
    AccumulateOp::create(builder, parameter.op.getLoc(), FlatSymbolRefAttr::get(parameter.op.getSymNameAttr()), gradient);
    parameter.reached = true;
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

  FuncOp func;
  Block &body;
  Marks marks;
  int64_t pairs = 0;
  OpBuilder builder;
  llvm::MapVector<StringAttr, Parameter> parameters;
  llvm::DenseMap<Value, Value> gradients;
  llvm::DenseMap<Value, SmallVector<Value>> parameterGradients;
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

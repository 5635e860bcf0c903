// Averages over the last tokens and their gate.
#include "dialects/Step/Step.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

// window_sum.

LogicalResult WindowSumOp::verify() {
  int64_t rows = getBatch() * getSequence();
  if (getDim(getX(), 0) != rows || (getDocuments() && getCount(getDocuments()) != rows))
    return emitOpError("has x ") << getX().getType() << " for " << rows << " rows";
  if (getWindow() < 1)
    return emitOpError("has a window of ") << int64_t(getWindow()) << " rows, expected at least 1";
  return expectLike(*this, "y", getY(), getX());
}

SmallVector<Value> WindowSumOp::getSavedValues() { return getDocuments() ? SmallVector<Value>{getDocuments()} : SmallVector<Value>(); }

Gradients WindowSumOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  Value d_x =
      WindowSumOp::create(builder, getLoc(), getX().getType(), resultGradients[0], saved.empty() ? Value() : saved[0], getBatchAttr(),
                          getSequenceAttr(), getWindowAttr(), getScaleAttr(), getAhead() ? UnitAttr() : builder.getUnitAttr());
  SmallVector<Value> gradients = {d_x};
  gradients.resize(getNumOperands());
  return gradients;
}

ShardingRule WindowSumOp::getShardingRule() {
  std::string documents = getDocuments() ? ", [b, s]" : "";
  return ShardingRule::get("([b s, d]" + documents +
                               ") -> ([b s, d]) replicate{s: a token reads others of its row} attributes{batch = b, sequence = s}",
                           {{"b", getBatch()}, {"s", getSequence()}, {"d", getDim(getX(), 1)}});
}

KernelQuery WindowSumOp::getKernelQuery() {
  KernelQuery query("window_sum");
  query.add("y", getY()).add("x", getX()).add("documents", getDocuments()).set("batch", getBatch()).set("sequence", getSequence());
  query.set("cols", getDim(getX(), 1)).set("window", getWindow()).set("ahead", getAhead());
  return query.setReal("scale", getScale().convertToDouble());
}

// unit_norm.

LogicalResult UnitNormOp::verify() { return expectLike(*this, "y", getY(), getX()); }
LogicalResult UnitNormGradOp::verify() {
  return failed(expectLike(*this, "d_y", getDY(), getX())) ? failure() : expectLike(*this, "d_x", getDX(), getX());
}

SmallVector<Value> UnitNormOp::getSavedValues() { return {getX()}; }

Gradients UnitNormOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  return SmallVector<Value>{
      UnitNormGradOp::create(builder, getLoc(), getX().getType(), resultGradients[0], saved[0], getEpsAttr()).getDX()};
}

/// The rule of what is made of whole rows.
static ShardingRule getRowRule(StringRef text, Value x) {
  return ShardingRule::get((text + " replicate{d: the mean is over the whole row}").str(), {{"t", getDim(x, 0)}, {"d", getDim(x, 1)}});
}

ShardingRule UnitNormOp::getShardingRule() { return getRowRule("([t, d]) -> ([t, d])", getX()); }
ShardingRule UnitNormGradOp::getShardingRule() { return getRowRule("([t, d], [t, d]) -> ([t, d])", getX()); }

KernelQuery UnitNormOp::getKernelQuery() {
  KernelQuery query("unit_norm");
  query.add("y", getY()).add("x", getX());
  return query.set("rows", getDim(getX(), 0)).set("cols", getDim(getX(), 1)).setReal("eps", getEps().convertToDouble());
}

KernelQuery UnitNormGradOp::getKernelQuery() {
  KernelQuery query("unit_norm_grad");
  query.add("d_x", getDX()).add("d_y", getDY()).add("x", getX());
  return query.set("rows", getDim(getX(), 0)).set("cols", getDim(getX(), 1)).setReal("eps", getEps().convertToDouble());
}

// alignment.

static LogicalResult verifyAlignment(Operation *op, Value a, Value b, Value gate) {
  return failed(expectLike(op, "b", b, a)) ? failure() : expectShape(op, "gate", gate, {getDim(a, 0), 1});
}

LogicalResult AlignmentOp::verify() { return verifyAlignment(*this, getA(), getB(), getGate()); }

LogicalResult AlignmentGradOp::verify() {
  if (failed(verifyAlignment(*this, getA(), getB(), getDGate())) || failed(expectLike(*this, "d_a", getDA(), getA())))
    return failure();
  return expectLike(*this, "d_b", getDB(), getB());
}

SmallVector<Value> AlignmentOp::getSavedValues() { return {getA(), getB()}; }

Gradients AlignmentOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto grad = AlignmentGradOp::create(builder, getLoc(), getA().getType(), getB().getType(), resultGradients[0], saved[0], saved[1],
                                      getEpsAttr(), getRootAttr());
  return SmallVector<Value>{grad.getDA(), grad.getDB()};
}

ShardingRule AlignmentOp::getShardingRule() { return getRowRule("([t, d], [t, d]) -> ([t, one])", getA()); }
ShardingRule AlignmentGradOp::getShardingRule() { return getRowRule("([t, one], [t, d], [t, d]) -> ([t, d], [t, d])", getA()); }

template <typename Op> static KernelQuery &setAlignment(KernelQuery &query, Op op) {
  query.add("a", op.getA()).add("b", op.getB()).set("rows", getDim(op.getA(), 0)).set("cols", getDim(op.getA(), 1));
  return query.set("root", op.getRoot()).setReal("eps", op.getEps().convertToDouble());
}

KernelQuery AlignmentOp::getKernelQuery() {
  KernelQuery query("alignment");
  return setAlignment(query.add("gate", getGate()), *this);
}

KernelQuery AlignmentGradOp::getKernelQuery() {
  KernelQuery query("alignment_grad");
  return setAlignment(query.add("d_a", getDA()).add("d_b", getDB()).add("d_gate", getDGate()), *this);
}

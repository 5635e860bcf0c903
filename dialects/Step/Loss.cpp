//===- Loss.cpp - the head and its losses ---------------------------------===//
#include "dialects/Step/Step.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

LogicalResult LinearCrossEntropyOp::verify() {
  if (getDX().getType() != getX().getType() || getDWeight().getType() != getWeight().getType() ||
      getDim(getX(), 1) != getDim(getWeight(), 1) || getCount(getTargets()) != getDim(getX(), 0) || getCount(getLoss()) != 1)
    return emitOpError("has x ") << getX().getType() << ", weight " << getWeight().getType() << ", targets " << getTargets().getType()
                                 << " and gradients " << getDX().getType() << ", " << getDWeight().getType();
  if (getChunk() < 1)
    return emitOpError("needs a 'chunk' of at least one row");
  return success();
}

SmallVector<Value> LinearCrossEntropyOp::getSavedValues() { return {getDX(), getDWeight()}; }

FailureOr<SmallVector<Value>> LinearCrossEntropyOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  for (Value gradient : resultGradients)
    if (gradient) // its own gradients are those of a loss term, not of a value that is used further
      return failure();
  return SmallVector<Value>{saved[0], saved[1], Value()};
}

/// Logits of `chunk` rows at a time, and one row more.
static KernelQuery getHeadQuery(StringRef kernel, ArrayRef<int64_t> ints, int64_t chunk, Value weight) {
  KernelQuery query;
  query.kernel = kernel.str();
  query.ints.assign(ints.begin(), ints.end());
  query.workspaceBytes = 4 * (chunk + 1) * getDim(weight, 0);
  return query;
}

KernelQuery LinearCrossEntropyOp::getKernelQuery() {
  int64_t chunk = getChunk();
  KernelQuery query = getHeadQuery("mg_linear_cross_entropy",
                                   {getDim(getX(), 0), getDim(getX(), 1), getDim(getWeight(), 0), chunk, 0}, chunk, getWeight());
  query.doubles = {getScale().convertToDouble()};
  query.accumulateIndex = 4;
  query.gradientResult = 2;
  return query;
}

KernelQuery LinearCrossEntropyEvaluateOp::getKernelQuery() {
  int64_t chunk = getChunk();
  return getHeadQuery("mg_linear_cross_entropy_evaluate",
                      {int64_t(getBatch()), int64_t(getSequence()), getDim(getX(), 1), getDim(getWeight(), 0), chunk}, chunk, getWeight());
}

KernelQuery LogitsAtOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_logits_at";
  query.ints = {int64_t(getBatch()), int64_t(getSequence()), getDim(getX(), 1), getDim(getWeight(), 0)};
  return query;
}

static ShardingRule getHeadRule(StringRef text, Value x, Value weight, int64_t batch) {
  return ShardingRule::get(text, {{"b", batch}, {"s", getDim(x, 0) / batch}, {"d", getDim(x, 1)}, {"v", getDim(weight, 0)}});
}

ShardingRule LinearCrossEntropyOp::getShardingRule() {
  return getHeadRule("([b s, d], [v, d], [b, s]) -> ([], [b s, d], [v, d]) reduce{b s v} replicate{d}", getX(), getWeight(),
                     getDim(getTargets(), 0));
}

ShardingRule LinearCrossEntropyEvaluateOp::getShardingRule() {
  return getHeadRule("([b s, d], [v, d], [b, s]) -> ([b], [b]) reduce{s v} replicate{d}", getX(), getWeight(), getBatch());
}

ShardingRule LogitsAtOp::getShardingRule() {
  return getHeadRule("([b s, d], [v, d], [b]) -> ([b, v]) reduce{d} replicate{s}", getX(), getWeight(), getBatch());
}

static OpCost getHeadCost(Operation *op, int64_t rows, Value weight) {
  OpCost cost = getMemoryCost(op);
  cost.flops = 2 * rows * getCount(weight);
  return cost;
}

/// The logits, and the two products of their gradient.
OpCost LinearCrossEntropyOp::getCost() {
  OpCost cost = getHeadCost(*this, getDim(getX(), 0), getWeight());
  cost.flops *= 3;
  return cost;
}
OpCost LinearCrossEntropyEvaluateOp::getCost() { return getHeadCost(*this, getDim(getX(), 0), getWeight()); }
OpCost LogitsAtOp::getCost() { return getHeadCost(*this, getBatch(), getWeight()); }

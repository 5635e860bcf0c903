// The head and its losses.
#include "dialects/Step/Step.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

LogicalResult CountValidOp::verify() { return expectShape(*this, "valid", getValid(), {1}); }

KernelQuery CountValidOp::getKernelQuery() {
  KernelQuery query("count_valid");
  return query.add("valid", getValid()).add("targets", getTargets()).set("rows", megacc::step::getCount(getTargets()));
}

ShardingRule CountValidOp::getShardingRule() {
  return ShardingRule::get("([b, s]) -> ([one]) reduce{b s}", {{"b", getDim(getTargets(), 0)}, {"s", getDim(getTargets(), 1)}});
}

static LogicalResult verifyHead(Operation *op, Value x, Value weight, int64_t rows) {
  if (getDim(x, 1) == getDim(weight, 1) && getDim(x, 0) == rows)
    return success();
  return op->emitOpError("has x ") << x.getType() << " and weight " << weight.getType() << " for " << rows << " rows";
}

LogicalResult LinearCrossEntropyOp::verify() {
  if (failed(verifyHead(*this, getX(), getWeight(), megacc::step::getCount(getTargets()))) ||
      failed(expectShape(*this, "loss", getLoss(), {1})) || failed(expectShape(*this, "valid", getValid(), {1})) ||
      failed(expectLike(*this, "d_x", getDX(), getX())))
    return failure();
  return expectLike(*this, "d_weight", getDWeight(), getWeight());
}

LogicalResult LinearCrossEntropyEvaluateOp::verify() {
  int64_t batch = getBatch();
  if (failed(verifyHead(*this, getX(), getWeight(), batch * getSequence())) ||
      failed(expectShape(*this, "loss_sum", getLossSum(), {batch})))
    return failure();
  return expectShape(*this, "count", getCount(), {batch});
}

LogicalResult LogitsAtOp::verify() {
  int64_t batch = getBatch();
  if (failed(verifyHead(*this, getX(), getWeight(), batch * getSequence())) ||
      failed(expectShape(*this, "positions", getPositions(), {batch})))
    return failure();
  return expectShape(*this, "logits", getLogits(), {batch, getDim(getWeight(), 0)});
}

void LinearCrossEntropyOp::getEffects(SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  getFlagEffects({getInvalidAttr()}, effects);
}
void LinearCrossEntropyOp::dropFlags() { removeInvalidAttr(); }

SmallVector<Value> LinearCrossEntropyOp::getSavedValues() { return {getDX(), getDWeight()}; }

FailureOr<SmallVector<Value>> LinearCrossEntropyOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  for (Value gradient : resultGradients)
    if (gradient) // its own gradients are those of a loss term, not of a value that is used further
      return failure();
  return SmallVector<Value>{saved[0], saved[1], Value(), Value()};
}

KernelQuery LinearCrossEntropyOp::getKernelQuery() {
  KernelQuery query("linear_cross_entropy");
  query.add("loss", getLoss()).add("d_x", getDX()).add("d_weight", getDWeight());
  if (getInvalid())
    query.addState("invalid", LaunchOperand::Kind::Metric, *getInvalid(), RankedTensorType::get({1}, Float32Type::get(getContext())));
  query.add("x", getX()).add("weight", getWeight()).add("targets", getTargets()).add("valid", getValid());
  query.set("rows", getDim(getX(), 0)).set("cols", getDim(getX(), 1)).set("vocab", getDim(getWeight(), 0));
  return query.setReal("scale", getScale().convertToDouble());
}

KernelQuery LinearCrossEntropyEvaluateOp::getKernelQuery() {
  KernelQuery query("linear_cross_entropy_evaluate");
  query.add("loss_sum", getLossSum()).add("count", getCount()).add("x", getX()).add("weight", getWeight()).add("targets", getTargets());
  query.set("batch", getBatch()).set("sequence", getSequence());
  return query.set("cols", getDim(getX(), 1)).set("vocab", getDim(getWeight(), 0));
}

KernelQuery LogitsAtOp::getKernelQuery() {
  KernelQuery query("logits_at");
  query.add("logits", getLogits()).add("x", getX()).add("weight", getWeight()).add("positions", getPositions());
  query.set("batch", getBatch()).set("sequence", getSequence());
  return query.set("cols", getDim(getX(), 1)).set("vocab", getDim(getWeight(), 0));
}

static ShardingRule getHeadRule(StringRef text, Value x, Value weight, int64_t batch) {
  return ShardingRule::get(text, {{"b", batch}, {"s", getDim(x, 0) / batch}, {"d", getDim(x, 1)}, {"v", getDim(weight, 0)}});
}

ShardingRule LinearCrossEntropyOp::getShardingRule() {
  return getHeadRule("([b s, d], [v, d], [b, s], [one]) -> ([one], [b s, d], [v, d]) reduce{b s} replicate{v: a log-sum-exp is over the "
                     "whole vocabulary; d: a logit is a sum over the whole row}",
                     getX(), getWeight(), getDim(getTargets(), 0));
}

ShardingRule LinearCrossEntropyEvaluateOp::getShardingRule() {
  return getHeadRule("([b s, d], [v, d], [b, s]) -> ([b], [b]) reduce{s} replicate{v: a log-sum-exp is over the whole vocabulary; d: a "
                     "logit is a sum over the whole row} attributes{batch = b, sequence = s}",
                     getX(), getWeight(), getBatch());
}

ShardingRule LogitsAtOp::getShardingRule() {
  return getHeadRule("([b s, d], [v, d], [b]) -> ([b, v]) reduce{d} replicate{s: a position counts from the start of its row} "
                     "attributes{batch = b, sequence = s}",
                     getX(), getWeight(), getBatch());
}

// Parts of the vocabulary.

/// `all`: of the whole vocabulary, whatever part of it `weight` has.
static LogicalResult verifyParts(Operation *op, Value weight, Value statistics, int64_t rows, int64_t parts, bool all) {
  int64_t known = getDim(statistics, 0);
  if (parts < 1 || getDim(weight, 0) % parts || (all ? known % parts : known != parts))
    return op->emitOpError("has weight ") << weight.getType() << " in " << parts << " parts and statistics of " << known;
  return expectShape(op, "statistics", statistics, {known, 2 * rows});
}

LogicalResult HeadStatisticsOp::verify() {
  if (failed(verifyHead(*this, getX(), getWeight(), getDim(getX(), 0))))
    return failure();
  return verifyParts(*this, getWeight(), getStatistics(), getDim(getX(), 0), getParts(), /*all=*/false);
}

LogicalResult LinearCrossEntropyPartsOp::verify() {
  int64_t rows = megacc::step::getCount(getTargets());
  if (failed(verifyHead(*this, getX(), getWeight(), rows)) || failed(expectShape(*this, "loss", getLoss(), {1})) ||
      failed(expectShape(*this, "valid", getValid(), {1})) || failed(expectLike(*this, "d_x", getDX(), getX())) ||
      failed(expectLike(*this, "d_weight", getDWeight(), getWeight())))
    return failure();
  return verifyParts(*this, getWeight(), getStatistics(), rows, getParts(), /*all=*/true);
}

LogicalResult LinearCrossEntropyEvaluatePartsOp::verify() {
  int64_t batch = getBatch(), rows = batch * getSequence();
  if (failed(verifyHead(*this, getX(), getWeight(), rows)) || failed(expectShape(*this, "loss_sum", getLossSum(), {batch})) ||
      failed(expectShape(*this, "count", getCount(), {batch})))
    return failure();
  return verifyParts(*this, getWeight(), getStatistics(), rows, getParts(), /*all=*/true);
}

void LinearCrossEntropyPartsOp::getEffects(SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  getFlagEffects({getInvalidAttr()}, effects);
}
void LinearCrossEntropyPartsOp::dropFlags() { removeInvalidAttr(); }

SmallVector<Value> LinearCrossEntropyPartsOp::getSavedValues() { return {getDX(), getDWeight()}; }

FailureOr<SmallVector<Value>> LinearCrossEntropyPartsOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  for (Value gradient : resultGradients)
    if (gradient)
      return failure();
  return SmallVector<Value>{saved[0], saved[1], Value(), Value(), Value()};
}

/// Where targets are in the part of the vocabulary, and how many parts there are in all.
template <typename Op> static KernelQuery &setHeadParts(KernelQuery &query, Op op) {
  query.set("parts", op.getParts()).set("all_parts", getDim(op.getStatistics(), 0));
  return query.set("cols", getDim(op.getX(), 1)).set("vocab", getDim(op.getWeight(), 0));
}

KernelQuery HeadStatisticsOp::getKernelQuery() {
  KernelQuery query("head_statistics");
  query.add("statistics", getStatistics()).add("x", getX()).add("weight", getWeight()).set("rows", getDim(getX(), 0));
  return query.set("parts", getParts()).set("cols", getDim(getX(), 1)).set("vocab", getDim(getWeight(), 0));
}

KernelQuery LinearCrossEntropyPartsOp::getKernelQuery() {
  KernelQuery query("linear_cross_entropy_parts");
  query.add("loss", getLoss()).add("d_x", getDX()).add("d_weight", getDWeight());
  if (getInvalid())
    query.addState("invalid", LaunchOperand::Kind::Metric, *getInvalid(), RankedTensorType::get({1}, Float32Type::get(getContext())));
  query.add("x", getX()).add("weight", getWeight()).add("targets", getTargets()).add("valid", getValid());
  query.add("statistics", getStatistics()).set("rows", getDim(getX(), 0));
  return setHeadParts(query, *this).set("axis", getVocabAxis()).setReal("scale", getScale().convertToDouble());
}

KernelQuery LinearCrossEntropyEvaluatePartsOp::getKernelQuery() {
  KernelQuery query("linear_cross_entropy_evaluate_parts");
  query.add("loss_sum", getLossSum()).add("count", getCount()).add("x", getX()).add("weight", getWeight()).add("targets", getTargets());
  query.add("statistics", getStatistics()).set("batch", getBatch()).set("sequence", getSequence());
  return setHeadParts(query, *this).set("axis", getVocabAxis());
}

/// The rule of a head whose vocabulary is p parts of w; q parts of the statistics, m numbers of each row.
static ShardingRule getPartsRule(StringRef text, Value x, Value weight, int64_t batch, int64_t parts, int64_t known) {
  return ShardingRule::get(text, {{"b", batch},
                                  {"s", getDim(x, 0) / batch},
                                  {"d", getDim(x, 1)},
                                  {"p", parts},
                                  {"w", getDim(weight, 0) / parts},
                                  {"q", known},
                                  {"m", 2}});
}

ShardingRule HeadStatisticsOp::getShardingRule() {
  return getPartsRule(
      "([b s, d], [p w, d]) -> ([p, m b s]) replicate{w: statistics are of whole parts; s m: statistics stand row by row; d: "
      "a logit is a sum over the whole row} attributes{batch = b, parts = p}",
      getX(), getWeight(), getBatch(), getParts(), getParts());
}

ShardingRule LinearCrossEntropyPartsOp::getShardingRule() {
  return getPartsRule(
      "([b s, d], [p w, d], [b, s], [one], [q, m b s]) -> ([one], [b s, d], [p w, d]) reduce{b p} replicate{w q: statistics "
      "are of whole parts; s m: statistics stand row by row; d: a logit is a sum over the whole row} attributes{parts = p, "
      "vocab_axis @ p}",
      getX(), getWeight(), getDim(getTargets(), 0), getParts(), getDim(getStatistics(), 0));
}

ShardingRule LinearCrossEntropyEvaluatePartsOp::getShardingRule() {
  return getPartsRule("([b s, d], [p w, d], [b, s], [q, m b s]) -> ([b], [b]) reduce{p} replicate{w q: statistics are of whole parts; s m: "
                      "statistics stand row by row; d: a logit is a sum over the whole row} attributes{batch = b, sequence = s, parts = p, "
                      "vocab_axis @ p}",
                      getX(), getWeight(), getBatch(), getParts(), getDim(getStatistics(), 0));
}

static OpCost getHeadCost(Operation *op, int64_t rows, Value weight) {
  OpCost cost = getMemoryCost(op);
  cost.flops = (Size(2) * rows * megacc::step::getCount(weight)).get();
  return cost;
}

/// The logits, and the two products of their gradient.
OpCost LinearCrossEntropyOp::getCost() {
  OpCost cost = getHeadCost(*this, getDim(getX(), 0), getWeight());
  cost.flops = (3 * Size(cost.flops)).get();
  cost.recomputable = false; // it makes gradients of its own
  return cost;
}
OpCost LinearCrossEntropyEvaluateOp::getCost() { return getHeadCost(*this, getDim(getX(), 0), getWeight()); }
OpCost HeadStatisticsOp::getCost() { return getHeadCost(*this, getDim(getX(), 0), getWeight()); }
OpCost LinearCrossEntropyPartsOp::getCost() {
  OpCost cost = getHeadCost(*this, getDim(getX(), 0), getWeight());
  cost.flops = (3 * Size(cost.flops)).get();
  cost.recomputable = false; // it makes gradients of its own
  return cost;
}
/// The logits of the targets alone.
OpCost LinearCrossEntropyEvaluatePartsOp::getCost() {
  OpCost cost = getMemoryCost(*this);
  cost.flops = (Size(2) * megacc::step::getCount(getX())).get();
  return cost;
}
OpCost LogitsAtOp::getCost() { return getHeadCost(*this, getBatch(), getWeight()); }

// How straight a residual stream runs between tokens.
#include "dialects/Step/Step.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

static LogicalResult verifySpans(Operation *op, Value spans) { return expectShape(op, "spans", spans, {getDim(spans, 0), 3}); }

// count_spans.

LogicalResult CountSpansOp::verify() {
  if (getDocuments() && getDim(getDocuments(), 0) != int64_t(getBatch()))
    return emitOpError("has documents of ") << getDocuments().getType() << " for " << int64_t(getBatch()) << " rows";
  return failed(verifySpans(*this, getSpans())) ? failure() : expectShape(*this, "count", getCount(), {1});
}

ShardingRule CountSpansOp::getShardingRule() {
  if (!getDocuments())
    return ShardingRule::get("([j, three]) -> ([one]) reduce{j} replicate{three: a span has three places}",
                             {{"j", getDim(getSpans(), 0)}, {"three", 3}});
  return ShardingRule::get("([j, three], [b, s]) -> ([one]) reduce{b j} replicate{s: a span lies anywhere in its row; three: a span has "
                           "three places} attributes{batch = b}",
                           {{"b", getBatch()}, {"s", getDim(getDocuments(), 1)}, {"j", getDim(getSpans(), 0)}, {"three", 3}});
}

KernelQuery CountSpansOp::getKernelQuery() {
  KernelQuery query("count_spans");
  query.add("count", getCount()).add("spans", getSpans()).add("documents", getDocuments()).set("batch", getBatch());
  return query.set("sequence", getDocuments() ? getDim(getDocuments(), 1) : 0).set("spans", getDim(getSpans(), 0));
}

// straightness.

template <typename Op> static LogicalResult verifyStraightness(Op op) {
  int64_t rows = op.getBatch() * op.getSequence();
  if (getDim(op.getX(), 0) != rows || (op.getDocuments() && getCount(op.getDocuments()) != rows))
    return op.emitOpError("has x ") << op.getX().getType() << " for " << rows << " rows";
  return failed(verifySpans(op, op.getSpans())) ? failure() : expectShape(op, "count", op.getCount(), {1});
}

LogicalResult StraightnessOp::verify() {
  return failed(verifyStraightness(*this)) ? failure() : expectShape(*this, "loss", getLoss(), {1});
}
LogicalResult StraightnessGradOp::verify() {
  return failed(verifyStraightness(*this)) ? failure() : expectLike(*this, "d_x", getDX(), getX());
}

SmallVector<Value> StraightnessOp::getSavedValues() { return SmallVector<Value>(getOperands()); }

FailureOr<SmallVector<Value>> StraightnessOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (resultGradients[0]) // it is a term of the objective and nothing else
    return failure();
  double weight = getWeight().convertToDouble() / double(getConfigInteger(*this, "accumulate", 1));
  Value d_x =
      StraightnessGradOp::create(builder, getLoc(), getX().getType(), saved[0], saved[1], saved[2], getDocuments() ? saved[3] : Value(),
                                 getBatchAttr(), getSequenceAttr(), getLayersAttr(), builder.getF64FloatAttr(weight));
  SmallVector<Value> gradients = {d_x};
  gradients.resize(getNumOperands());
  return gradients;
}

template <typename Op> static ShardingRule getStraightnessRule(Op op, StringRef result) {
  std::string documents = op.getDocuments() ? ", [b, s]" : "";
  return ShardingRule::get(
      ("([b s, d], [j, three], [one]" + documents + ") -> (" + result +
       " replicate{s: a span lies anywhere in its row; d: a cosine is over the whole row; three: a span has three "
       "places} attributes{batch = b, sequence = s}")
          .str(),
      {{"b", op.getBatch()}, {"s", op.getSequence()}, {"d", getDim(op.getX(), 1)}, {"j", getDim(op.getSpans(), 0)}, {"three", 3}});
}

ShardingRule StraightnessOp::getShardingRule() { return getStraightnessRule(*this, "[one]) reduce{b j}"); }
ShardingRule StraightnessGradOp::getShardingRule() { return getStraightnessRule(*this, "[b s, d]) reduce{j}"); }

template <typename Op> static KernelQuery &setStraightness(KernelQuery &query, Op op) {
  query.add("x", op.getX()).add("spans", op.getSpans()).add("count", op.getCount()).add("documents", op.getDocuments());
  query.set("batch", op.getBatch()).set("sequence", op.getSequence()).set("cols", getDim(op.getX(), 1));
  query.set("spans", getDim(op.getSpans(), 0)).set("layers", op.getLayers());
  return query.setReal("weight", op.getWeight().convertToDouble());
}

KernelQuery StraightnessOp::getKernelQuery() {
  KernelQuery query("straightness");
  return setStraightness(query.add("loss", getLoss()), *this);
}

KernelQuery StraightnessGradOp::getKernelQuery() {
  KernelQuery query("straightness_grad");
  return setStraightness(query.add("d_x", getDX()), *this);
}

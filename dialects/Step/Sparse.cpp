// Attention to the keys that an indexer picks.
#include "dialects/Step/Step.h"

#include <algorithm>

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

/// An error unless all rows of the op are those of its batch.
template <typename Op> static LogicalResult expectRows(Op op, Value support) {
  int64_t rows = op.getBatch() * op.getSequence();
  if (getDim(support, 0) != rows || getDim(support, 1) > int64_t(op.getSequence()))
    return op.emitOpError("has a support of ") << support.getType() << ", expected " << rows << " rows of at most " << op.getSequence()
                                               << " keys";
  return success();
}

/// Keys that queries of `rows` rows of the batch read at most: fewer at the start of a row than `kept`.
static Size countKeys(int64_t batch, int64_t sequence, int64_t kept) {
  return Size(batch) * (kept * (kept + 1) / 2 + (sequence - kept) * kept);
}

template <typename Op> static Size countKeys(Op op) { return countKeys(op.getBatch(), op.getSequence(), getDim(op.getSupport(), 1)); }

static OpCost getProductCost(Operation *op, Size flops) {
  OpCost cost = getMemoryCost(op);
  cost.flops = flops.get();
  return cost;
}

// select_keys.

LogicalResult SelectKeysOp::verify() {
  int64_t rows = getBatch() * getSequence(), heads = getHeads(), dim = getDim();
  if (failed(expectRows(*this, getSupport())) || failed(expectShape(*this, "q", getQ(), {rows, heads * dim})) ||
      failed(expectShape(*this, "k", getK(), {rows, dim})) || failed(expectShape(*this, "weights", getWeights(), {rows, heads})))
    return failure();
  return getDocuments() ? expectShape(*this, "documents", getDocuments(), {int64_t(getBatch()), int64_t(getSequence())}) : success();
}

ShardingRule SelectKeysOp::getShardingRule() {
  std::string documents = getDocuments() ? ", [b, s]" : "";
  return ShardingRule::get(
      "([b s, h c], [b s, c], [b s, h]" + documents +
          ") -> ([b s, k]) replicate{s: a token reads all before it; h c: a score is a sum over all heads; k: keys are "
          "picked among all} attributes{batch = b, sequence = s, heads = h, dim = c}",
      {{"b", getBatch()}, {"s", getSequence()}, {"h", getHeads()}, {"c", getDim()}, {"k", megacc::step::getDim(getSupport(), 1)}});
}

KernelQuery SelectKeysOp::getKernelQuery() {
  KernelQuery query("select_keys");
  query.add("support", getSupport()).add("q", getQ()).add("k", getK()).add("weights", getWeights()).add("documents", getDocuments());
  query.set("batch", getBatch()).set("sequence", getSequence()).set("heads", getHeads()).set("dim", getDim());
  return query.set("kept", megacc::step::getDim(getSupport(), 1));
}

/// The causal half of the scores.
OpCost SelectKeysOp::getCost() { return getProductCost(*this, Size(getBatch()) * getSequence() * getSequence() * getHeads() * getDim()); }

// sparse_attention.

template <typename Op> static LogicalResult verifySparse(Op op, Value y) {
  int64_t rows = op.getBatch() * op.getSequence(), heads = op.getHeads();
  if (failed(expectRows(op, op.getSupport())) || failed(expectShape(op, "q", op.getQ(), {rows, heads * int64_t(op.getQkDim())})) ||
      failed(expectLike(op, "k", op.getK(), op.getQ())) || failed(expectShape(op, "v", op.getV(), {rows, heads * int64_t(op.getVDim())})))
    return failure();
  return expectLike(op, "y", y, op.getV());
}

LogicalResult SparseAttentionOp::verify() { return verifySparse(*this, getY()); }

LogicalResult SparseAttentionGradOp::verify() {
  if (failed(verifySparse(*this, getDY())) || failed(expectLike(*this, "d_q", getDQ(), getQ())) ||
      failed(expectLike(*this, "d_k", getDK(), getK())))
    return failure();
  return expectLike(*this, "d_v", getDV(), getV());
}

SmallVector<Value> SparseAttentionOp::getSavedValues() { return {getQ(), getK(), getV(), getSupport()}; }

Gradients SparseAttentionOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto grad = SparseAttentionGradOp::create(builder, getLoc(), getQ().getType(), getK().getType(), getV().getType(), resultGradients[0],
                                            saved[0], saved[1], saved[2], saved[3], getBatchAttr(), getSequenceAttr(), getHeadsAttr(),
                                            getQkDimAttr(), getVDimAttr(), getScaleAttr());
  return SmallVector<Value>{grad.getDQ(), grad.getDK(), grad.getDV(), Value()};
}

template <typename Op> static ShardingRule getSparseRule(Op op, StringRef operands, StringRef results) {
  return ShardingRule::get(("(" + operands + "[b s, h c], [b s, h c], [b s, h e], [b s, k]) -> (" + results +
                            ") replicate{s: a token reads all before it; c e: a score and its gradient are sums over a whole head; k: a "
                            "softmax is over the whole support} attributes{batch = b, sequence = s, heads = h, qk_dim = c, v_dim = e}")
                               .str(),
                           {{"b", op.getBatch()},
                            {"s", op.getSequence()},
                            {"h", op.getHeads()},
                            {"c", op.getQkDim()},
                            {"e", op.getVDim()},
                            {"k", getDim(op.getSupport(), 1)}});
}

ShardingRule SparseAttentionOp::getShardingRule() { return getSparseRule(*this, "", "[b s, h e]"); }
ShardingRule SparseAttentionGradOp::getShardingRule() { return getSparseRule(*this, "[b s, h e], ", "[b s, h c], [b s, h c], [b s, h e]"); }

template <typename Op> static KernelQuery &setSparse(KernelQuery &query, Op op) {
  query.add("q", op.getQ()).add("k", op.getK()).add("v", op.getV()).add("support", op.getSupport());
  query.set("batch", op.getBatch()).set("sequence", op.getSequence()).set("heads", op.getHeads()).set("qk_dim", op.getQkDim());
  query.set("v_dim", op.getVDim()).set("kept", getDim(op.getSupport(), 1));
  return query.setReal("scale", op.getScale().convertToDouble());
}

KernelQuery SparseAttentionOp::getKernelQuery() {
  KernelQuery query("sparse_attention");
  return setSparse(query.add("y", getY()), *this);
}

KernelQuery SparseAttentionGradOp::getKernelQuery() {
  KernelQuery query("sparse_attention_grad");
  return setSparse(query.add("d_q", getDQ()).add("d_k", getDK()).add("d_v", getDV()).add("d_y", getDY()), *this);
}

/// The two products: scores and values.
template <typename Op> static Size getSparseFlops(Op op) { return 2 * countKeys(op) * op.getHeads() * (op.getQkDim() + op.getVDim()); }

OpCost SparseAttentionOp::getCost() { return getProductCost(*this, getSparseFlops(*this)); }
OpCost SparseAttentionGradOp::getCost() { return getProductCost(*this, 2 * getSparseFlops(*this)); }

StringRef SparseAttentionOp::getMeasureName() { return "attention_entropy"; }

Value SparseAttentionOp::buildMeasure(OpBuilder &builder) {
  double queries = double(getBatch()) * double(getSequence()) * double(getHeads());
  return AttentionEntropyOp::create(builder, getLoc(), RankedTensorType::get({1}, builder.getF32Type()), getQ(), getK(), Value(),
                                    getSupport(), getBatchAttr(), getSequenceAttr(), getHeadsAttr(), getHeadsAttr(), getQkDimAttr(),
                                    getScaleAttr(), builder.getF64FloatAttr(1.0 / queries));
}

// support_kl.

template <typename Op> static LogicalResult verifyIndexer(Op op) {
  int64_t rows = op.getBatch() * op.getSequence(), heads = op.getIndexHeads(), dim = op.getIndexDim();
  if (failed(expectRows(op, op.getSupport())) || failed(expectShape(op, "index_q", op.getIndexQ(), {rows, heads * dim})) ||
      failed(expectShape(op, "index_k", op.getIndexK(), {rows, dim})) ||
      failed(expectShape(op, "index_weights", op.getIndexWeights(), {rows, heads})))
    return failure();
  return expectLike(op, "difference", op.getDifference(), op.getSupport());
}

LogicalResult SupportKlOp::verify() {
  if (failed(verifyIndexer(*this)) ||
      failed(expectShape(*this, "q", getQ(), {int64_t(getBatch() * getSequence()), int64_t(getHeads() * getQkDim())})) ||
      failed(expectLike(*this, "k", getK(), getQ())))
    return failure();
  return expectShape(*this, "loss", getLoss(), {1});
}

LogicalResult SupportKlGradOp::verify() {
  if (failed(verifyIndexer(*this)) || failed(expectLike(*this, "d_index_q", getDIndexQ(), getIndexQ())) ||
      failed(expectLike(*this, "d_index_k", getDIndexK(), getIndexK())))
    return failure();
  return expectLike(*this, "d_index_weights", getDIndexWeights(), getIndexWeights());
}

SmallVector<Value> SupportKlOp::getSavedValues() { return {getDifference(), getIndexQ(), getIndexK(), getIndexWeights(), getSupport()}; }

Gradients SupportKlOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  for (Value gradient : resultGradients)
    if (gradient) // it is a term of the objective and nothing else
      return failure();
  double micro_batches = getConfigInteger(*this, "accumulate", 1); // a term of the objective is a mean over them
  double factor = getKl().convertToDouble() / (double(getTokens()) * micro_batches);
  auto grad = SupportKlGradOp::create(builder, getLoc(), getIndexQ().getType(), getIndexK().getType(), getIndexWeights().getType(),
                                      saved[0], saved[1], saved[2], saved[3], saved[4], getBatchAttr(), getSequenceAttr(),
                                      getIndexHeadsAttr(), getIndexDimAttr(), getIndexScaleAttr(), builder.getF64FloatAttr(factor));
  return SmallVector<Value>{Value(), Value(), grad.getDIndexQ(), grad.getDIndexK(), grad.getDIndexWeights(), Value()};
}

ShardingRule SupportKlOp::getShardingRule() {
  return ShardingRule::get(
      "([b s, h c], [b s, h c], [b s, i d], [b s, d], [b s, i], [b s, k]) -> ([one], [b s, k]) reduce{b} replicate{s: a "
      "token reads all before it; h c: the target is a mean over all heads; i d: a score is a sum over all heads; k: a "
      "softmax is over the whole support} attributes{batch = b, sequence = s, heads = h, qk_dim = c, index_heads = i, "
      "index_dim = d}",
      {{"b", getBatch()},
       {"s", getSequence()},
       {"h", getHeads()},
       {"c", getQkDim()},
       {"i", getIndexHeads()},
       {"d", getIndexDim()},
       {"k", getDim(getSupport(), 1)}});
}

ShardingRule SupportKlGradOp::getShardingRule() {
  return ShardingRule::get(
      "([b s, k], [b s, i d], [b s, d], [b s, i], [b s, k]) -> ([b s, i d], [b s, d], [b s, i]) reduce{i} replicate{s: a "
      "token reads all before it; d: a score is a sum over a whole head; k: sums are over the whole support} "
      "attributes{batch = b, sequence = s, index_heads = i, index_dim = d}",
      {{"b", getBatch()}, {"s", getSequence()}, {"i", getIndexHeads()}, {"d", getIndexDim()}, {"k", getDim(getSupport(), 1)}});
}

template <typename Op> static KernelQuery &setIndexer(KernelQuery &query, Op op) {
  query.add("difference", op.getDifference()).add("index_q", op.getIndexQ()).add("index_k", op.getIndexK());
  query.add("index_weights", op.getIndexWeights()).add("support", op.getSupport());
  query.set("batch", op.getBatch()).set("sequence", op.getSequence()).set("index_heads", op.getIndexHeads());
  query.set("index_dim", op.getIndexDim()).set("kept", getDim(op.getSupport(), 1));
  return query.setReal("index_scale", op.getIndexScale().convertToDouble());
}

KernelQuery SupportKlOp::getKernelQuery() {
  KernelQuery query("support_kl");
  query.add("loss", getLoss()).add("q", getQ()).add("k", getK());
  setIndexer(query, *this).set("heads", getHeads()).set("qk_dim", getQkDim()).set("tokens", getTokens());
  return query.setReal("scale", getScale().convertToDouble()).setReal("kl", getKl().convertToDouble());
}

KernelQuery SupportKlGradOp::getKernelQuery() {
  KernelQuery query("support_kl_grad");
  query.add("d_index_q", getDIndexQ()).add("d_index_k", getDIndexK()).add("d_index_weights", getDIndexWeights());
  return setIndexer(query, *this).setReal("factor", getFactor().convertToDouble());
}

/// The scores of both on the support; the gradient computes those of the indexer again, and has two more products.
OpCost SupportKlOp::getCost() {
  return getProductCost(*this, 2 * countKeys(*this) * (Size(getHeads()) * getQkDim() + Size(getIndexHeads()) * getIndexDim()));
}
OpCost SupportKlGradOp::getCost() { return getProductCost(*this, 6 * countKeys(*this) * getIndexHeads() * getIndexDim()); }

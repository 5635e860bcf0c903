// Attention to a bank that all tokens share.
#include "dialects/Step/Step.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

template <typename Op> static LogicalResult verifyBank(Op op, Value y) {
  int64_t cols = getDim(op.getQ(), 1), heads = op.getHeads();
  if (heads < 1 || cols % heads)
    return op.emitOpError("has ") << heads << " heads for " << cols << " columns";
  if (failed(expectShape(op, "k", op.getK(), {getDim(op.getK(), 0), cols})) || failed(expectLike(op, "v", op.getV(), op.getK())))
    return failure();
  return expectLike(op, "y", y, op.getQ());
}

LogicalResult BankAttentionOp::verify() { return verifyBank(*this, getY()); }

LogicalResult BankAttentionGradOp::verify() {
  if (failed(verifyBank(*this, getDY())) || failed(expectLike(*this, "d_q", getDQ(), getQ())) ||
      failed(expectLike(*this, "d_k", getDK(), getK())))
    return failure();
  return expectLike(*this, "d_v", getDV(), getV());
}

SmallVector<Value> BankAttentionOp::getSavedValues() { return {getQ(), getK(), getV()}; }

FailureOr<SmallVector<Value>> BankAttentionOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto grad = BankAttentionGradOp::create(builder, getLoc(), getQ().getType(), getK().getType(), getV().getType(), resultGradients[0],
                                          saved[0], saved[1], saved[2], getHeadsAttr(), getScaleAttr());
  return SmallVector<Value>(grad.getResults());
}

template <typename Op> static ShardingRule getBankRule(Op op, StringRef text) {
  return ShardingRule::get(
      (text + " replicate{n: a softmax is over the whole bank; c: a score is a sum over the whole head} attributes{heads = h}").str(),
      {{"t", getDim(op.getQ(), 0)},
       {"n", getDim(op.getK(), 0)},
       {"h", op.getHeads()},
       {"c", getDim(op.getQ(), 1) / int64_t(op.getHeads())}});
}

ShardingRule BankAttentionOp::getShardingRule() { return getBankRule(*this, "([t, h c], [n, h c], [n, h c]) -> ([t, h c])"); }

ShardingRule BankAttentionGradOp::getShardingRule() {
  return getBankRule(*this, "([t, h c], [t, h c], [n, h c], [n, h c]) -> ([t, h c], [n, h c], [n, h c]) reduce{t}");
}

template <typename Op> static KernelQuery &setBank(KernelQuery &query, Op op) {
  query.add("q", op.getQ()).add("k", op.getK()).add("v", op.getV());
  query.set("rows", getDim(op.getQ(), 0)).set("bank", getDim(op.getK(), 0)).set("heads", op.getHeads());
  return query.set("dim", getDim(op.getQ(), 1) / int64_t(op.getHeads())).setReal("scale", op.getScale().convertToDouble());
}

KernelQuery BankAttentionOp::getKernelQuery() {
  KernelQuery query("bank_attention");
  return setBank(query.add("y", getY()), *this);
}

KernelQuery BankAttentionGradOp::getKernelQuery() {
  KernelQuery query("bank_attention_grad");
  return setBank(query.add("d_q", getDQ()).add("d_k", getDK()).add("d_v", getDV()).add("d_y", getDY()), *this);
}

/// So many products of a row of q with a row of the bank.
template <typename Op> static OpCost getBankCost(Op op, int64_t products) {
  OpCost cost = getMemoryCost(op);
  cost.flops = (Size(2) * products * getCount(op.getQ()) * getDim(op.getK(), 0)).get();
  return cost;
}

OpCost BankAttentionOp::getCost() { return getBankCost(*this, 2); }
OpCost BankAttentionGradOp::getCost() { return getBankCost(*this, 5); }

// What a token takes from its neighbours.
#include "dialects/Step/Step.h"

#include "llvm/ADT/STLExtras.h"

#include <numeric>

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

// ngram_rows.

LogicalResult NgramRowsOp::verify() {
  int64_t tables = getSizes().size();
  if (!tables || int64_t(getOrders().size()) != tables || getDim(getIds(), 0) != getCount(getTokens()) || getDim(getIds(), 1) != tables)
    return emitOpError("has ") << getOrders().size() << " orders and " << tables << " sizes for tokens of " << getTokens().getType()
                               << " and rows of " << getIds().getType();
  if (std::accumulate(getSizes().begin(), getSizes().end(), int64_t(0)) > INT32_MAX)
    return emitOpError("has tables of more rows than an i32 can count");
  if (llvm::any_of(getOrders(), [](int64_t order) { return order < 1; }))
    return emitOpError("has an order below 1");
  return success();
}

ShardingRule NgramRowsOp::getShardingRule() {
  std::string documents = getDocuments() ? ", [b, s]" : "";
  return ShardingRule::get("([b, s]" + documents +
                               ") -> ([b s, n]) replicate{s: a token reads those before it; n: a table has a hash of its "
                               "own}",
                           {{"b", getDim(getTokens(), 0)}, {"s", getDim(getTokens(), 1)}, {"n", getDim(getIds(), 1)}});
}

KernelQuery NgramRowsOp::getKernelQuery() {
  KernelQuery query("ngram_rows");
  query.add("ids", getIds()).add("tokens", getTokens()).add("documents", getDocuments());
  query.set("batch", getDim(getTokens(), 0)).set("sequence", getDim(getTokens(), 1)).set("count", getSizes().size());
  query.set("longest", *llvm::max_element(getOrders())).set("seed", getSeed());
  for (auto [order, size] : llvm::zip(getOrders(), getSizes()))
    query.set("order", order).set("size", size);
  return query;
}

// Shift.

LogicalResult ShiftOp::verify() {
  int64_t rows = getBatch() * getSequence();
  if (getY().getType() != getX().getType() || getDim(getX(), 0) != rows || (getDocuments() && getCount(getDocuments()) != rows))
    return emitOpError("turns ") << getX().getType() << " into " << getY().getType() << "; expected " << rows << " rows of both";
  return success();
}

SmallVector<Value> ShiftOp::getSavedValues() { return getDocuments() ? SmallVector<Value>{getDocuments()} : SmallVector<Value>(); }

FailureOr<SmallVector<Value>> ShiftOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  Value d_x = ShiftOp::create(builder, getLoc(), getX().getType(), resultGradients[0], saved.empty() ? Value() : saved[0], getBatchAttr(),
                              getSequenceAttr(), builder.getI64IntegerAttr(-int64_t(getDistance())));
  SmallVector<Value> gradients = {d_x};
  gradients.resize(getNumOperands());
  return gradients;
}

ShardingRule ShiftOp::getShardingRule() {
  std::string documents = getDocuments() ? ", [b, s]" : "";
  return ShardingRule::get("([b s, d]" + documents +
                               ") -> ([b s, d]) replicate{s: a token reads another of its row} "
                               "attributes{batch = b, sequence = s}",
                           {{"b", getBatch()}, {"s", getSequence()}, {"d", getDim(getX(), 1)}});
}

KernelQuery ShiftOp::getKernelQuery() {
  KernelQuery query("shift");
  query.add("y", getY()).add("x", getX()).add("documents", getDocuments()).set("batch", getBatch()).set("sequence", getSequence());
  return query.set("cols", getDim(getX(), 1)).set("distance", getDistance());
}

ShardingRule ShiftTargetsOp::getShardingRule() {
  std::string documents = getDocuments() ? ", [b, s]" : "";
  return ShardingRule::get("([b, s]" + documents + ") -> ([b, s]) replicate{s: a target reads another of its row}",
                           {{"b", getDim(getTargets(), 0)}, {"s", getDim(getTargets(), 1)}});
}

KernelQuery ShiftTargetsOp::getKernelQuery() {
  KernelQuery query("shift_targets");
  query.add("shifted", getShifted()).add("targets", getTargets()).add("documents", getDocuments());
  return query.set("batch", getDim(getTargets(), 0)).set("sequence", getDim(getTargets(), 1)).set("distance", getDistance());
}

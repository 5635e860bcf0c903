// Embeddings of several ids of a token.
#include "dialects/Step/Step.h"

#include "llvm/ADT/STLExtras.h"

#include <numeric>

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

// component_rows.

LogicalResult ComponentRowsOp::verify() {
  int64_t parts = getComponents().size();
  if (!parts || int64_t(getSizes().size()) != parts)
    return emitOpError("has ") << parts << " components and " << getSizes().size() << " sizes; expected the same number, at least 1";
  if (llvm::any_of(getSizes(), [](int64_t size) { return size < 1; }))
    return emitOpError("has a table without rows");
  if (std::accumulate(getSizes().begin(), getSizes().end(), int64_t(0)) > INT32_MAX)
    return emitOpError("has tables of more rows than an i32 can count");
  for (Value component : getComponents())
    if (component.getType() != getComponents().front().getType())
      return emitOpError("has components of ") << getComponents().front().getType() << " and of " << component.getType();
  return expectShape(*this, "ids", getIds(), {getCount(getComponents().front()), parts});
}

ShardingRule ComponentRowsOp::getShardingRule() {
  Value first = getComponents().front();
  std::string components = "[b, s]";
  for (size_t index = 1; index < getComponents().size(); ++index)
    components += ", [b, s]";
  return ShardingRule::get("(" + components + ") -> ([b s, n]) replicate{n: a component has a table of its own}",
                           {{"b", getDim(first, 0)}, {"s", getDim(first, 1)}, {"n", getDim(getIds(), 1)}});
}

KernelQuery ComponentRowsOp::getKernelQuery() {
  KernelQuery query("component_rows");
  query.add("ids", getIds()).addEach("component", getComponents()).set("rows", getDim(getIds(), 0)).set("parts", getSizes().size());
  for (int64_t size : getSizes())
    query.set("size", size);
  return query;
}

// weighted_parts.

static LogicalResult verifyWeightedParts(Operation *op, Value x, Value weight, Value y) {
  int64_t parts = getCount(weight);
  if (cast<RankedTensorType>(weight.getType()).getRank() != 1 || getDim(x, 1) % parts)
    return op->emitOpError("has a weight of ") << weight.getType() << " for the columns of " << x.getType();
  return expectShape(op, "y", y, {getDim(x, 0), getDim(x, 1) / parts});
}

LogicalResult WeightedPartsOp::verify() { return verifyWeightedParts(*this, getX(), getWeight(), getY()); }

LogicalResult WeightedPartsGradOp::verify() {
  if (failed(verifyWeightedParts(*this, getX(), getWeight(), getDY())) || failed(expectLike(*this, "d_x", getDX(), getX())))
    return failure();
  return expectLike(*this, "d_weight", getDWeight(), getWeight());
}

SmallVector<Value> WeightedPartsOp::getSavedValues() { return {getX(), getWeight()}; }

Gradients WeightedPartsOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto grad =
      WeightedPartsGradOp::create(builder, getLoc(), getX().getType(), getF32Like(getWeight()), resultGradients[0], saved[0], saved[1]);
  return SmallVector<Value>{grad.getDX(), grad.getDWeight()};
}

static ShardingRule getPartsRule(StringRef text, Value x, Value weight) {
  int64_t parts = getCount(weight);
  return ShardingRule::get(text, {{"t", getDim(x, 0)}, {"p", parts}, {"d", getDim(x, 1) / parts}});
}

ShardingRule WeightedPartsOp::getShardingRule() { return getPartsRule("([t, p d], [p]) -> ([t, d]) reduce{p}", getX(), getWeight()); }
ShardingRule WeightedPartsGradOp::getShardingRule() {
  return getPartsRule("([t, d], [t, p d], [p]) -> ([t, p d], [p]) reduce{t d}", getX(), getWeight());
}

template <typename Op> static KernelQuery &setWeightedParts(KernelQuery &query, Op op) {
  int64_t parts = getCount(op.getWeight());
  query.add("x", op.getX()).add("weight", op.getWeight());
  return query.set("rows", getDim(op.getX(), 0)).set("parts", parts).set("cols", getDim(op.getX(), 1) / parts);
}

KernelQuery WeightedPartsOp::getKernelQuery() {
  KernelQuery query("weighted_parts");
  return setWeightedParts(query.add("y", getY()), *this);
}

KernelQuery WeightedPartsGradOp::getKernelQuery() {
  KernelQuery query("weighted_parts_grad");
  return setWeightedParts(query.add("d_x", getDX()).add("d_weight", getDWeight()).add("d_y", getDY()), *this);
}

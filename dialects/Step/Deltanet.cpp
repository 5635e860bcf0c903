// The gated delta rule, and the norm and gate behind it.
#include "dialects/Step/Step.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

/// Without a gradient of the first result there is nothing to build from.
static bool lacksGradient(ValueRange resultGradients) { return resultGradients.empty() || !resultGradients.front(); }

// gated_delta.

namespace {
/// The sizes of a rule, from its shapes.
struct DeltaSizes {
  template <typename Op>
  explicit DeltaSizes(Op op)
      : batch(op.getBatch()), sequence(op.getSequence()), heads(getCount(op.getALog())), groups(op.getKeyHeads()), chunk(op.getChunk()) {
    key = groups > 0 ? getDim(op.getQ(), 1) / groups : 0;
    value = heads > 0 ? getDim(op.getV(), 1) / heads : 0;
  }

  /// Conventions 17.
  Size getFlops() const { return Size(batch) * sequence * heads * (Size(4) * chunk * (Size(key) + value) + Size(6) * key * value); }

  int64_t batch, sequence, heads, groups, chunk, key, value;
};
} // namespace

template <typename Op> static LogicalResult verifyDelta(Op op, Value y) {
  DeltaSizes size(op);
  if (size.groups <= 0 || size.heads % size.groups)
    return op.emitOpError("has ") << size.heads << " heads, which " << size.groups << " key heads cannot share evenly";
  if (size.chunk <= 0 || size.chunk % 16)
    return op.emitOpError("has chunk ") << size.chunk << ", expected a multiple of 16";
  int64_t tokens = size.batch * size.sequence, keys = size.groups * size.key, values = size.heads * size.value;
  for (auto [name, value, columns] : {std::tuple<StringRef, Value, int64_t>{"q", op.getQ(), keys},
                                      {"k", op.getK(), keys},
                                      {"v", op.getV(), values},
                                      {"b", op.getB(), size.heads},
                                      {"a", op.getA(), size.heads},
                                      {"y", y, values}})
    if (failed(expectShape(op, name, value, {tokens, columns})))
      return failure();
  if (failed(expectShape(op, "dt_bias", op.getDtBias(), {size.heads})))
    return failure();
  if (op.getDocuments() && getCount(op.getDocuments()) != tokens)
    return op.emitOpError("has documents of ") << op.getDocuments().getType() << " for " << tokens << " rows";
  return verifyCaches(op, op.getCachedAttr(), op.getCaches());
}

LogicalResult GatedDeltaOp::verify() { return verifyDelta(*this, getY()); }

LogicalResult GatedDeltaGradOp::verify() {
  if (failed(verifyDelta(*this, getDY())))
    return failure();
  static const char *const names[] = {"d_q", "d_k", "d_v", "d_b", "d_a", "d_a_log", "d_dt_bias"};
  for (auto [name, gradient, value] : llvm::zip(names, getResults(), getOperands().drop_front()))
    if (failed(expectLike(*this, name, gradient, value)))
      return failure();
  return success();
}

SmallVector<Value> GatedDeltaOp::getSavedValues() { return SmallVector<Value>(getOperands()); }

Gradients GatedDeltaOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  SmallVector<Type> types(getOperands().take_front(7).getTypes());
  auto grad = GatedDeltaGradOp::create(builder, getLoc(), types, resultGradients[0], saved[0], saved[1], saved[2], saved[3], saved[4],
                                       saved[5], saved[6], getDocuments() ? saved[7] : Value(), ValueRange(), getBatchAttr(),
                                       getSequenceAttr(), getKeyHeadsAttr(), getChunkAttr(), getNegEigvalAttr(), ArrayAttr());
  SmallVector<Value> gradients(grad.getResults());
  gradients.resize(getNumOperands());
  return gradients;
}

/// Heads are g groups of m. Splitting heads alone leaves q and k whole on every rank, and their gradients partial.
template <typename Op> static ShardingRule getDeltaRule(Op op, StringRef first, StringRef results, StringRef reduce) {
  DeltaSizes size(op);
  std::string documents = op.getDocuments() ? ", [b, s]" : "";
  return ShardingRule::get(
      ("(" + first + "[b s, g k], [b s, g k], [b s, g m v], [b s, g m], [b s, g m], [g m], [g m]" + documents + ") -> (" + results + ")" +
       reduce +
       " replicate{s: a state follows from those before it; k v: a state is one matrix} attributes{batch = b, "
       "sequence = s, key_heads = g}")
          .str(),
      {{"b", size.batch}, {"s", size.sequence}, {"g", size.groups}, {"m", size.heads / size.groups}, {"k", size.key}, {"v", size.value}});
}

ShardingRule GatedDeltaOp::getShardingRule() { return getDeltaRule(*this, "", "[b s, g m v]", ""); }

ShardingRule GatedDeltaGradOp::getShardingRule() {
  return getDeltaRule(*this, "[b s, g m v], ", "[b s, g k], [b s, g k], [b s, g m v], [b s, g m], [b s, g m], [g m], [g m]",
                      " reduce{b m}");
}

template <typename Op> static KernelQuery &setDelta(KernelQuery &query, Op op) {
  DeltaSizes size(op);
  query.add("q", op.getQ()).add("k", op.getK()).add("v", op.getV()).add("b", op.getB()).add("a", op.getA());
  query.add("a_log", op.getALog()).add("dt_bias", op.getDtBias()).add("documents", op.getDocuments());
  addCaches(query, op.getCachedAttr(), op.getCaches());
  query.set("batch", size.batch).set("sequence", size.sequence).set("heads", size.heads).set("key_heads", size.groups);
  return query.set("key", size.key).set("value", size.value).set("chunk", size.chunk).set("neg_eigval", op.getNegEigval());
}

KernelQuery GatedDeltaOp::getKernelQuery() {
  KernelQuery query("gated_delta");
  return setDelta(query.add("y", getY()), *this);
}

KernelQuery GatedDeltaGradOp::getKernelQuery() {
  KernelQuery query("gated_delta_grad");
  query.add("d_q", getDQ()).add("d_k", getDK()).add("d_v", getDV()).add("d_b", getDB()).add("d_a", getDA()).add("d_a_log", getDALog());
  return setDelta(query.add("d_dt_bias", getDDtBias()).add("d_y", getDY()), *this);
}

template <typename Op> static OpCost getDeltaCost(Op op, int64_t times) {
  OpCost cost = getMemoryCost(op);
  cost.flops = (Size(times) * DeltaSizes(op).getFlops()).get();
  return cost;
}

OpCost GatedDeltaOp::getCost() { return getDeltaCost(*this, 1); }
OpCost GatedDeltaGradOp::getCost() { return getDeltaCost(*this, 2); }

// gated_norm.

static LogicalResult verifyGatedNorm(Operation *op, Value weight, Value x) {
  if (cast<RankedTensorType>(weight.getType()).getRank() != 1 || getDim(x, 1) % std::max<int64_t>(getCount(weight), 1))
    return op->emitOpError("has a weight of ") << weight.getType() << ", which heads of " << getDim(x, 1) << " columns cannot share";
  return success();
}

LogicalResult GatedNormOp::verify() { return verifyGatedNorm(*this, getWeight(), getX()); }

LogicalResult GatedNormGradOp::verify() {
  for (auto [name, value] : {std::pair<StringRef, Value>{"d_y", getDY()}, {"gate", getGate()}, {"d_x", getDX()}, {"d_gate", getDGate()}})
    if (failed(expectLike(*this, name, value, getX())))
      return failure();
  return failed(verifyGatedNorm(*this, getWeight(), getX())) ? failure() : expectLike(*this, "d_weight", getDWeight(), getWeight());
}

SmallVector<Value> GatedNormOp::getSavedValues() { return SmallVector<Value>(getOperands()); }

Gradients GatedNormOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  Type type = getX().getType();
  auto grad = GatedNormGradOp::create(builder, getLoc(), type, type, getF32Like(getWeight()), resultGradients[0], saved[0], saved[1],
                                      saved[2], getEpsAttr());
  return SmallVector<Value>(grad.getResults());
}

static ShardingRule getGatedNormRule(StringRef text, Value x, Value weight) {
  int64_t cols = getCount(weight);
  return ShardingRule::get((text + " replicate{v: the mean is over the whole head}").str(),
                           {{"t", getDim(x, 0)}, {"h", getDim(x, 1) / cols}, {"v", cols}});
}

ShardingRule GatedNormOp::getShardingRule() { return getGatedNormRule("([t, h v], [t, h v], [v]) -> ([t, h v])", getX(), getWeight()); }

ShardingRule GatedNormGradOp::getShardingRule() {
  return getGatedNormRule("([t, h v], [t, h v], [t, h v], [v]) -> ([t, h v], [t, h v], [v]) reduce{t h}", getX(), getWeight());
}

template <typename Op> static KernelQuery &setGatedNorm(KernelQuery &query, Op op) {
  int64_t cols = getCount(op.getWeight());
  query.add("x", op.getX()).add("gate", op.getGate()).add("weight", op.getWeight());
  query.set("rows", getCount(op.getX()) / cols).set("cols", cols);
  return query.setReal("eps", op.getEps().convertToDouble());
}

KernelQuery GatedNormOp::getKernelQuery() {
  KernelQuery query("gated_norm");
  return setGatedNorm(query.add("y", getY()), *this);
}

KernelQuery GatedNormGradOp::getKernelQuery() {
  KernelQuery query("gated_norm_grad");
  return setGatedNorm(query.add("d_x", getDX()).add("d_gate", getDGate()).add("d_weight", getDWeight()).add("d_y", getDY()), *this);
}

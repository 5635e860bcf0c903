// Convolution, recurrence and gate of M2RNN.
#include "dialects/Step/Step.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

/// Without a gradient of the first result there is nothing to build from.
static bool lacksGradient(ValueRange resultGradients) { return resultGradients.empty() || !resultGradients.front(); }

// causal_conv.

template <typename Op> static LogicalResult verifyConv(Op op, Value y) {
  int64_t rows = op.getBatch() * op.getSequence(), channels = getDim(op.getX(), 1);
  if (getDim(op.getX(), 0) != rows || getDim(op.getWeight(), 0) != channels || (op.getBias() && getCount(op.getBias()) != channels) ||
      (op.getDocuments() && getCount(op.getDocuments()) != rows))
    return op.emitOpError("has x ") << op.getX().getType() << ", weight " << op.getWeight().getType() << " and result " << y.getType()
                                    << " for " << rows << " rows";
  return expectLike(op, "y", y, op.getX());
}

LogicalResult CausalConvOp::verify() { return verifyConv(*this, getY()); }

LogicalResult CausalConvGradOp::verify() {
  if (failed(verifyConv(*this, getDY())) || failed(expectLike(*this, "d_x", getDX(), getX())) ||
      failed(expectLike(*this, "d_weight", getDWeight(), getWeight())))
    return failure();
  return expectShape(*this, "d_bias", getDBias(), {getDim(getX(), 1)});
}

SmallVector<Value> CausalConvOp::getSavedValues() { return SmallVector<Value>(getOperands()); }

Gradients CausalConvOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  auto d_bias = RankedTensorType::get({getDim(getX(), 1)}, builder.getF32Type());
  auto grad = CausalConvGradOp::create(builder, getLoc(), getX().getType(), getF32Like(getWeight()), d_bias, resultGradients[0], saved[0],
                                       saved[1], getBias() ? saved[2] : Value(), getDocuments() ? saved.back() : Value(), getBatchAttr(),
                                       getSequenceAttr(), getSiluAttr());
  SmallVector<Value> gradients = {grad.getDX(), grad.getDWeight()};
  if (getBias())
    gradients.push_back(grad.getDBias());
  gradients.resize(getNumOperands());
  return gradients;
}

template <typename Op> static ShardingRule getConvRule(Op op, StringRef operands, StringRef results, StringRef linear = "") {
  std::string optional = std::string(op.getBias() ? ", [c]" : "") + (op.getDocuments() ? ", [b, s]" : "");
  return ShardingRule::get(("(" + operands + optional + ") -> (" + results +
                            " replicate{s: a token reads those before it; w: the taps of a channel are one sum}" + linear +
                            " attributes{batch = b, sequence = s}")
                               .str(),
                           {{"b", op.getBatch()}, {"s", op.getSequence()}, {"c", getDim(op.getX(), 1)}, {"w", getDim(op.getWeight(), 1)}});
}

ShardingRule CausalConvOp::getShardingRule() { return getConvRule(*this, "[b s, c], [c, w]", "[b s, c])"); }
ShardingRule CausalConvGradOp::getShardingRule() {
  return getConvRule(*this, "[b s, c], [b s, c], [c, w]", "[b s, c], [c, w], [c]) reduce{b}", " linear{0}");
}

template <typename Op> static KernelQuery &setConv(KernelQuery &query, Op op) {
  query.add("x", op.getX()).add("weight", op.getWeight()).add("bias", op.getBias()).add("documents", op.getDocuments());
  query.set("batch", op.getBatch()).set("sequence", op.getSequence()).set("channels", getDim(op.getX(), 1));
  return query.set("taps", getDim(op.getWeight(), 1)).set("silu", op.getSilu());
}

KernelQuery CausalConvOp::getKernelQuery() {
  KernelQuery query("causal_conv");
  return setConv(query.add("y", getY()), *this);
}

KernelQuery CausalConvGradOp::getKernelQuery() {
  KernelQuery query("causal_conv_grad");
  return setConv(query.add("d_x", getDX()).add("d_weight", getDWeight()).add("d_bias", getDBias()).add("d_y", getDY()), *this);
}

// skip_gate.

static LogicalResult verifySkip(Operation *op, Value skip, Value x) {
  if (cast<RankedTensorType>(skip.getType()).getRank() != 2 || getCount(skip) != getDim(x, 1))
    return op->emitOpError("has a skip of ") << skip.getType() << " for " << getDim(x, 1) << " columns";
  return success();
}

LogicalResult SkipGateOp::verify() { return verifySkip(*this, getSkip(), getX()); }

LogicalResult SkipGateGradOp::verify() {
  for (auto [name, value] : {std::pair<StringRef, Value>{"d_y", getDY()},
                             {"v", getV()},
                             {"gate", getGate()},
                             {"d_x", getDX()},
                             {"d_v", getDV()},
                             {"d_gate", getDGate()}})
    if (failed(expectLike(*this, name, value, getX())))
      return failure();
  return failed(verifySkip(*this, getSkip(), getX())) ? failure() : expectLike(*this, "d_skip", getDSkip(), getSkip());
}

SmallVector<Value> SkipGateOp::getSavedValues() { return SmallVector<Value>(getOperands()); }

Gradients SkipGateOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  Type type = getX().getType();
  auto grad = SkipGateGradOp::create(builder, getLoc(), type, type, type, getF32Like(getSkip()), resultGradients[0], saved[0], saved[1],
                                     saved[2], saved[3]);
  return SmallVector<Value>(grad.getResults());
}

static ShardingRule getGateRule(StringRef text, Value x, Value skip) {
  return ShardingRule::get(text, {{"t", getDim(x, 0)}, {"h", getDim(skip, 0)}, {"v", getDim(skip, 1)}});
}

ShardingRule SkipGateOp::getShardingRule() {
  return getGateRule("([t, h v], [t, h v], [t, h v], [h, v]) -> ([t, h v])", getX(), getSkip());
}

ShardingRule SkipGateGradOp::getShardingRule() {
  return getGateRule("([t, h v], [t, h v], [t, h v], [t, h v], [h, v]) -> ([t, h v], [t, h v], [t, h v], [h, v]) reduce{t}", getX(),
                     getSkip());
}

template <typename Op> static KernelQuery &setGate(KernelQuery &query, Op op) {
  query.add("x", op.getX()).add("v", op.getV()).add("gate", op.getGate()).add("skip", op.getSkip());
  return query.set("rows", getDim(op.getX(), 0)).set("cols", getDim(op.getX(), 1));
}

KernelQuery SkipGateOp::getKernelQuery() {
  KernelQuery query("skip_gate");
  return setGate(query.add("y", getY()), *this);
}

KernelQuery SkipGateGradOp::getKernelQuery() {
  KernelQuery query("skip_gate_grad");
  query.add("d_x", getDX()).add("d_v", getDV()).add("d_gate", getDGate()).add("d_skip", getDSkip()).add("d_y", getDY());
  return setGate(query, *this);
}

// m2rnn_scan.

namespace {
/// The sizes of a scan, from its shapes.
struct ScanSizes {
  template <typename Op>
  explicit ScanSizes(Op op)
      : batch(op.getBatch()), sequence(op.getSequence()), heads(getDim(op.getF(), 1)), key(getDim(op.getQ(), 1)),
        value(getDim(op.getStateWeight(), 2)) {}

  Size getFlops() const { return Size(batch) * sequence * heads * (Size(2) * key * value * value + Size(7) * key * value); }

  int64_t batch, sequence, heads, key, value;
};
} // namespace

/// `y` is null where there is none.
template <typename Op> static LogicalResult verifyInputs(Op op, Value y) {
  ScanSizes size(op);
  int64_t tokens = size.batch * size.sequence;
  auto has = [&](Value value, ArrayRef<int64_t> shape) { return cast<RankedTensorType>(value.getType()).getShape() == shape; };
  if (!has(op.getQ(), {tokens, size.key}) || !has(op.getK(), {tokens, size.key}) || !has(op.getV(), {tokens, size.heads * size.value}) ||
      !has(op.getF(), {tokens, size.heads}) || !has(op.getALog(), {size.heads}) || !has(op.getDtBias(), {size.heads}) ||
      !has(op.getStateWeight(), {size.heads, size.value, size.value}) || (y && !has(y, {tokens, size.heads * size.value})) ||
      (op.getDocuments() && getCount(op.getDocuments()) != tokens))
    return op.emitOpError("has shapes that do not follow from its sizes: q ")
           << op.getQ().getType() << ", v " << op.getV().getType() << ", f " << op.getF().getType() << ", state_weight "
           << op.getStateWeight().getType() << ", y " << (y ? y : op.getV()).getType();
  return success();
}

template <typename Op> static LogicalResult verifyScan(Op op, Value y) {
  return failed(verifyInputs(op, y)) ? failure() : verifyCaches(op, op.getCachedAttr(), op.getCaches());
}

LogicalResult M2rnnScanOp::verify() { return verifyScan(*this, getY()); }

LogicalResult M2rnnStateNormOp::verify() {
  return failed(verifyInputs(*this, /*y=*/Value())) ? failure() : expectShape(*this, "norm", getNorm(), {1});
}

LogicalResult M2rnnScanGradOp::verify() {
  if (failed(verifyScan(*this, getDY())))
    return failure();
  static const char *const names[] = {"d_q", "d_k", "d_v", "d_f", "d_a_log", "d_dt_bias", "d_state_weight"};
  for (auto [name, gradient, value] : llvm::zip(names, getResults(), getOperands().drop_front()))
    if (failed(expectLike(*this, name, gradient, value)))
      return failure();
  return success();
}

SmallVector<Value> M2rnnScanOp::getSavedValues() { return SmallVector<Value>(getOperands()); }

Gradients M2rnnScanOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  SmallVector<Type> types(getOperands().take_front(7).getTypes());
  types.back() = getF32Like(getStateWeight());
  auto grad =
      M2rnnScanGradOp::create(builder, getLoc(), types, resultGradients[0], saved[0], saved[1], saved[2], saved[3], saved[4], saved[5],
                              saved[6], getDocuments() ? saved[7] : Value(), ValueRange(), getBatchAttr(), getSequenceAttr(), ArrayAttr());
  SmallVector<Value> gradients(grad.getResults());
  gradients.resize(getNumOperands());
  return gradients;
}

StringRef M2rnnScanOp::getMeasureName() { return "state_norm"; }

Value M2rnnScanOp::buildMeasure(OpBuilder &builder) {
  ScanSizes size(*this);
  return M2rnnStateNormOp::create(builder, getLoc(), RankedTensorType::get({1}, builder.getF32Type()), getQ(), getK(), getV(), getF(),
                                  getALog(), getDtBias(), getStateWeight(), getDocuments(), getBatchAttr(), getSequenceAttr(),
                                  builder.getF64FloatAttr(1.0 / (double(size.batch) * double(size.heads))));
}

template <typename Op> static ShardingRule getScanRule(Op op, StringRef first, StringRef results, StringRef reduce) {
  ScanSizes size(op);
  std::string documents = op.getDocuments() ? ", [b, s]" : "";
  return ShardingRule::get(
      ("(" + first + "[b s, k], [b s, k], [b s, h v], [b s, h], [h], [h], [h, u, v]" + documents + ") -> (" + results + ")" + reduce +
       " replicate{s: a state follows from those before it; k v u: a state is one matrix} " + "attributes{batch = b, sequence = s}")
          .str(),
      {{"b", size.batch}, {"s", size.sequence}, {"h", size.heads}, {"k", size.key}, {"v", size.value}, {"u", size.value}});
}

ShardingRule M2rnnScanOp::getShardingRule() { return getScanRule(*this, "", "[b s, h v]", ""); }
ShardingRule M2rnnStateNormOp::getShardingRule() { return getScanRule(*this, "", "[one]", " reduce{b h}"); }

ShardingRule M2rnnScanGradOp::getShardingRule() {
  return getScanRule(*this, "[b s, h v], ", "[b s, k], [b s, k], [b s, h v], [b s, h], [h], [h], [h, u, v]", " reduce{b h}");
}

template <typename Op> static KernelQuery &setInputs(KernelQuery &query, Op op) {
  ScanSizes size(op);
  query.add("q", op.getQ())
      .add("k", op.getK())
      .add("v", op.getV())
      .add("f", op.getF())
      .add("a_log", op.getALog())
      .add("dt_bias", op.getDtBias());
  query.add("state_weight", op.getStateWeight()).add("documents", op.getDocuments());
  query.set("batch", size.batch).set("sequence", size.sequence).set("heads", size.heads);
  return query.set("key", size.key).set("value", size.value);
}

template <typename Op> static KernelQuery &setScan(KernelQuery &query, Op op) {
  setInputs(query, op);
  addCaches(query, op.getCachedAttr(), op.getCaches());
  return query;
}

KernelQuery M2rnnScanOp::getKernelQuery() {
  KernelQuery query("m2rnn_scan");
  return setScan(query.add("y", getY()), *this);
}

KernelQuery M2rnnScanGradOp::getKernelQuery() {
  KernelQuery query("m2rnn_scan_grad");
  query.add("d_q", getDQ())
      .add("d_k", getDK())
      .add("d_v", getDV())
      .add("d_f", getDF())
      .add("d_a_log", getDALog())
      .add("d_dt_bias", getDDtBias());
  return setScan(query.add("d_state_weight", getDStateWeight()).add("d_y", getDY()), *this);
}

KernelQuery M2rnnStateNormOp::getKernelQuery() {
  KernelQuery query("m2rnn_state_norm");
  return setInputs(query.add("norm", getNorm()), *this).setReal("share", getShare().convertToDouble());
}

OpCost M2rnnScanOp::getCost() {
  OpCost cost = getMemoryCost(*this);
  cost.flops = ScanSizes(*this).getFlops().get();
  return cost;
}

OpCost M2rnnScanGradOp::getCost() {
  OpCost cost = getMemoryCost(*this);
  cost.flops = (2 * ScanSizes(*this).getFlops()).get();
  return cost;
}

OpCost M2rnnStateNormOp::getCost() {
  OpCost cost = getMemoryCost(*this);
  cost.flops = ScanSizes(*this).getFlops().get();
  return cost;
}

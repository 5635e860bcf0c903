//===- M2rnn.cpp - convolution, recurrence and gate of M2RNN --------------===//
#include "dialects/Step/Step.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

/// Without a gradient of the first result there is nothing to build from.
static bool lacksGradient(ValueRange resultGradients) { return resultGradients.empty() || !resultGradients.front(); }

/// Null for a value that is absent.
static void addOptional(KernelQuery &query, unsigned &index, Value value) {
  if (value)
    query.addOperand(index++);
  else
    query.addNull();
}

//===- causal_conv --------------------------------------------------------===//

LogicalResult CausalConvOp::verify() {
  int64_t rows = getBatch() * getSequence(), channels = getDim(getX(), 1);
  if (getY().getType() != getX().getType() || getDim(getX(), 0) != rows || getDim(getWeight(), 0) != channels ||
      (getBias() && getCount(getBias()) != channels) || (getDocuments() && getCount(getDocuments()) != rows))
    return emitOpError("has x ") << getX().getType() << ", weight " << getWeight().getType() << " and result " << getY().getType() << " for "
                                 << rows << " rows";
  return success();
}

SmallVector<Value> CausalConvOp::getSavedValues() { return SmallVector<Value>(getOperands()); }

Gradients CausalConvOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  auto d_bias = RankedTensorType::get({getDim(getX(), 1)}, builder.getF32Type());
  auto grad = CausalConvGradOp::create(builder, getLoc(), getX().getType(), getWeight().getType(), d_bias, resultGradients[0], saved[0],
                                       saved[1], getBias() ? saved[2] : Value(), getDocuments() ? saved.back() : Value(), getBatchAttr(),
                                       getSequenceAttr(), getSiluAttr());
  SmallVector<Value> gradients = {grad.getDX(), grad.getDWeight()};
  if (getBias())
    gradients.push_back(grad.getDBias());
  gradients.resize(getNumOperands());
  return gradients;
}

template <typename Op>
static ShardingRule getConvRule(Op op, StringRef operands, StringRef results) {
  std::string optional = std::string(op.getBias() ? ", [c]" : "") + (op.getDocuments() ? ", [b, s]" : "");
  return ShardingRule::get(("(" + operands + optional + ") -> (" + results + " replicate{s w}").str(),
                           {{"b", op.getBatch()}, {"s", op.getSequence()}, {"c", getDim(op.getX(), 1)}, {"w", getDim(op.getWeight(), 1)}});
}

ShardingRule CausalConvOp::getShardingRule() { return getConvRule(*this, "[b s, c], [c, w]", "[b s, c])"); }
ShardingRule CausalConvGradOp::getShardingRule() {
  return getConvRule(*this, "[b s, c], [b s, c], [c, w]", "[b s, c], [c, w], [c]) reduce{b}");
}

/// `first` operands, then bias and documents; the workspace holds `arrays` times the taps.
template <typename Op>
static KernelQuery getConvQuery(StringRef kernel, Op op, unsigned first, int64_t arrays) {
  int64_t channels = getDim(op.getX(), 1), width = getDim(op.getWeight(), 1);
  KernelQuery query;
  query.kernel = kernel.str();
  query.ints = {int64_t(op.getBatch()), int64_t(op.getSequence()), channels, width, op.getSilu()};
  query.workspaceBytes = 4 * arrays * channels * width;
  for (unsigned index = 0; index < op->getNumResults(); ++index)
    query.addResult(index);
  unsigned index = 0;
  while (index < first)
    query.addOperand(index++);
  addOptional(query, index, op.getBias());
  addOptional(query, index, op.getDocuments());
  return query;
}

KernelQuery CausalConvOp::getKernelQuery() { return getConvQuery("mg_causal_conv", *this, 2, 1); }

KernelQuery CausalConvGradOp::getKernelQuery() {
  KernelQuery query = getConvQuery("mg_causal_conv_grad", *this, 3, 2);
  query.ints.push_back(0);
  query.accumulateIndex = 5;
  query.gradientResult = 1;
  return query;
}

//===- skip_gate ----------------------------------------------------------===//

LogicalResult SkipGateOp::verify() {
  if (cast<RankedTensorType>(getSkip().getType()).getRank() != 2 || getCount(getSkip()) != getDim(getX(), 1))
    return emitOpError("has a skip of ") << getSkip().getType() << " for " << getDim(getX(), 1) << " columns";
  return success();
}

SmallVector<Value> SkipGateOp::getSavedValues() { return SmallVector<Value>(getOperands()); }

Gradients SkipGateOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  Type type = getX().getType();
  auto grad = SkipGateGradOp::create(builder, getLoc(), type, type, type, getSkip().getType(), resultGradients[0], saved[0], saved[1],
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

KernelQuery SkipGateOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_skip_gate";
  query.ints = {getDim(getX(), 0), getDim(getX(), 1)};
  query.inPlace = {{0, 0}, {0, 1}, {0, 2}};
  return query;
}

KernelQuery SkipGateGradOp::getKernelQuery() {
  int64_t rows = getDim(getX(), 0), cols = getDim(getX(), 1);
  KernelQuery query;
  query.kernel = "mg_skip_gate_grad";
  query.ints = {rows, cols, 0};
  query.workspaceBytes = 4 * ((rows + 63) / 64) * cols;
  query.accumulateIndex = 2;
  query.gradientResult = 3;
  return query;
}

//===- m2rnn_scan ---------------------------------------------------------===//

namespace {
/// The sizes of a scan, from its shapes.
struct ScanSizes {
  template <typename Op>
  explicit ScanSizes(Op op)
      : batch(op.getBatch()), sequence(op.getSequence()), interval(op.getInterval()), heads(getDim(op.getF(), 1)), key(getDim(op.getQ(), 1)),
        value(getDim(op.getStateWeight(), 2)) {}

  /// Floats of the kernels' scratch, as kernels.def says.
  int64_t getForwardScratch() const { return slots * (cols * cols + 2 * rows + cols + 2 * rows * cols); }
  int64_t getBackwardScratch() const {
    return slots * (2 * cols * cols + 2 * rows + 2 * cols + (2 * interval + 1) * rows * cols) +
           batch * heads * (rows * cols + cols * cols + 2 + 2 * interval * rows);
  }
  int64_t getFlops() const { return batch * sequence * heads * (2 * key * value * value + 7 * key * value); }

  int64_t batch, sequence, interval, heads, key, value;
  int64_t slots = std::min<int64_t>(batch * heads, 32), rows = llvm::alignTo(key, 8), cols = llvm::alignTo(value, 8);
  int64_t blocks = llvm::divideCeil(sequence, interval);
};
} // namespace

LogicalResult M2rnnScanOp::verify() {
  if (getInterval() < 1)
    return emitOpError("needs an 'interval' of at least one token");
  ScanSizes size(*this);
  int64_t tokens = size.batch * size.sequence;
  auto has = [&](Value value, ArrayRef<int64_t> shape) { return cast<RankedTensorType>(value.getType()).getShape() == shape; };
  if (!has(getQ(), {tokens, size.key}) || !has(getK(), {tokens, size.key}) || !has(getV(), {tokens, size.heads * size.value}) ||
      !has(getF(), {tokens, size.heads}) || !has(getALog(), {size.heads}) || !has(getDtBias(), {size.heads}) ||
      !has(getStateWeight(), {size.heads, size.value, size.value}) || getY().getType() != getV().getType() ||
      !has(getStates(), {size.batch, size.heads, size.blocks, size.key, size.value}) ||
      (getDocuments() && getCount(getDocuments()) != tokens))
    return emitOpError("has shapes that do not follow from its sizes: q ")
           << getQ().getType() << ", v " << getV().getType() << ", f " << getF().getType() << ", state_weight " << getStateWeight().getType()
           << ", states " << getStates().getType();
  return success();
}

SmallVector<Value> M2rnnScanOp::getSavedValues() {
  SmallVector<Value> saved = {getStates()};
  saved.append(getOperands().begin(), getOperands().end());
  return saved;
}

Gradients M2rnnScanOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients) || resultGradients[1])
    return failure();
  ValueTypeRange<OperandRange> types = getOperands().take_front(7).getTypes();
  auto grad = M2rnnScanGradOp::create(builder, getLoc(), types, resultGradients[0], saved[0], saved[1], saved[2], saved[3], saved[4],
                                      saved[5], saved[6], saved[7], saved.size() > 8 ? saved[8] : Value(), getBatchAttr(), getSequenceAttr(),
                                      getIntervalAttr());
  SmallVector<Value> gradients(grad.getResults());
  gradients.resize(getNumOperands());
  return gradients;
}

template <typename Op>
static ShardingRule getScanRule(Op op, StringRef first, StringRef results, StringRef kinds) {
  ScanSizes size(op);
  std::string documents = op.getDocuments() ? ", [b, s]" : "";
  return ShardingRule::get(("(" + first + "[b s, k], [b s, k], [b s, h v], [b s, h], [h], [h], [h, u, v]" + documents + ") -> (" + results +
                            ") " + kinds).str(),
                           {{"b", size.batch}, {"s", size.sequence}, {"h", size.heads}, {"k", size.key}, {"v", size.value}, {"u", size.value},
                            {"n", size.blocks}});
}

ShardingRule M2rnnScanOp::getShardingRule() {
  return getScanRule(*this, "", "[b s, h v], [b, h, n, k, v]", "replicate{s k v u n}");
}

ShardingRule M2rnnScanGradOp::getShardingRule() {
  return getScanRule(*this, "[b s, h v], [b, h, n, k, v], ", "[b s, k], [b s, k], [b s, h v], [b s, h], [h], [h], [h, u, v]",
                     "reduce{b h} replicate{s k v u n}");
}

template <typename Op>
static KernelQuery getScanQuery(StringRef kernel, Op op) {
  ScanSizes size(op);
  KernelQuery query;
  query.kernel = kernel.str();
  query.ints = {size.batch, size.sequence, size.heads, size.key, size.value, size.interval};
  addValues(query, op, !op.getDocuments());
  return query;
}

KernelQuery M2rnnScanOp::getKernelQuery() {
  KernelQuery query = getScanQuery("mg_m2rnn_scan", *this);
  query.workspaceBytes = 4 * ScanSizes(*this).getForwardScratch();
  return query;
}

KernelQuery M2rnnScanGradOp::getKernelQuery() {
  KernelQuery query = getScanQuery("mg_m2rnn_scan_grad", *this);
  query.workspaceBytes = 4 * ScanSizes(*this).getBackwardScratch();
  query.ints.push_back(0);
  query.accumulateIndex = 6;
  query.gradientResult = 6;
  return query;
}

OpCost M2rnnScanOp::getCost() {
  OpCost cost = getMemoryCost(*this);
  cost.flops = ScanSizes(*this).getFlops();
  return cost;
}

OpCost M2rnnScanGradOp::getCost() {
  OpCost cost = getMemoryCost(*this);
  cost.flops = 2 * ScanSizes(*this).getFlops();
  return cost;
}

// A residual of several streams.
#include "dialects/Step/Step.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

/// Streams x [T, streams*cols], one of them as `one` [T, cols], and the rows of the maps: `count` numbers for each token in `maps`.
static LogicalResult verifyStreams(Operation *op, Value x, Value one, Value maps, int64_t streams, int64_t count) {
  if (streams < 1 || getDim(one, 0) != getDim(x, 0) || getDim(one, 1) * streams != getDim(x, 1))
    return op->emitOpError("has ") << streams << " streams, " << x.getType() << " and " << one.getType();
  return expectShape(op, "maps", maps, {getDim(x, 0), count});
}

/// Numbers of a token: what maps are made of, and the maps post and res.
static int64_t countLogits(int64_t streams) { return streams * (streams + 2); }
static int64_t countMaps(int64_t streams) { return streams * (streams + 1); }

static OpCost getProductsCost(Operation *op, Value one, int64_t products) {
  OpCost cost = getMemoryCost(op);
  cost.flops = (Size(2) * getCount(one) * products).get();
  return cost;
}

/// The rule "`text` replicate{...}" of an op with streams x [t, n d], logits [t, m] and maps [t, k]; `kinds` are further factors that may
/// not be split.
static ShardingRule getStreamsRule(StringRef text, StringRef kinds, Value one, int64_t streams) {
  std::string whole = " replicate{n: a token's streams are mixed; k: maps of a token are made together" + kinds.str() + "}";
  return ShardingRule::get(
      text.str() + whole + " attributes{streams = n}",
      {{"t", getDim(one, 0)}, {"d", getDim(one, 1)}, {"n", streams}, {"m", countLogits(streams)}, {"k", countMaps(streams)}});
}

/// Of reading, too.
static constexpr char kReadKinds[] = "; m: maps of a token are made together; d: the mean is over the whole row";

// mhc_read.

LogicalResult MhcReadOp::verify() {
  int64_t logits = countLogits(getStreams());
  if (getIterations() < 1)
    return emitOpError("has ") << getIterations() << " iterations, expected at least 1";
  if (failed(verifyStreams(*this, getX(), getU(), getMaps(), getStreams(), countMaps(getStreams()))) ||
      failed(expectShape(*this, "logits", getLogits(), {getDim(getX(), 0), logits})))
    return failure();
  return expectShape(*this, "bias", getBias(), {logits});
}

LogicalResult MhcReadGradOp::verify() {
  int64_t logits = countLogits(getStreams());
  if (failed(verifyStreams(*this, getX(), getDU(), getDMaps(), getStreams(), countMaps(getStreams()))) ||
      failed(expectShape(*this, "logits", getLogits(), {getDim(getX(), 0), logits})) ||
      failed(expectShape(*this, "bias", getBias(), {logits})) || failed(expectLike(*this, "d_x", getDX(), getX())) ||
      failed(expectLike(*this, "d_logits", getDLogits(), getLogits())))
    return failure();
  return expectLike(*this, "d_bias", getDBias(), getBias());
}

SmallVector<Value> MhcReadOp::getSavedValues() { return {getX(), getLogits(), getBias()}; }

Gradients MhcReadOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0] || !resultGradients[1])
    return failure();
  auto grad = MhcReadGradOp::create(builder, getLoc(), getX().getType(), getLogits().getType(), getBias().getType(), resultGradients[0],
                                    resultGradients[1], saved[0], saved[1], saved[2], getStreamsAttr(), getIterationsAttr(), getEpsAttr());
  return SmallVector<Value>{grad.getDX(), grad.getDLogits(), grad.getDBias()};
}

OpCost MhcReadOp::getCost() { return getProductsCost(*this, getU(), getStreams()); }
OpCost MhcReadGradOp::getCost() { return getProductsCost(*this, getDU(), 2 * getStreams()); }

ShardingRule MhcReadOp::getShardingRule() {
  return getStreamsRule("([t, n d], [t, m], [m]) -> ([t, d], [t, k])", kReadKinds, getU(), getStreams());
}

ShardingRule MhcReadGradOp::getShardingRule() {
  return getStreamsRule("([t, d], [t, k], [t, n d], [t, m], [m]) -> ([t, n d], [t, m], [m]) reduce{t}", kReadKinds, getDU(), getStreams());
}

/// Sizes and constants that reading and its gradient share.
template <typename Op> static KernelQuery &setRead(KernelQuery &query, Op op, Value one) {
  query.set("rows", getDim(one, 0)).set("streams", op.getStreams()).set("cols", getDim(one, 1)).set("iterations", op.getIterations());
  return query.setReal("eps", op.getEps().convertToDouble());
}

KernelQuery MhcReadOp::getKernelQuery() {
  KernelQuery query("mhc_read");
  query.add("u", getU()).add("maps", getMaps()).add("x", getX()).add("logits", getLogits()).add("bias", getBias());
  return setRead(query, *this, getU());
}

KernelQuery MhcReadGradOp::getKernelQuery() {
  KernelQuery query("mhc_read_grad");
  query.add("d_x", getDX()).add("d_logits", getDLogits()).add("d_bias", getDBias()).add("d_u", getDU()).add("d_maps", getDMaps());
  query.add("x", getX()).add("logits", getLogits()).add("bias", getBias());
  return setRead(query, *this, getDU());
}

// mhc_write.

LogicalResult MhcWriteOp::verify() {
  if (failed(verifyStreams(*this, getX(), getV(), getMaps(), getStreams(), countMaps(getStreams()))))
    return failure();
  return expectLike(*this, "y", getY(), getX());
}

LogicalResult MhcWriteGradOp::verify() {
  if (failed(verifyStreams(*this, getX(), getV(), getMaps(), getStreams(), countMaps(getStreams()))) ||
      failed(expectLike(*this, "d_y", getDY(), getX())) || failed(expectLike(*this, "d_x", getDX(), getX())) ||
      failed(expectLike(*this, "d_v", getDV(), getV())))
    return failure();
  return expectLike(*this, "d_maps", getDMaps(), getMaps());
}

SmallVector<Value> MhcWriteOp::getSavedValues() { return {getX(), getV(), getMaps()}; }

Gradients MhcWriteOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto grad = MhcWriteGradOp::create(builder, getLoc(), getX().getType(), getV().getType(), getMaps().getType(), resultGradients[0],
                                     saved[0], saved[1], saved[2], getStreamsAttr());
  return SmallVector<Value>{grad.getDX(), grad.getDV(), grad.getDMaps()};
}

OpCost MhcWriteOp::getCost() { return getProductsCost(*this, getV(), countMaps(getStreams())); }
OpCost MhcWriteGradOp::getCost() { return getProductsCost(*this, getV(), 2 * countMaps(getStreams())); }

ShardingRule MhcWriteOp::getShardingRule() { return getStreamsRule("([t, n d], [t, d], [t, k]) -> ([t, n d])", "", getV(), getStreams()); }

ShardingRule MhcWriteGradOp::getShardingRule() {
  return getStreamsRule("([t, n d], [t, n d], [t, d], [t, k]) -> ([t, n d], [t, d], [t, k]) reduce{d}", "", getV(), getStreams());
}

KernelQuery MhcWriteOp::getKernelQuery() {
  KernelQuery query("mhc_write");
  query.add("y", getY()).add("x", getX()).add("v", getV()).add("maps", getMaps());
  return query.set("rows", getDim(getV(), 0)).set("streams", getStreams()).set("cols", getDim(getV(), 1));
}

KernelQuery MhcWriteGradOp::getKernelQuery() {
  KernelQuery query("mhc_write_grad");
  query.add("d_x", getDX()).add("d_v", getDV()).add("d_maps", getDMaps()).add("d_y", getDY());
  query.add("x", getX()).add("v", getV()).add("maps", getMaps());
  return query.set("rows", getDim(getV(), 0)).set("streams", getStreams()).set("cols", getDim(getV(), 1));
}

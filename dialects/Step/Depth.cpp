// Blocks that only some tokens enter.
#include "dialects/Step/Step.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

/// Rows that one batch row keeps, of all kept rows.
static int64_t getKept(Value rows, Value position) { return getDim(rows, 0) / getDim(position, 0); }

/// All rows x, the kept ones among them, and the position of each.
static LogicalResult verifyKept(Operation *op, Value x, Value kept, Value position) {
  int64_t batch = getDim(position, 0), sequence = getDim(position, 1), rows = getDim(kept, 0);
  if (getDim(x, 0) != batch * sequence || getDim(x, 1) != getDim(kept, 1) || rows < batch || rows % batch || rows > batch * sequence)
    return op->emitOpError("has rows ") << x.getType() << " and kept ones " << kept.getType() << " for positions " << position.getType();
  return success();
}

static LogicalResult verifyLogits(Operation *op, Value logits, Value position) {
  return expectShape(op, "logits", logits, {step::getCount(position), 1});
}

static ShardingRule getRule(StringRef text, Value position, int64_t keep = 0, int64_t cols = 0) {
  std::string kinds = " replicate{s: a row picks among all its tokens";
  kinds += keep ? "; k: a row's picks stand together}" : "}";
  return ShardingRule::get(text.str() + (text.contains("reduce{b s}") ? "" : kinds),
                           {{"b", getDim(position, 0)}, {"s", getDim(position, 1)}, {"k", keep}, {"d", cols}});
}

/// Sizes that all kernels of positions have.
static KernelQuery &setRows(KernelQuery &query, Value position) {
  return query.set("batch", getDim(position, 0)).set("sequence", getDim(position, 1));
}
static KernelQuery &setKept(KernelQuery &query, Value position, Value kept) {
  return setRows(query, position).set("keep", getKept(kept, position)).set("cols", getDim(kept, 1));
}

// mod_select.

LogicalResult ModSelectOp::verify() {
  if (getCount() < 1 || int64_t(getCount()) > getDim(getPosition(), 1))
    return emitOpError("keeps ") << getCount() << " of the " << getDim(getPosition(), 1) << " tokens of a row";
  return verifyLogits(*this, getLogits(), getPosition());
}

ShardingRule ModSelectOp::getShardingRule() { return getRule("([b s, one]) -> ([b, s])", getPosition()); }

KernelQuery ModSelectOp::getKernelQuery() {
  KernelQuery query("mod_select");
  return setRows(query.add("position", getPosition()).add("logits", getLogits()), getPosition()).set("keep", getCount());
}

// mod_take.

LogicalResult ModTakeOp::verify() { return verifyKept(*this, getX(), getY(), getPosition()); }

SmallVector<Value> ModTakeOp::getSavedValues() { return {getPosition()}; }

Gradients ModTakeOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  Value d_x = ModPutOp::create(builder, getLoc(), getX().getType(), resultGradients[0], Value(), saved[0]);
  return SmallVector<Value>{d_x, Value()};
}

ShardingRule ModTakeOp::getShardingRule() {
  return getRule("([b s, d], [b, s]) -> ([b k, d])", getPosition(), getKept(getY(), getPosition()), getDim(getY(), 1));
}

KernelQuery ModTakeOp::getKernelQuery() {
  KernelQuery query("mod_take");
  return setKept(query.add("y", getY()).add("x", getX()).add("position", getPosition()), getPosition(), getY());
}

// mod_put.

LogicalResult ModPutOp::verify() {
  if (failed(verifyKept(*this, getY(), getX(), getPosition())))
    return failure();
  return getLogits() ? verifyLogits(*this, getLogits(), getPosition()) : success();
}

LogicalResult ModPutGradOp::verify() {
  if (failed(verifyKept(*this, getDY(), getX(), getPosition())) || failed(verifyLogits(*this, getLogits(), getPosition())) ||
      failed(expectLike(*this, "d_x", getDX(), getX())))
    return failure();
  return expectLike(*this, "d_logits", getDLogits(), getLogits());
}

SmallVector<Value> ModPutOp::getSavedValues() {
  return getLogits() ? SmallVector<Value>{getX(), getLogits(), getPosition()} : SmallVector<Value>{getPosition()};
}

Gradients ModPutOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  if (!getLogits())
    return SmallVector<Value>{ModTakeOp::create(builder, getLoc(), getX().getType(), resultGradients[0], saved[0]).getY(), Value()};
  auto grad =
      ModPutGradOp::create(builder, getLoc(), getX().getType(), getLogits().getType(), resultGradients[0], saved[0], saved[1], saved[2]);
  return SmallVector<Value>{grad.getDX(), grad.getDLogits(), Value()};
}

ShardingRule ModPutOp::getShardingRule() {
  return getRule(getLogits() ? "([b k, d], [b s, one], [b, s]) -> ([b s, d])" : "([b k, d], [b, s]) -> ([b s, d])", getPosition(),
                 getKept(getX(), getPosition()), getDim(getX(), 1));
}

ShardingRule ModPutGradOp::getShardingRule() {
  return getRule("([b s, d], [b k, d], [b s, one], [b, s]) -> ([b k, d], [b s, one]) reduce{d}", getPosition(),
                 getKept(getX(), getPosition()), getDim(getX(), 1));
}

KernelQuery ModPutOp::getKernelQuery() {
  KernelQuery query("mod_put");
  query.add("y", getY()).add("x", getX()).add("logits", getLogits()).add("position", getPosition());
  return setKept(query, getPosition(), getX());
}

KernelQuery ModPutGradOp::getKernelQuery() {
  KernelQuery query("mod_put_grad");
  query.add("d_x", getDX()).add("d_logits", getDLogits()).add("d_y", getDY()).add("x", getX()).add("logits", getLogits());
  return setKept(query.add("position", getPosition()), getPosition(), getX());
}

// mod_loss.

LogicalResult ModLossOp::verify() {
  return failed(verifyLogits(*this, getLogits(), getPosition())) ? failure() : expectShape(*this, "loss", getLoss(), {1});
}

LogicalResult ModLossGradOp::verify() {
  if (failed(verifyLogits(*this, getLogits(), getPosition())))
    return failure();
  return expectLike(*this, "d_logits", getDLogits(), getLogits());
}

SmallVector<Value> ModLossOp::getSavedValues() { return {getLogits(), getPosition()}; }

/// It is a term of the objective and nothing else, so it makes its own gradient.
Gradients ModLossOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (resultGradients[0])
    return failure();
  double scale = getAux().convertToDouble() / double(getTokens()) / double(getConfigInteger(*this, "accumulate", 1));
  Value d_logits =
      ModLossGradOp::create(builder, getLoc(), getLogits().getType(), saved[0], saved[1], builder.getF64FloatAttr(scale)).getDLogits();
  return SmallVector<Value>{d_logits, Value()};
}

ShardingRule ModLossOp::getShardingRule() { return getRule("([b s, one], [b, s]) -> ([one]) reduce{b s}", getPosition()); }
ShardingRule ModLossGradOp::getShardingRule() {
  return ShardingRule::get("([b s, one], [b, s]) -> ([b s, one])", {{"b", getDim(getPosition(), 0)}, {"s", getDim(getPosition(), 1)}});
}

KernelQuery ModLossOp::getKernelQuery() {
  KernelQuery query("mod_loss");
  query.add("loss", getLoss()).add("logits", getLogits()).add("position", getPosition());
  return query.set("rows", step::getCount(getPosition())).set("tokens", getTokens()).setReal("aux", getAux().convertToDouble());
}

KernelQuery ModLossGradOp::getKernelQuery() {
  KernelQuery query("mod_loss_grad");
  query.add("d_logits", getDLogits()).add("logits", getLogits()).add("position", getPosition());
  return query.set("rows", step::getCount(getPosition())).setReal("scale", getScale().convertToDouble());
}

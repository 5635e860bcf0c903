// Embedding, norms, projections, pointwise.
#include "dialects/Step/Step.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;
using Effects = SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;

/// Without a gradient of the first result there is nothing to build from.
static bool lacksGradient(ValueRange resultGradients) { return resultGradients.empty() || !resultGradients.front(); }

// Embedding.

static LogicalResult verifyLookup(Operation *op, Value rows, Value tokens, Value table) {
  int64_t cols = getDim(table, 1);
  if (getCount(rows) == getCount(tokens) * cols && getDim(rows, 1) % cols == 0)
    return success();
  return op->emitOpError("has rows of ") << rows.getType() << " for tokens of " << tokens.getType() << " and a table of "
                                         << table.getType();
}

LogicalResult EmbeddingOp::verify() { return verifyLookup(*this, getY(), getTokens(), getTable()); }
LogicalResult EmbeddingGradOp::verify() { return verifyLookup(*this, getDY(), getTokens(), getDTable()); }

void EmbeddingOp::getEffects(Effects &effects) { getFlagEffects({getInvalidAttr()}, effects); }
void EmbeddingOp::dropFlags() { removeInvalidAttr(); }

SmallVector<Value> EmbeddingOp::getSavedValues() { return {getTokens()}; }

Gradients EmbeddingOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  auto grad = EmbeddingGradOp::create(builder, getLoc(), getF32Like(getTable()), resultGradients[0], saved[0], getVocabAxisAttr());
  return SmallVector<Value>{grad.getDTable(), Value()};
}

/// One id per row of the result, or several side by side.
static ShardingRule getLookupRule(StringRef one, StringRef several, Value rows, Value ids, Value table) {
  return ShardingRule::get(getDim(rows, 0) == getCount(ids) ? one : several,
                           {{"v", getDim(table, 0)}, {"d", getDim(table, 1)}, {"b", getDim(ids, 0)}, {"s", getDim(ids, 1)}});
}

ShardingRule EmbeddingOp::getShardingRule() {
  return getLookupRule("([v, d], [b, s]) -> ([b s, d]) reduce{v} attributes{vocab_axis @ v}",
                       "([v, d], [b, s]) -> ([b, s d]) reduce{v} attributes{vocab_axis @ v}", getY(), getTokens(), getTable());
}

ShardingRule EmbeddingGradOp::getShardingRule() {
  return getLookupRule("([b s, d], [b, s]) -> ([v, d]) reduce{b s} linear{0} attributes{vocab_axis @ v}",
                       "([b, s d], [b, s]) -> ([v, d]) reduce{b s} linear{0} attributes{vocab_axis @ v}", getDY(), getTokens(),
                       getDTable());
}

KernelQuery EmbeddingOp::getKernelQuery() {
  KernelQuery query("embedding");
  query.add("y", getY()).add("table", getTable()).add("tokens", getTokens());
  if (getInvalid())
    query.addState("invalid", LaunchOperand::Kind::Metric, *getInvalid(), RankedTensorType::get({1}, Float32Type::get(getContext())));
  return query.set("rows", getCount(getTokens()))
      .set("cols", getDim(getTable(), 1))
      .set("vocab", getDim(getTable(), 0))
      .set("vocab_axis", getVocabAxis());
}

KernelQuery EmbeddingGradOp::getKernelQuery() {
  KernelQuery query("embedding_grad");
  query.add("d_table", getDTable()).add("d_y", getDY()).add("tokens", getTokens());
  return query.set("rows", getCount(getTokens()))
      .set("cols", getDim(getDTable(), 1))
      .set("vocab", getDim(getDTable(), 0))
      .set("vocab_axis", getVocabAxis());
}

// rms_norm.

LogicalResult RmsNormOp::verify() {
  if (failed(expectLike(*this, "y", getY(), getX())) || failed(expectShape(*this, "weight", getWeight(), {getDim(getX(), 1)})))
    return failure();
  return verifyCaches(*this, getCachedAttr(), getCaches());
}

LogicalResult RmsNormGradOp::verify() {
  if (failed(expectLike(*this, "d_y", getDY(), getX())) || failed(expectLike(*this, "d_x", getDX(), getX())) ||
      failed(expectShape(*this, "weight", getWeight(), {getDim(getX(), 1)})) ||
      failed(expectLike(*this, "d_weight", getDWeight(), getWeight())))
    return failure();
  return verifyCaches(*this, getCachedAttr(), getCaches());
}

void RmsNormOp::getEffects(Effects &effects) { getFlagEffects({getNonfiniteAttr()}, effects); }
void RmsNormOp::dropFlags() { removeNonfiniteAttr(); }

SmallVector<Value> RmsNormOp::getSavedValues() { return {getX(), getWeight()}; }

Gradients RmsNormOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  auto grad = RmsNormGradOp::create(builder, getLoc(), getX().getType(), getF32Like(getWeight()), resultGradients[0], saved[0], saved[1],
                                    ValueRange(), getEpsAttr(), ArrayAttr());
  return SmallVector<Value>{grad.getDX(), grad.getDWeight()};
}

ShardingRule RmsNormOp::getShardingRule() {
  return ShardingRule::get("([t, d], [d]) -> ([t, d]) replicate{d: the mean is over the whole row}",
                           {{"t", getDim(getX(), 0)}, {"d", getDim(getX(), 1)}});
}

ShardingRule RmsNormGradOp::getShardingRule() {
  return ShardingRule::get("([t, d], [t, d], [d]) -> ([t, d], [d]) reduce{t} replicate{d: the mean is over the whole row}",
                           {{"t", getDim(getX(), 0)}, {"d", getDim(getX(), 1)}});
}

KernelQuery RmsNormOp::getKernelQuery() {
  KernelQuery query("rms_norm");
  query.add("y", getY()).add("x", getX()).add("weight", getWeight());
  if (getNonfinite())
    query.addState("nonfinite", LaunchOperand::Kind::Metric, *getNonfinite(), RankedTensorType::get({1}, Float32Type::get(getContext())));
  addCaches(query, getCachedAttr(), getCaches());
  return query.set("rows", getDim(getX(), 0)).set("cols", getDim(getX(), 1)).setReal("eps", getEps().convertToDouble());
}

KernelQuery RmsNormGradOp::getKernelQuery() {
  KernelQuery query("rms_norm_grad");
  query.add("d_x", getDX()).add("d_weight", getDWeight()).add("d_y", getDY()).add("x", getX()).add("weight", getWeight());
  addCaches(query, getCachedAttr(), getCaches());
  return query.set("rows", getDim(getX(), 0)).set("cols", getDim(getX(), 1)).setReal("eps", getEps().convertToDouble());
}

// layer_norm.

LogicalResult LayerNormOp::verify() {
  int64_t cols = getDim(getX(), 1);
  if (failed(expectLike(*this, "y", getY(), getX())) || failed(expectShape(*this, "weight", getWeight(), {cols})))
    return failure();
  return expectShape(*this, "bias", getBias(), {cols});
}

LogicalResult LayerNormGradOp::verify() {
  if (failed(expectLike(*this, "d_y", getDY(), getX())) || failed(expectLike(*this, "d_x", getDX(), getX())) ||
      failed(expectShape(*this, "weight", getWeight(), {getDim(getX(), 1)})) ||
      failed(expectLike(*this, "d_weight", getDWeight(), getWeight())))
    return failure();
  return expectLike(*this, "d_bias", getDBias(), getWeight());
}

SmallVector<Value> LayerNormOp::getSavedValues() { return {getX(), getWeight()}; }

Gradients LayerNormOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  RankedTensorType sums = getF32Like(getWeight());
  auto grad =
      LayerNormGradOp::create(builder, getLoc(), getX().getType(), sums, sums, resultGradients[0], saved[0], saved[1], getEpsAttr());
  return SmallVector<Value>{grad.getDX(), grad.getDWeight(), grad.getDBias()};
}

ShardingRule LayerNormOp::getShardingRule() {
  return ShardingRule::get("([t, d], [d], [d]) -> ([t, d]) replicate{d: the mean is over the whole row}",
                           {{"t", getDim(getX(), 0)}, {"d", getDim(getX(), 1)}});
}

ShardingRule LayerNormGradOp::getShardingRule() {
  return ShardingRule::get("([t, d], [t, d], [d]) -> ([t, d], [d], [d]) reduce{t} replicate{d: the mean is over the whole row}",
                           {{"t", getDim(getX(), 0)}, {"d", getDim(getX(), 1)}});
}

KernelQuery LayerNormOp::getKernelQuery() {
  KernelQuery query("layer_norm");
  query.add("y", getY()).add("x", getX()).add("weight", getWeight()).add("bias", getBias());
  return query.set("rows", getDim(getX(), 0)).set("cols", getDim(getX(), 1)).setReal("eps", getEps().convertToDouble());
}

KernelQuery LayerNormGradOp::getKernelQuery() {
  KernelQuery query("layer_norm_grad");
  query.add("d_x", getDX()).add("d_weight", getDWeight()).add("d_bias", getDBias()).add("d_y", getDY()).add("x", getX());
  query.add("weight", getWeight());
  return query.set("rows", getDim(getX(), 0)).set("cols", getDim(getX(), 1)).setReal("eps", getEps().convertToDouble());
}

// dyt.

/// weight and bias by column, one alpha.
static LogicalResult verifyDyt(Operation *op, Value x, Value weight, Value bias, Value alpha) {
  int64_t cols = getDim(x, 1);
  if (failed(expectShape(op, "weight", weight, {cols})) || failed(expectShape(op, "bias", bias, {cols})))
    return failure();
  return expectShape(op, "alpha", alpha, {1});
}

LogicalResult DytOp::verify() {
  return failed(expectLike(*this, "y", getY(), getX())) ? failure() : verifyDyt(*this, getX(), getWeight(), getBias(), getAlpha());
}

LogicalResult DytGradOp::verify() {
  if (failed(verifyDyt(*this, getX(), getWeight(), getDBias(), getAlpha())) || failed(expectLike(*this, "d_y", getDY(), getX())) ||
      failed(expectLike(*this, "d_x", getDX(), getX())) || failed(expectLike(*this, "d_weight", getDWeight(), getWeight())))
    return failure();
  return expectLike(*this, "d_alpha", getDAlpha(), getAlpha());
}

void DytOp::getEffects(Effects &effects) { getFlagEffects({getNonfiniteAttr()}, effects); }
void DytOp::dropFlags() { removeNonfiniteAttr(); }

SmallVector<Value> DytOp::getSavedValues() { return {getX(), getWeight(), getAlpha()}; }

Gradients DytOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  RankedTensorType sums = getF32Like(getWeight());
  auto grad = DytGradOp::create(builder, getLoc(), getX().getType(), sums, sums, getF32Like(getAlpha()), resultGradients[0], saved[0],
                                saved[1], saved[2]);
  return SmallVector<Value>(grad.getResults());
}

ShardingRule DytOp::getShardingRule() {
  return ShardingRule::get("([t, d], [d], [d], [one]) -> ([t, d])", {{"t", getDim(getX(), 0)}, {"d", getDim(getX(), 1)}});
}

ShardingRule DytGradOp::getShardingRule() {
  return ShardingRule::get("([t, d], [t, d], [d], [one]) -> ([t, d], [d], [d], [one]) reduce{t d} linear{0}",
                           {{"t", getDim(getX(), 0)}, {"d", getDim(getX(), 1)}});
}

KernelQuery DytOp::getKernelQuery() {
  KernelQuery query("dyt");
  query.add("y", getY()).add("x", getX()).add("weight", getWeight()).add("bias", getBias()).add("alpha", getAlpha());
  if (getNonfinite())
    query.addState("nonfinite", LaunchOperand::Kind::Metric, *getNonfinite(), RankedTensorType::get({1}, Float32Type::get(getContext())));
  return query.set("rows", getDim(getX(), 0)).set("cols", getDim(getX(), 1));
}

KernelQuery DytGradOp::getKernelQuery() {
  KernelQuery query("dyt_grad");
  query.add("d_x", getDX()).add("d_weight", getDWeight()).add("d_bias", getDBias()).add("d_alpha", getDAlpha()).add("d_y", getDY());
  query.add("x", getX()).add("weight", getWeight()).add("alpha", getAlpha());
  return query.set("rows", getDim(getX(), 0)).set("cols", getDim(getX(), 1));
}

// Scale.

static LogicalResult verifyScale(Operation *op, Value x, Value scale) {
  int64_t cols = getDim(x, 1), count = getCount(scale);
  if (cast<RankedTensorType>(scale.getType()).getRank() == 1 && (count == cols || count == 1))
    return success();
  return op->emitOpError("has a scale of ") << scale.getType() << " for " << cols << " columns, expected " << cols << " numbers or one";
}

LogicalResult ScaleOp::verify() {
  return failed(verifyScale(*this, getX(), getScale())) ? failure() : expectLike(*this, "y", getY(), getX());
}

LogicalResult ScaleGradOp::verify() {
  if (failed(verifyScale(*this, getX(), getScale())) || failed(expectLike(*this, "d_y", getDY(), getX())) ||
      failed(expectLike(*this, "d_x", getDX(), getX())))
    return failure();
  return expectLike(*this, "d_scale", getDScale(), getScale());
}

SmallVector<Value> ScaleOp::getSavedValues() { return {getX(), getScale()}; }

Gradients ScaleOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  auto grad = ScaleGradOp::create(builder, getLoc(), getX().getType(), getF32Like(getScale()), resultGradients[0], saved[0], saved[1]);
  return SmallVector<Value>(grad.getResults());
}

static ShardingRule getScaleRule(Value x, Value scale, StringRef byColumn, StringRef byNumber) {
  return ShardingRule::get(getCount(scale) == getDim(x, 1) ? byColumn : byNumber, {{"t", getDim(x, 0)}, {"d", getDim(x, 1)}});
}

ShardingRule ScaleOp::getShardingRule() {
  return getScaleRule(getX(), getScale(), "([t, d], [d]) -> ([t, d]) linear{0}", "([t, d], [one]) -> ([t, d]) linear{0}");
}

ShardingRule ScaleGradOp::getShardingRule() {
  return getScaleRule(getX(), getScale(), "([t, d], [t, d], [d]) -> ([t, d], [d]) reduce{t} linear{0}",
                      "([t, d], [t, d], [one]) -> ([t, d], [one]) reduce{t d} linear{0}");
}

KernelQuery ScaleOp::getKernelQuery() {
  KernelQuery query("scale");
  query.add("y", getY()).add("x", getX()).add("scale", getScale());
  return query.set("rows", getDim(getX(), 0)).set("cols", getDim(getX(), 1)).set("scales", getCount(getScale()));
}

KernelQuery ScaleGradOp::getKernelQuery() {
  KernelQuery query("scale_grad");
  query.add("d_x", getDX()).add("d_scale", getDScale()).add("d_y", getDY()).add("x", getX()).add("scale", getScale());
  return query.set("rows", getDim(getX(), 0)).set("cols", getDim(getX(), 1)).set("scales", getCount(getScale()));
}

// Linear.

LogicalResult LinearOp::verify() {
  if (getDim(getX(), 1) != getDim(getWeight(), 1))
    return emitOpError("has ") << getDim(getX(), 1) << " input columns, but its weight takes " << getDim(getWeight(), 1);
  return expectShape(*this, "y", getY(), {getDim(getX(), 0), getDim(getWeight(), 0)});
}

LogicalResult LinearGradInputOp::verify() {
  if (getDim(getDY(), 1) != getDim(getWeight(), 0))
    return emitOpError("has ") << getDim(getDY(), 1) << " output columns, but its weight makes " << getDim(getWeight(), 0);
  return expectShape(*this, "d_x", getDX(), {getDim(getDY(), 0), getDim(getWeight(), 1)});
}

LogicalResult LinearGradWeightOp::verify() {
  if (getDim(getDY(), 0) != getDim(getX(), 0))
    return emitOpError("has ") << getDim(getDY(), 0) << " rows of d_y and " << getDim(getX(), 0) << " of x";
  return expectShape(*this, "d_weight", getDWeight(), {getDim(getDY(), 1), getDim(getX(), 1)});
}

SmallVector<Value> LinearOp::getSavedValues() { return {getX(), getWeight()}; }

Gradients LinearOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  Value d_weight = LinearGradWeightOp::create(builder, getLoc(), getF32Like(getWeight()), resultGradients[0], saved[0]);
  // x may be a parameter, whose gradient is f32.
  Type d_x_type = getX().getDefiningOp<ReadOp>() ? getF32Like(getX()) : getX().getType();
  Value d_x = LinearGradInputOp::create(builder, getLoc(), d_x_type, resultGradients[0], saved[1]);
  return SmallVector<Value>{d_x, d_weight};
}

/// Rows, inputs and outputs of one of the three products.
static KernelQuery &setProduct(KernelQuery &query, Value input, Value output) {
  return query.set("rows", getDim(input, 0)).set("in", getDim(input, 1)).set("out", getDim(output, 1));
}

static OpCost getProductCost(Operation *op, Value input, Value output) {
  OpCost cost = getMemoryCost(op);
  cost.flops = (Size(2) * getDim(input, 0) * getDim(input, 1) * getDim(output, 1)).get();
  return cost;
}

static ShardingRule getProductRule(StringRef text, Value input, Value output) {
  return ShardingRule::get(text, {{"t", getDim(input, 0)}, {"i", getDim(input, 1)}, {"o", getDim(output, 1)}});
}

OpCost LinearOp::getCost() { return getProductCost(*this, getX(), getY()); }
OpCost LinearGradInputOp::getCost() { return getProductCost(*this, getDX(), getDY()); }
OpCost LinearGradWeightOp::getCost() { return getProductCost(*this, getX(), getDY()); }

ShardingRule LinearOp::getShardingRule() { return getProductRule("([t, i], [o, i]) -> ([t, o]) reduce{i} linear{0; 1}", getX(), getY()); }
ShardingRule LinearGradInputOp::getShardingRule() {
  return getProductRule("([t, o], [o, i]) -> ([t, i]) reduce{o} linear{0; 1}", getDX(), getDY());
}
ShardingRule LinearGradWeightOp::getShardingRule() {
  return getProductRule("([t, o], [t, i]) -> ([o, i]) reduce{t} linear{0; 1}", getX(), getDY());
}

KernelQuery LinearOp::getKernelQuery() {
  KernelQuery query("linear");
  return setProduct(query.add("y", getY()).add("x", getX()).add("weight", getWeight()), getX(), getY());
}
KernelQuery LinearGradInputOp::getKernelQuery() {
  KernelQuery query("linear_grad_input");
  return setProduct(query.add("d_x", getDX()).add("d_y", getDY()).add("weight", getWeight()), getDX(), getDY());
}
KernelQuery LinearGradWeightOp::getKernelQuery() {
  KernelQuery query("linear_grad_weight");
  return setProduct(query.add("d_weight", getDWeight()).add("d_y", getDY()).add("x", getX()), getX(), getDY());
}

// Add.

SmallVector<Value> AddOp::getSavedValues() { return {}; }

Gradients AddOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  return SmallVector<Value>{resultGradients[0], resultGradients[0]};
}

ShardingRule AddOp::getShardingRule() {
  ShardingRule rule = ShardingRule::getPointwise(2, cast<RankedTensorType>(getY().getType()).getShape());
  rule.linear = {{{0, 1}, {}}};
  return rule;
}

KernelQuery AddOp::getKernelQuery() {
  KernelQuery query("add");
  return query.add("y", getY()).add("a", getA()).add("b", getB()).set("count", getCount(getY()));
}

// Activation.

static LogicalResult verifyActivation(Operation *op, Activation kind, Value x, Value y) {
  int64_t halves = kind == Activation::swiglu ? 2 : 1;
  if (getDim(x, 1) == getDim(y, 1) * halves && getDim(x, 0) == getDim(y, 0))
    return success();
  return op->emitOpError("of kind \"") << stringifyActivation(kind) << "\" makes " << y.getType() << " from " << x.getType();
}

LogicalResult ActivationOp::verify() { return verifyActivation(*this, getKind(), getX(), getY()); }

LogicalResult ActivationGradOp::verify() {
  return failed(verifyActivation(*this, getKind(), getX(), getDY())) ? failure() : expectLike(*this, "d_x", getDX(), getX());
}

SmallVector<Value> ActivationOp::getSavedValues() { return {getX()}; }

Gradients ActivationOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  Value d_x = ActivationGradOp::create(builder, getLoc(), getX().getType(), getKindAttr(), resultGradients[0], saved[0]);
  return SmallVector<Value>{d_x};
}

ShardingRule ActivationOp::getShardingRule() {
  StringRef text = getKind() == Activation::swiglu ? "([t, gate.w up.w]) -> ([t, w])" : "([t, w]) -> ([t, w])";
  return ShardingRule::get(text, {{"t", getDim(getY(), 0)}, {"w", getDim(getY(), 1)}});
}

ShardingRule ActivationGradOp::getShardingRule() {
  StringRef text = getKind() == Activation::swiglu ? "([t, w], [t, gate.w up.w]) -> ([t, gate.w up.w]) linear{0}"
                                                   : "([t, w], [t, w]) -> ([t, w]) linear{0}";
  return ShardingRule::get(text, {{"t", getDim(getDY(), 0)}, {"w", getDim(getDY(), 1)}});
}

KernelQuery ActivationOp::getKernelQuery() {
  KernelQuery query("activation");
  query.add("y", getY()).add("x", getX());
  return query.set("rows", getDim(getY(), 0)).set("width", getDim(getY(), 1)).set("kind", int64_t(getKind()));
}

KernelQuery ActivationGradOp::getKernelQuery() {
  KernelQuery query("activation_grad");
  query.add("d_x", getDX()).add("d_y", getDY()).add("x", getX());
  return query.set("rows", getDim(getDY(), 0)).set("width", getDim(getDY(), 1)).set("kind", int64_t(getKind()));
}

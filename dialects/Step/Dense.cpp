//===- Dense.cpp - embedding, norms, projections, pointwise ---------------===//
#include "dialects/Step/Step.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

/// Without a gradient of the first result there is nothing to build from.
static bool lacksGradient(ValueRange resultGradients) { return resultGradients.empty() || !resultGradients.front(); }

//===- embedding ----------------------------------------------------------===//

LogicalResult EmbeddingOp::verify() {
  if (getCount(getY()) != getCount(getTokens()) * getDim(getTable(), 1) || getDim(getY(), 1) % getDim(getTable(), 1))
    return emitOpError("has a result of ") << getY().getType() << " for tokens of " << getTokens().getType() << " and a table of "
                                           << getTable().getType();
  return success();
}

SmallVector<Value> EmbeddingOp::getSavedValues() { return {getTokens()}; }

Gradients EmbeddingOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  auto grad = EmbeddingGradOp::create(builder, getLoc(), getTable().getType(), resultGradients[0], saved[0]);
  return SmallVector<Value>{grad.getDTable(), Value()};
}

/// One id a row of the result, or several side by side.
static ShardingRule getLookupRule(StringRef one, StringRef several, Value rows, Value ids, Value table) {
  return ShardingRule::get(getDim(rows, 0) == getCount(ids) ? one : several, {{"v", getDim(table, 0)}, {"d", getDim(table, 1)},
                                                                              {"b", getDim(ids, 0)}, {"s", getDim(ids, 1)}});
}

ShardingRule EmbeddingOp::getShardingRule() {
  return getLookupRule("([v, d], [b, s]) -> ([b s, d]) reduce{v}", "([v, d], [b, s]) -> ([b, s d]) reduce{v}", getY(), getTokens(), getTable());
}

KernelQuery EmbeddingOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_embedding";
  query.ints = {getCount(getTokens()), getDim(getTable(), 1), getDim(getTable(), 0)};
  return query;
}

ShardingRule EmbeddingGradOp::getShardingRule() {
  return getLookupRule("([b s, d], [b, s]) -> ([v, d]) reduce{b s}", "([b, s d], [b, s]) -> ([v, d]) reduce{b s}", getDY(), getTokens(),
                       getDTable());
}

KernelQuery EmbeddingGradOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_embedding_grad";
  query.ints = {getCount(getTokens()), getDim(getDTable(), 1), getDim(getDTable(), 0), 0};
  query.accumulateIndex = 3;
  query.gradientResult = 0;
  return query;
}

//===- rms_norm -----------------------------------------------------------===//

LogicalResult RmsNormOp::verify() {
  if (getY().getType() != getX().getType() || getCount(getWeight()) != getDim(getX(), 1) || getCount(getRstd()) != getDim(getX(), 0))
    return emitOpError("has ") << getX().getType() << " with a weight of " << getWeight().getType() << " and results "
                               << getY().getType() << ", " << getRstd().getType();
  return success();
}

SmallVector<Value> RmsNormOp::getSavedValues() { return {getX(), getRstd(), getWeight()}; }

Gradients RmsNormOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients) || resultGradients[1])
    return failure();
  auto grad = RmsNormGradOp::create(builder, getLoc(), getX().getType(), getWeight().getType(), resultGradients[0], saved[0], saved[1],
                                    saved[2]);
  return SmallVector<Value>{grad.getDX(), grad.getDWeight()};
}

ShardingRule RmsNormOp::getShardingRule() {
  return ShardingRule::get("([t, d], [d]) -> ([t, d], [t]) replicate{d}", {{"t", getDim(getX(), 0)}, {"d", getDim(getX(), 1)}});
}

KernelQuery RmsNormOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_rms_norm";
  query.addResult(0), query.addResult(1);
  if (getNonfinite())
    query.addState(LaunchOperand::Kind::Metric, *getNonfinite(), 1);
  else
    query.addNull();
  query.addOperand(0), query.addOperand(1);
  query.ints = {getDim(getX(), 0), getDim(getX(), 1), 1};
  query.doubles = {getEps().convertToDouble()};
  return query;
}

ShardingRule RmsNormGradOp::getShardingRule() {
  return ShardingRule::get("([t, d], [t, d], [t], [d]) -> ([t, d], [d]) reduce{t} replicate{d}",
                           {{"t", getDim(getX(), 0)}, {"d", getDim(getX(), 1)}});
}

KernelQuery RmsNormGradOp::getKernelQuery() {
  int64_t rows = getDim(getX(), 0), cols = getDim(getX(), 1);
  KernelQuery query;
  query.kernel = "mg_rms_norm_grad";
  query.ints = {rows, cols, 0};
  query.workspaceBytes = 4 * ((rows + 63) / 64) * cols;
  query.accumulateIndex = 2;
  query.gradientResult = 1;
  return query;
}

//===- linear -------------------------------------------------------------===//

LogicalResult LinearOp::verify() {
  if (getDim(getX(), 1) != getDim(getWeight(), 1))
    return emitOpError("has ") << getDim(getX(), 1) << " input columns, but its weight takes " << getDim(getWeight(), 1);
  if (getDim(getY(), 0) != getDim(getX(), 0) || getDim(getY(), 1) != getDim(getWeight(), 0))
    return emitOpError("has a result of ") << getY().getType() << ", expected " << getDim(getX(), 0) << " x " << getDim(getWeight(), 0);
  return success();
}

SmallVector<Value> LinearOp::getSavedValues() { return {getX(), getWeight()}; }

Gradients LinearOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  Value d_weight = LinearGradWeightOp::create(builder, getLoc(), getWeight().getType(), resultGradients[0], saved[0]);
  Value d_x = LinearGradInputOp::create(builder, getLoc(), getX().getType(), resultGradients[0], saved[1]);
  return SmallVector<Value>{d_x, d_weight};
}

/// Rows, inputs and outputs of one of the three products.
static KernelQuery getProductQuery(StringRef kernel, Value input, Value output) {
  KernelQuery query;
  query.kernel = kernel.str();
  query.ints = {getDim(input, 0), getDim(input, 1), getDim(output, 1)};
  return query;
}

static OpCost getProductCost(Operation *op, Value input, Value output) {
  OpCost cost = getMemoryCost(op);
  cost.flops = 2 * getDim(input, 0) * getDim(input, 1) * getDim(output, 1);
  return cost;
}

static ShardingRule getProductRule(StringRef text, Value input, Value output) {
  return ShardingRule::get(text, {{"t", getDim(input, 0)}, {"i", getDim(input, 1)}, {"o", getDim(output, 1)}});
}

OpCost LinearOp::getCost() { return getProductCost(*this, getX(), getY()); }
OpCost LinearGradInputOp::getCost() { return getProductCost(*this, getDX(), getDY()); }
OpCost LinearGradWeightOp::getCost() { return getProductCost(*this, getX(), getDY()); }

ShardingRule LinearOp::getShardingRule() { return getProductRule("([t, i], [o, i]) -> ([t, o]) reduce{i}", getX(), getY()); }
ShardingRule LinearGradInputOp::getShardingRule() {
  return getProductRule("([t, o], [o, i]) -> ([t, i]) reduce{o}", getDX(), getDY());
}
ShardingRule LinearGradWeightOp::getShardingRule() {
  return getProductRule("([t, o], [t, i]) -> ([o, i]) reduce{t}", getX(), getDY());
}

KernelQuery LinearOp::getKernelQuery() { return getProductQuery("mg_linear", getX(), getY()); }
KernelQuery LinearGradInputOp::getKernelQuery() { return getProductQuery("mg_linear_grad_input", getDX(), getDY()); }
KernelQuery LinearGradWeightOp::getKernelQuery() {
  KernelQuery query = getProductQuery("mg_linear_grad_weight", getX(), getDY());
  query.ints.push_back(0);
  query.accumulateIndex = 3;
  query.gradientResult = 0;
  return query;
}

//===- add ----------------------------------------------------------------===//

SmallVector<Value> AddOp::getSavedValues() { return {}; }

Gradients AddOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  return SmallVector<Value>{resultGradients[0], resultGradients[0]};
}

ShardingRule AddOp::getShardingRule() {
  switch (cast<RankedTensorType>(getY().getType()).getRank()) {
  case 1:
    return ShardingRule::get("([a], [a]) -> ([a])", {{"a", getDim(getY(), 0)}});
  case 2:
    return ShardingRule::get("([a, b], [a, b]) -> ([a, b])", {{"a", getDim(getY(), 0)}, {"b", getDim(getY(), 1)}});
  default:
    return ShardingRule::get("([a, b, c], [a, b, c]) -> ([a, b, c])", {});
  }
}

KernelQuery AddOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_add";
  query.ints = {getCount(getY())};
  query.inPlace = {{0, 0}, {0, 1}};
  return query;
}

//===- activation ---------------------------------------------------------===//

/// The kernel's number of an activation, -1 if unknown.
static int64_t getActivation(StringRef kind) {
  static const StringRef kinds[] = {"gelu", "gelu_tanh", "relu2", "swiglu"};
  for (int64_t number = 0; number < 4; ++number)
    if (kinds[number] == kind)
      return number;
  return -1;
}

LogicalResult ActivationOp::verify() {
  int64_t number = getActivation(getKind());
  if (number < 0)
    return emitOpError("'kind' is \"") << getKind() << "\"; expected \"gelu\", \"gelu_tanh\", \"relu2\" or \"swiglu\"";
  if (getDim(getX(), 1) != getDim(getY(), 1) * (number == 3 ? 2 : 1))
    return emitOpError("of kind \"") << getKind() << "\" makes " << getDim(getY(), 1) << " columns from " << getDim(getX(), 1);
  return success();
}

SmallVector<Value> ActivationOp::getSavedValues() { return {getX()}; }

Gradients ActivationOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (lacksGradient(resultGradients))
    return failure();
  Value d_x = ActivationGradOp::create(builder, getLoc(), getX().getType(), resultGradients[0], saved[0], getKindAttr());
  return SmallVector<Value>{d_x};
}

ShardingRule ActivationOp::getShardingRule() {
  StringRef text = getKind() == "swiglu" ? "([t, gate.w up.w]) -> ([t, w])" : "([t, w]) -> ([t, w])";
  return ShardingRule::get(text, {{"t", getDim(getY(), 0)}, {"w", getDim(getY(), 1)}});
}

KernelQuery ActivationOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_activation";
  query.ints = {getDim(getY(), 0), getDim(getY(), 1), getActivation(getKind())};
  return query;
}

ShardingRule ActivationGradOp::getShardingRule() {
  StringRef text = getKind() == "swiglu" ? "([t, w], [t, gate.w up.w]) -> ([t, gate.w up.w])" : "([t, w], [t, w]) -> ([t, w])";
  return ShardingRule::get(text, {{"t", getDim(getDY(), 0)}, {"w", getDim(getDY(), 1)}});
}

KernelQuery ActivationGradOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_activation_grad";
  query.ints = {getDim(getDY(), 0), getDim(getDY(), 1), getActivation(getKind())};
  if (getKind() == "swiglu") // twice the width: only the input has room, and each element is read before it is written
    query.inPlace = {{0, 1}};
  else
    query.inPlace = {{0, 0}, {0, 1}};
  return query;
}

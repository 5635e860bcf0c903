//===- Experts.cpp - routed experts ---------------------------------------===//
#include "dialects/Step/Step.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

//===- moe_route ----------------------------------------------------------===//

LogicalResult MoeRouteOp::verify() {
  int64_t rows = getDim(getLogits(), 0), experts = getExperts(), slots = getSlots(), nulls = getNulls(), columns = experts + (nulls > 0);
  int64_t kept = std::min(slots, experts);
  if (experts < 1 || slots < 1 || nulls < 0)
    return emitOpError("picks ") << slots << " slots of " << experts << " experts and " << nulls << " null experts";
  if (getDim(getLogits(), 1) != columns)
    return emitOpError("has ") << getDim(getLogits(), 1) << " columns of logits, expected " << columns;
  if (bool(getBias()) != getSigmoid() || (getBias() && getCount(getBias()) != columns))
    return emitOpError("needs a bias of ") << columns << " numbers with a sigmoid, and none without";
  auto picks = [&](Type type) { return RankedTensorType::get({rows, kept}, type); };
  Type integer = getChoice().getType().getElementType(), number = getLogits().getType().getElementType();
  if (getWeights().getType() != picks(number) || getChoice().getType() != picks(integer) || getPosition().getType() != picks(integer))
    return emitOpError("makes ") << getWeights().getType() << ", " << getChoice().getType() << " and " << getPosition().getType()
                                 << ", expected " << kept << " picks for each of " << rows << " rows";
  if (getCount(getOffsets()) != experts + 1 || getCount(getAuxLoss()) != 1 || getCount(getZLoss()) != 1)
    return emitOpError("makes ") << getCount(getOffsets()) << " offsets for " << experts
                                 << " experts; expected one more, and two losses of one number";
  return success();
}

SmallVector<Value> MoeRouteOp::getSavedValues() { return {getLogits(), getChoice(), getOffsets()}; }

Gradients MoeRouteOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  for (Value gradient : resultGradients.drop_front())
    if (gradient) // the losses bring their own gradients, as terms of the objective and nothing else
      return failure();
  Value d_logits = MoeRouteGradOp::create(builder, getLoc(), getLogits().getType(), resultGradients[0], saved[0], saved[1], saved[2],
                                          getExpertsAttr(), getSlotsAttr(), getNullsAttr(), getSigmoidAttr(), getScaleAttr(), getAuxAttr(),
                                          getZAttr());
  SmallVector<Value> gradients = {d_logits};
  if (getBias())
    gradients.push_back(Value());
  return gradients;
}

static ShardingRule getRouteRule(StringRef text, Value logits, Value choice, Value offsets) {
  return ShardingRule::get(text, {{"t", getDim(logits, 0)}, {"e", getDim(logits, 1)}, {"k", getDim(choice, 1)}, {"o", getCount(offsets)}});
}

ShardingRule MoeRouteOp::getShardingRule() {
  return getRouteRule(getBias() ? "([t, e], [e]) -> ([t, k], [t, k], [t, k], [o], [], []) reduce{t} replicate{e k o}"
                                : "([t, e]) -> ([t, k], [t, k], [t, k], [o], [], []) reduce{t} replicate{e k o}",
                      getLogits(), getChoice(), getOffsets());
}

ShardingRule MoeRouteGradOp::getShardingRule() {
  return getRouteRule("([t, k], [t, e], [t, k], [o]) -> ([t, e]) replicate{e k o}", getLogits(), getChoice(), getOffsets());
}

KernelQuery MoeRouteOp::getKernelQuery() {
  int64_t rows = getDim(getLogits(), 0), experts = getExperts();
  KernelQuery query;
  query.kernel = "mg_moe_route";
  for (unsigned index = 0; index < getOperation()->getNumResults(); ++index)
    query.addResult(index);
  query.addOperand(0);
  if (getBias())
    query.addOperand(1);
  else
    query.addNull();
  query.ints = {rows, experts, int64_t(getSlots()), int64_t(getNulls()), getSigmoid()};
  query.doubles = {getScale().convertToDouble(), getAux().convertToDouble(), getZ().convertToDouble()};
  query.workspaceBytes = (rows + 63) / 64 * (experts + 1) * 20;
  return query;
}

KernelQuery MoeRouteGradOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_moe_route_grad";
  query.ints = {getDim(getLogits(), 0), int64_t(getExperts()), int64_t(getSlots()), int64_t(getNulls()), getSigmoid()};
  double micro_batches = getConfigInteger(*this, "accumulate", 1);
  query.doubles = {getScale().convertToDouble(), getAux().convertToDouble() / micro_batches, getZ().convertToDouble() / micro_batches};
  return query;
}

//===- moe_count_picks and moe_bias_update --------------------------------===//

/// The bias must be a parameter with a number for each expert.
static LogicalResult verifyBias(Operation *op, FlatSymbolRefAttr name, int64_t experts, SymbolTableCollection &symbols) {
  auto module = op->getParentOfType<ModuleOp>();
  auto parameter = module ? symbols.lookupSymbolIn<ParameterOp>(module, name) : ParameterOp();
  if (!parameter)
    return op->emitOpError("names no parameter: ") << name;
  if (auto type = cast<RankedTensorType>(parameter.getType()); type.getNumElements() < experts)
    return op->emitOpError("counts ") << experts << " experts, but parameter " << name << " has " << type;
  return success();
}

LogicalResult MoeCountPicksOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return getBias() ? verifyBias(*this, getBiasAttr(), getCount(getOffsets()) - 1, symbols) : success();
}

LogicalResult MoeBiasUpdateOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyBias(*this, getBiasAttr(), getExperts(), symbols);
}

void MoeCountPicksOp::buildUpdate(OpBuilder &builder, Value norm) {
  if (getBias())
    MoeBiasUpdateOp::create(builder, getLoc(), getBiasAttr(), norm, getNameAttr(), builder.getI64IntegerAttr(getCount(getOffsets()) - 1),
                            getRateAttr());
}

KernelQuery MoeCountPicksOp::getKernelQuery() {
  int64_t experts = getCount(getOffsets()) - 1;
  KernelQuery query;
  query.kernel = "mg_moe_count_picks";
  query.addState(LaunchOperand::Kind::Metric, getName(), experts);
  query.addOperand(0);
  query.ints = {experts, 1};
  query.accumulateIndex = 1;
  return query;
}

KernelQuery MoeBiasUpdateOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_moe_bias_update";
  query.addState(LaunchOperand::Kind::Weight, getBias());
  query.addState(LaunchOperand::Kind::Metric, getPicks(), getExperts());
  query.addOperand(0);
  query.ints = {int64_t(getExperts())};
  query.doubles = {getRate().convertToDouble()};
  return query;
}

//===- moe_dispatch and moe_combine ---------------------------------------===//

/// Rows of picks belong to tokens: `rows` has one for every position.
static LogicalResult verifyPicks(Operation *op, Value rows, Value tokens, Value position) {
  if (getDim(rows, 0) != getCount(position) || getDim(tokens, 0) != getDim(position, 0) || getDim(rows, 1) != getDim(tokens, 1))
    return op->emitOpError("has rows ") << rows.getType() << " and tokens " << tokens.getType() << " for positions " << position.getType();
  return success();
}

static ShardingRule getPicksRule(StringRef text, Value tokens, Value position, int64_t offsets) {
  return ShardingRule::get(text, {{"t", getDim(tokens, 0)}, {"k", getDim(position, 1)}, {"d", getDim(tokens, 1)}, {"o", offsets}});
}

LogicalResult MoeDispatchOp::verify() { return verifyPicks(*this, getRows(), getX(), getPosition()); }

SmallVector<Value> MoeDispatchOp::getSavedValues() { return {getPosition()}; }

Gradients MoeDispatchOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  Value d_x = MoeDispatchGradOp::create(builder, getLoc(), getX().getType(), resultGradients[0], saved[0]);
  return SmallVector<Value>{d_x, Value(), Value()};
}

ShardingRule MoeDispatchOp::getShardingRule() {
  return getPicksRule("([t, d], [t, k], [o]) -> ([t k, d]) replicate{k o}", getX(), getPosition(), getCount(getOffsets()));
}

ShardingRule MoeDispatchGradOp::getShardingRule() {
  return getPicksRule("([t k, d], [t, k]) -> ([t, d]) replicate{k}", getDX(), getPosition(), 0);
}

KernelQuery MoeDispatchOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_moe_dispatch";
  query.ints = {getDim(getX(), 0), getDim(getX(), 1), getDim(getPosition(), 1), getCount(getOffsets()) - 1};
  return query;
}

KernelQuery MoeDispatchGradOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_moe_combine";
  query.addResult(0);
  query.addOperand(0);
  query.addNull();
  query.addOperand(1);
  query.ints = {getDim(getDX(), 0), getDim(getDX(), 1), getDim(getPosition(), 1)};
  return query;
}

LogicalResult MoeCombineOp::verify() { return verifyPicks(*this, getRows(), getY(), getPosition()); }

SmallVector<Value> MoeCombineOp::getSavedValues() { return {getRows(), getWeights(), getPosition(), getOffsets()}; }

Gradients MoeCombineOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto grad = MoeCombineGradOp::create(builder, getLoc(), getRows().getType(), getWeights().getType(), resultGradients[0], saved[0], saved[1],
                                       saved[2], saved[3]);
  return SmallVector<Value>{grad.getDRows(), grad.getDWeights(), Value(), Value()};
}

ShardingRule MoeCombineOp::getShardingRule() {
  return getPicksRule("([t k, d], [t, k], [t, k], [o]) -> ([t, d]) replicate{k o}", getY(), getPosition(), getCount(getOffsets()));
}

ShardingRule MoeCombineGradOp::getShardingRule() {
  return getPicksRule("([t, d], [t k, d], [t, k], [t, k], [o]) -> ([t k, d], [t, k]) reduce{d} replicate{k o}", getDY(), getPosition(),
                      getCount(getOffsets()));
}

KernelQuery MoeCombineOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_moe_combine";
  query.addResult(0);
  for (unsigned index = 0; index < 3; ++index)
    query.addOperand(index);
  query.ints = {getDim(getY(), 0), getDim(getY(), 1), getDim(getPosition(), 1)};
  return query;
}

KernelQuery MoeCombineGradOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_moe_combine_grad";
  query.ints = {getDim(getDY(), 0), getDim(getDY(), 1), getDim(getPosition(), 1), getCount(getOffsets()) - 1};
  query.inPlace = {{0, 1}};
  return query;
}

//===- grouped_linear -----------------------------------------------------===//

LogicalResult GroupedLinearOp::verify() {
  int64_t experts = getDim(getWeight(), 0);
  if (getDim(getX(), 1) != getDim(getWeight(), 2) || getDim(getY(), 1) != getDim(getWeight(), 1) || getDim(getX(), 0) != getDim(getY(), 0))
    return emitOpError("makes ") << getY().getType() << " from " << getX().getType() << " and weights " << getWeight().getType();
  if (getCount(getOffsets()) != experts + 1)
    return emitOpError("has ") << getCount(getOffsets()) << " offsets for " << experts << " experts; expected one more";
  return success();
}

SmallVector<Value> GroupedLinearOp::getSavedValues() { return {getX(), getWeight(), getOffsets()}; }

Gradients GroupedLinearOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  Value d_x = GroupedLinearGradInputOp::create(builder, getLoc(), getX().getType(), resultGradients[0], saved[1], saved[2],
                                               getExpectedRowsAttr());
  Value d_weight = GroupedLinearGradWeightOp::create(builder, getLoc(), getWeight().getType(), resultGradients[0], saved[0], saved[2],
                                                     getExpectedRowsAttr());
  return SmallVector<Value>{d_x, d_weight, Value()};
}

/// The three products share their kernel parameters, cost and factors; x and y have the rows of the experts.
static KernelQuery getGroupedQuery(StringRef kernel, Value x, Value y, Value offsets) {
  KernelQuery query;
  query.kernel = kernel.str();
  query.ints = {getDim(x, 0), getDim(x, 1), getDim(y, 1), getCount(offsets) - 1};
  return query;
}

static OpCost getGroupedCost(Operation *op, Value x, Value y, int64_t expectedRows) {
  OpCost cost = getMemoryCost(op);
  cost.flops = 2 * expectedRows * getDim(x, 1) * getDim(y, 1);
  return cost;
}

static ShardingRule getGroupedRule(StringRef text, Value x, Value y, Value offsets) {
  return ShardingRule::get(text, {{"r", getDim(x, 0)}, {"i", getDim(x, 1)}, {"o", getDim(y, 1)}, {"e", getCount(offsets) - 1},
                                  {"s", getCount(offsets)}});
}

OpCost GroupedLinearOp::getCost() { return getGroupedCost(*this, getX(), getY(), getExpectedRows()); }
OpCost GroupedLinearGradInputOp::getCost() { return getGroupedCost(*this, getDX(), getDY(), getExpectedRows()); }
OpCost GroupedLinearGradWeightOp::getCost() { return getGroupedCost(*this, getX(), getDY(), getExpectedRows()); }

ShardingRule GroupedLinearOp::getShardingRule() {
  return getGroupedRule("([r, i], [e, o, i], [s]) -> ([r, o]) reduce{i} replicate{e s}", getX(), getY(), getOffsets());
}
ShardingRule GroupedLinearGradInputOp::getShardingRule() {
  return getGroupedRule("([r, o], [e, o, i], [s]) -> ([r, i]) reduce{o} replicate{e s}", getDX(), getDY(), getOffsets());
}
ShardingRule GroupedLinearGradWeightOp::getShardingRule() {
  return getGroupedRule("([r, o], [r, i], [s]) -> ([e, o, i]) reduce{r} replicate{e s}", getX(), getDY(), getOffsets());
}

KernelQuery GroupedLinearOp::getKernelQuery() { return getGroupedQuery("mg_grouped_linear", getX(), getY(), getOffsets()); }
KernelQuery GroupedLinearGradInputOp::getKernelQuery() {
  return getGroupedQuery("mg_grouped_linear_grad_input", getDX(), getDY(), getOffsets());
}
KernelQuery GroupedLinearGradWeightOp::getKernelQuery() {
  KernelQuery query = getGroupedQuery("mg_grouped_linear_grad_weight", getX(), getDY(), getOffsets());
  query.ints.push_back(0);
  query.accumulateIndex = 4;
  query.gradientResult = 0;
  return query;
}

//===- row_gate -----------------------------------------------------------===//

LogicalResult RowGateOp::verify() {
  if (getY().getType() != getX().getType() || getCount(getGate()) != getDim(getX(), 0))
    return emitOpError("has ") << getCount(getGate()) << " gates for rows of " << getX().getType();
  return success();
}

SmallVector<Value> RowGateOp::getSavedValues() { return {getX(), getGate()}; }

Gradients RowGateOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto grad = RowGateGradOp::create(builder, getLoc(), getX().getType(), getGate().getType(), resultGradients[0], saved[0], saved[1]);
  return SmallVector<Value>{grad.getDX(), grad.getDGate()};
}

static ShardingRule getGateRule(StringRef text, Value x) {
  return ShardingRule::get(text, {{"t", getDim(x, 0)}, {"d", getDim(x, 1)}, {"g", 1}});
}

ShardingRule RowGateOp::getShardingRule() { return getGateRule("([t, d], [t, g]) -> ([t, d]) replicate{g}", getX()); }
ShardingRule RowGateGradOp::getShardingRule() {
  return getGateRule("([t, d], [t, d], [t, g]) -> ([t, d], [t, g]) reduce{d} replicate{g}", getX());
}

static KernelQuery getGateQuery(StringRef kernel, Value x) {
  KernelQuery query;
  query.kernel = kernel.str();
  query.ints = {getDim(x, 0), getDim(x, 1)};
  query.inPlace = {{0, 0}};
  return query;
}

KernelQuery RowGateOp::getKernelQuery() { return getGateQuery("mg_row_gate", getX()); }
KernelQuery RowGateGradOp::getKernelQuery() { return getGateQuery("mg_row_gate_grad", getX()); }

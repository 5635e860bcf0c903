// Routed experts.
#include "dialects/Step/Step.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

// moe_route.

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
  return expectShape(*this, "offsets", getOffsets(), {experts + 1});
}

LogicalResult MoeStatisticsOp::verify() {
  int64_t experts = getExperts();
  if (getDim(getLogits(), 1) != experts + (getNulls() > 0))
    return emitOpError("has ") << getDim(getLogits(), 1) << " columns of logits, expected " << experts + (getNulls() > 0);
  if (failed(expectShape(*this, "offsets", getOffsets(), {experts + 1})))
    return failure();
  return expectShape(*this, "statistics", getStatistics(), {2 * experts + 1});
}

LogicalResult MoeLossesOp::verify() {
  if (failed(expectShape(*this, "statistics", getStatistics(), {2 * int64_t(getExperts()) + 1})) ||
      failed(expectShape(*this, "aux_loss", getAuxLoss(), {1})))
    return failure();
  return expectShape(*this, "z_loss", getZLoss(), {1});
}

LogicalResult MoeRouteGradOp::verify() {
  int64_t experts = getExperts(), kept = std::min<int64_t>(getSlots(), experts), rows = getDim(getLogits(), 0);
  if (failed(expectShape(*this, "d_weights", getDWeights(), {rows, kept})) ||
      failed(expectShape(*this, "choice", getChoice(), {rows, kept})) ||
      failed(expectShape(*this, "logits", getLogits(), {rows, experts + (getNulls() > 0)})) ||
      failed(expectShape(*this, "statistics", getStatistics(), {2 * experts + 1})))
    return failure();
  return expectLike(*this, "d_logits", getDLogits(), getLogits());
}

SmallVector<Value> MoeRouteOp::getSavedValues() { return {getLogits(), getChoice(), getOffsets()}; }

/// The statistics of these picks; the forward's where it has them.
static Value getStatistics(MoeRouteOp op, OpBuilder &builder, ValueRange saved) {
  for (Operation *user : op.getOffsets().getUsers())
    if (auto statistics = dyn_cast<MoeStatisticsOp>(user))
      return statistics.getStatistics();
  auto type = RankedTensorType::get({2 * int64_t(op.getExperts()) + 1}, builder.getF64Type());
  return MoeStatisticsOp::create(builder, op.getLoc(), type, saved[0], saved[2], op.getExpertsAttr(), op.getNullsAttr(),
                                 op.getSigmoidAttr());
}

Gradients MoeRouteOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  double micro_batches = getConfigInteger(*this, "accumulate", 1); // a term of the objective is a mean over them
  auto share = [&](const APFloat &weight) { return builder.getF64FloatAttr(weight.convertToDouble() / micro_batches); };
  Value d_logits =
      MoeRouteGradOp::create(builder, getLoc(), getLogits().getType(), resultGradients[0], saved[0], saved[1],
                             getStatistics(*this, builder, saved), builder.getI64IntegerAttr(getDim(getLogits(), 0)), getExpertsAttr(),
                             getSlotsAttr(), getNullsAttr(), getSigmoidAttr(), getScaleAttr(), share(getAux()), share(getZ()));
  SmallVector<Value> gradients = {d_logits};
  if (getBias())
    gradients.push_back(Value());
  return gradients;
}

/// The op that made the picks builds the gradient of its losses.
SmallVector<Value> MoeLossesOp::getSavedValues() { return {}; }
Gradients MoeLossesOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  for (Value gradient : resultGradients)
    if (gradient) // they are terms of the objective and nothing else
      return failure();
  return SmallVector<Value>{Value()};
}

/// Rows sorted by expert, their positions and the experts' offsets are in the order of a rank's own tokens (rules with private{}).
static constexpr char kOffsets[] = "~[first.e end.one]", kStatistics[] = "[picks.e probability.e square.one]";

/// The rule "(`operands`) -> (`results`) `kinds`" of what sees all experts of a token.
static ShardingRule getRouteRule(StringRef operands, StringRef results, StringRef kinds, int64_t rows, int64_t kept, int64_t experts) {
  std::string text = ("(" + operands + ") -> (" + results + ")" + kinds + " replicate{e: a token picks among all experts").str();
  return ShardingRule::get(text + (kept ? "; k: a token's picks have one sum}" : "}") + " attributes{experts = e}",
                           {{"t", rows}, {"e", experts}, {"k", kept}});
}

/// The columns of logits: the experts, then the null expert where there is one.
template <typename Op> static std::string getColumns(Op op) { return op.getNulls() > 0 ? "expert.e null.one" : "e"; }

ShardingRule MoeRouteOp::getShardingRule() {
  std::string columns = getColumns(*this), bias = getBias() ? ", [" + columns + "]" : "";
  return getRouteRule("[t, " + columns + "]" + bias, std::string("[t, k], [t, k], ~[t, k], ") + kOffsets, " private{t}",
                      getDim(getLogits(), 0), getDim(getChoice(), 1), getExperts());
}

ShardingRule MoeStatisticsOp::getShardingRule() {
  return getRouteRule("[t, " + getColumns(*this) + "], " + kOffsets, kStatistics, " private{t}", getDim(getLogits(), 0), 0, getExperts());
}

ShardingRule MoeLossesOp::getShardingRule() {
  return ShardingRule::get(
      (llvm::Twine("(") + kStatistics + ") -> ([one], [one]) replicate{e: a loss is a sum of products} " + "attributes{experts = e}").str(),
      {{"e", getExperts()}});
}

ShardingRule MoeRouteGradOp::getShardingRule() {
  std::string logits = "[t, " + getColumns(*this) + "]";
  return getRouteRule("[t, k], " + logits + ", [t, k], " + kStatistics, logits, "", getDim(getLogits(), 0), getDim(getChoice(), 1),
                      getExperts());
}

/// What route, its statistics and its gradient have in common.
template <typename Op> static KernelQuery &setRouting(KernelQuery &query, Op op) {
  return query.set("rows", getDim(op.getLogits(), 0))
      .set("experts", op.getExperts())
      .set("nulls", op.getNulls())
      .set("sigmoid", op.getSigmoid());
}

KernelQuery MoeRouteOp::getKernelQuery() {
  KernelQuery query("moe_route");
  query.add("weights", getWeights()).add("choice", getChoice()).add("position", getPosition()).add("offsets", getOffsets());
  query.add("logits", getLogits()).add("bias", getBias());
  return setRouting(query, *this)
      .set("slots", getSlots())
      .set("kept", getDim(getChoice(), 1))
      .setReal("scale", getScale().convertToDouble());
}

KernelQuery MoeStatisticsOp::getKernelQuery() {
  KernelQuery query("moe_statistics");
  return setRouting(query.add("statistics", getStatistics()).add("logits", getLogits()).add("offsets", getOffsets()), *this);
}

KernelQuery MoeLossesOp::getKernelQuery() {
  KernelQuery query("moe_losses");
  query.add("aux_loss", getAuxLoss()).add("z_loss", getZLoss()).add("statistics", getStatistics());
  query.set("tokens", getTokens()).set("experts", getExperts());
  return query.setReal("aux", getAux().convertToDouble()).setReal("z", getZ().convertToDouble());
}

KernelQuery MoeRouteGradOp::getKernelQuery() {
  KernelQuery query("moe_route_grad");
  query.add("d_logits", getDLogits()).add("d_weights", getDWeights()).add("logits", getLogits()).add("choice", getChoice());
  query.add("statistics", getStatistics());
  setRouting(query, *this).set("tokens", getTokens()).set("slots", getSlots()).set("kept", getDim(getChoice(), 1));
  return query.setReal("scale", getScale().convertToDouble())
      .setReal("aux", getAux().convertToDouble())
      .setReal("z", getZ().convertToDouble());
}

// moe_count_picks and moe_bias_update.

/// The bias must be a parameter with a number for each expert.
static LogicalResult verifyBias(Operation *op, FlatSymbolRefAttr name, int64_t experts, SymbolTableCollection &symbols) {
  auto module = op->getParentOfType<ModuleOp>();
  auto parameter = module ? symbols.lookupSymbolIn<ParameterOp>(module, name) : ParameterOp();
  if (!parameter)
    return op->emitOpError("unknown parameter ") << name;
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

static RankedTensorType getNumbers(MLIRContext *context, int64_t count) {
  return RankedTensorType::get({count}, Float32Type::get(context));
}

KernelQuery MoeCountPicksOp::getKernelQuery() {
  int64_t experts = getCount(getOffsets()) - 1;
  KernelQuery query("moe_count_picks");
  query.addState("picks", LaunchOperand::Kind::Metric, getName(), getNumbers(getContext(), experts)).add("offsets", getOffsets());
  return query.set("experts", experts).set("accumulate", 1);
}

KernelQuery MoeBiasUpdateOp::getKernelQuery() {
  int64_t experts = getExperts();
  auto parameter = SymbolTable::lookupNearestSymbolFrom<ParameterOp>(*this, getBiasAttr());
  KernelQuery query("moe_bias_update");
  query.addState("bias", LaunchOperand::Kind::Weight, getBias(), cast<RankedTensorType>(parameter.getType()));
  query.addState("picks", LaunchOperand::Kind::Metric, getPicks(), getNumbers(getContext(), experts)).add("norm", getNorm());
  return query.set("experts", experts).setReal("rate", getRate().convertToDouble());
}

// moe_dispatch and moe_combine, each the gradient of the other.

/// Rows of picks belong to tokens: `rows` has one for every position.
static LogicalResult verifyPicks(Operation *op, Value rows, Value tokens, Value position) {
  if (getDim(rows, 0) != getCount(position) || getDim(tokens, 0) != getDim(position, 0) || getDim(rows, 1) != getDim(tokens, 1))
    return op->emitOpError("has rows ") << rows.getType() << " and tokens " << tokens.getType() << " for positions " << position.getType();
  return success();
}

/// The rule "(`operands`, offsets) -> `results`" of what moves rows between tokens and experts; `offsets` may be null.
static ShardingRule getPicksRule(StringRef operands, StringRef results, Value tokens, Value position, Value offsets) {
  std::string text = ("(" + operands + (offsets ? StringRef(", ") : StringRef()) + (offsets ? kOffsets : "") + ") -> (" + results +
                      ") private{t} replicate{k: a token's picks stand together" +
                      (offsets ? "; e: rows of other ranks' experts are moved by a collective}" : "}") + " linear{0}")
                         .str();
  return ShardingRule::get(
      text, {{"t", getDim(tokens, 0)}, {"k", getDim(position, 1)}, {"d", getDim(tokens, 1)}, {"e", offsets ? getDim(offsets, 0) - 1 : 0}});
}

/// Sizes of the kernels that move rows.
static KernelQuery &setPicks(KernelQuery &query, Value tokens, Value position) {
  return query.set("tokens", getDim(tokens, 0)).set("cols", getDim(tokens, 1)).set("kept", getDim(position, 1));
}

LogicalResult MoeDispatchOp::verify() { return verifyPicks(*this, getRows(), getX(), getPosition()); }

SmallVector<Value> MoeDispatchOp::getSavedValues() { return {getPosition(), getOffsets()}; }

Gradients MoeDispatchOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  Value d_x = MoeCombineOp::create(builder, getLoc(), getX().getType(), resultGradients[0], saved[0], saved[1]);
  return SmallVector<Value>{d_x, Value(), Value()};
}

ShardingRule MoeDispatchOp::getShardingRule() { return getPicksRule("[t, d], ~[t, k]", "~[t k, d]", getX(), getPosition(), getOffsets()); }

KernelQuery MoeDispatchOp::getKernelQuery() {
  KernelQuery query("moe_dispatch");
  query.add("rows", getRows()).add("x", getX()).add("position", getPosition()).add("offsets", getOffsets());
  return setPicks(query, getX(), getPosition()).set("experts", getCount(getOffsets()) - 1);
}

LogicalResult MoeCombineOp::verify() { return verifyPicks(*this, getRows(), getY(), getPosition()); }

SmallVector<Value> MoeCombineOp::getSavedValues() { return {getPosition(), getOffsets()}; }

Gradients MoeCombineOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  Value d_rows = MoeDispatchOp::create(builder, getLoc(), getRows().getType(), resultGradients[0], saved[0], saved[1]);
  return SmallVector<Value>{d_rows, Value(), Value()};
}

ShardingRule MoeCombineOp::getShardingRule() { return getPicksRule("~[t k, d], ~[t, k]", "[t, d]", getY(), getPosition(), getOffsets()); }

KernelQuery MoeCombineOp::getKernelQuery() {
  KernelQuery query("moe_combine");
  query.add("y", getY()).add("rows", getRows()).add("position", getPosition());
  return setPicks(query, getY(), getPosition());
}

// moe_dispatch_weights.

/// One number per row of picks, from or to one per pick.
static LogicalResult verifyWeights(Operation *op, Value rows, Value weights, Value position) {
  if (failed(expectShape(op, "rows", rows, {getCount(position), 1})))
    return failure();
  return expectShape(op, "weights", weights, {getDim(position, 0), getDim(position, 1)});
}

LogicalResult MoeDispatchWeightsOp::verify() { return verifyWeights(*this, getRows(), getWeights(), getPosition()); }
LogicalResult MoeDispatchWeightsGradOp::verify() { return verifyWeights(*this, getDRows(), getDWeights(), getPosition()); }

SmallVector<Value> MoeDispatchWeightsOp::getSavedValues() { return {getPosition()}; }

Gradients MoeDispatchWeightsOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  Value d_weights = MoeDispatchWeightsGradOp::create(builder, getLoc(), getWeights().getType(), resultGradients[0], saved[0]);
  return SmallVector<Value>{d_weights, Value(), Value()};
}

ShardingRule MoeDispatchWeightsOp::getShardingRule() {
  return getPicksRule("[t, k], ~[t, k]", "~[t k, one]", getWeights(), getPosition(), getOffsets());
}

ShardingRule MoeDispatchWeightsGradOp::getShardingRule() {
  return getPicksRule("~[t k, one], ~[t, k]", "[t, k]", getDWeights(), getPosition(), Value());
}

KernelQuery MoeDispatchWeightsOp::getKernelQuery() {
  KernelQuery query("moe_dispatch_weights");
  query.add("rows", getRows()).add("weights", getWeights()).add("position", getPosition()).add("offsets", getOffsets());
  return query.set("picks", getCount(getPosition())).set("experts", getCount(getOffsets()) - 1);
}

KernelQuery MoeDispatchWeightsGradOp::getKernelQuery() {
  KernelQuery query("moe_dispatch_weights_grad");
  query.add("d_weights", getDWeights()).add("d_rows", getDRows()).add("position", getPosition());
  return query.set("picks", getCount(getPosition()));
}

// grouped_linear.

/// x [rows, in], y [rows, out] and weight [experts, out, in] of one of the three products.
static LogicalResult verifyGrouped(Operation *op, Value x, Value y, Value weight, Value offsets) {
  if (getDim(x, 1) != getDim(weight, 2) || getDim(y, 1) != getDim(weight, 1) || getDim(x, 0) != getDim(y, 0))
    return op->emitOpError("makes ") << y.getType() << " from " << x.getType() << " and weights " << weight.getType();
  return expectShape(op, "offsets", offsets, {getDim(weight, 0) + 1});
}

LogicalResult GroupedLinearOp::verify() { return verifyGrouped(*this, getX(), getY(), getWeight(), getOffsets()); }
LogicalResult GroupedLinearGradInputOp::verify() { return verifyGrouped(*this, getDX(), getDY(), getWeight(), getOffsets()); }
LogicalResult GroupedLinearGradWeightOp::verify() { return verifyGrouped(*this, getX(), getDY(), getDWeight(), getOffsets()); }

SmallVector<Value> GroupedLinearOp::getSavedValues() { return {getX(), getWeight(), getOffsets()}; }

Gradients GroupedLinearOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  Value d_x =
      GroupedLinearGradInputOp::create(builder, getLoc(), getX().getType(), resultGradients[0], saved[1], saved[2], getExpectedRowsAttr());
  Value d_weight = GroupedLinearGradWeightOp::create(builder, getLoc(), getF32Like(getWeight()), resultGradients[0], saved[0], saved[2],
                                                     getExpectedRowsAttr());
  return SmallVector<Value>{d_x, d_weight, Value()};
}

/// The three products share their parameters, cost and factors; x and y have the rows of the experts.
static KernelQuery &setGrouped(KernelQuery &query, Value x, Value y, Value offsets) {
  query.add("offsets", offsets).set("rows", getDim(x, 0)).set("in", getDim(x, 1)).set("out", getDim(y, 1));
  return query.set("experts", getCount(offsets) - 1);
}

static OpCost getGroupedCost(Operation *op, Value x, Value y, int64_t expectedRows) {
  OpCost cost = getMemoryCost(op);
  cost.flops = (Size(2) * expectedRows * getDim(x, 1) * getDim(y, 1)).get();
  return cost;
}

/// The rule "(`operands`, offsets) -> `results`": r rows of e experts. With e split a rank has the rows of its own experts, as many as fit,
/// of r.
static ShardingRule getGroupedRule(StringRef operands, StringRef results, Value x, Value y, Value offsets) {
  return ShardingRule::get(
      ("(" + operands + ", " + kOffsets + ") -> " + results + " private{r e} linear{0; 1} attributes{expected_rows ~ r}").str(),
      {{"r", getDim(x, 0)}, {"i", getDim(x, 1)}, {"o", getDim(y, 1)}, {"e", getDim(offsets, 0) - 1}});
}

OpCost GroupedLinearOp::getCost() { return getGroupedCost(*this, getX(), getY(), getExpectedRows()); }
OpCost GroupedLinearGradInputOp::getCost() { return getGroupedCost(*this, getDX(), getDY(), getExpectedRows()); }
OpCost GroupedLinearGradWeightOp::getCost() { return getGroupedCost(*this, getX(), getDY(), getExpectedRows()); }

ShardingRule GroupedLinearOp::getShardingRule() {
  return getGroupedRule("~[r, i], [e, o, i]", "(~[r, o]) reduce{i}", getX(), getY(), getOffsets());
}
ShardingRule GroupedLinearGradInputOp::getShardingRule() {
  return getGroupedRule("~[r, o], [e, o, i]", "(~[r, i]) reduce{o}", getDX(), getDY(), getOffsets());
}
ShardingRule GroupedLinearGradWeightOp::getShardingRule() {
  return getGroupedRule("~[r, o], ~[r, i]", "([e, o, i])", getX(), getDY(), getOffsets());
}

KernelQuery GroupedLinearOp::getKernelQuery() {
  KernelQuery query("grouped_linear");
  return setGrouped(query.add("y", getY()).add("x", getX()).add("weight", getWeight()), getX(), getY(), getOffsets());
}
KernelQuery GroupedLinearGradInputOp::getKernelQuery() {
  KernelQuery query("grouped_linear_grad_input");
  return setGrouped(query.add("d_x", getDX()).add("d_y", getDY()).add("weight", getWeight()), getDX(), getDY(), getOffsets());
}
KernelQuery GroupedLinearGradWeightOp::getKernelQuery() {
  KernelQuery query("grouped_linear_grad_weight");
  return setGrouped(query.add("d_weight", getDWeight()).add("d_y", getDY()).add("x", getX()), getX(), getDY(), getOffsets());
}

// row_gate and row_scale.

static LogicalResult verifyGate(Operation *op, Value x, Value y, Value gate) {
  if (getCount(gate) % getDim(x, 0) || getCount(x) % getCount(gate))
    return op->emitOpError("has ") << getCount(gate) << " numbers for rows of " << x.getType();
  return expectLike(op, "y", y, x);
}

LogicalResult RowGateOp::verify() { return verifyGate(*this, getX(), getY(), getGate()); }

LogicalResult RowGateGradOp::verify() {
  if (failed(verifyGate(*this, getX(), getDY(), getGate())) || failed(expectLike(*this, "d_x", getDX(), getX())))
    return failure();
  return expectLike(*this, "d_gate", getDGate(), getGate());
}

SmallVector<Value> RowGateOp::getSavedValues() { return {getX(), getGate()}; }

Gradients RowGateOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto grad = RowGateGradOp::create(builder, getLoc(), getX().getType(), getGate().getType(), resultGradients[0], saved[0], saved[1]);
  return SmallVector<Value>{grad.getDX(), grad.getDGate()};
}

/// The columns d of one gate, or g groups of d.
static ShardingRule getGateRule(StringRef one, StringRef several, Value x, Value gate) {
  int64_t groups = getCount(gate) / getDim(x, 0);
  return ShardingRule::get(groups == 1 ? one : several, {{"t", getDim(x, 0)}, {"g", groups}, {"d", getDim(x, 1) / groups}});
}

ShardingRule RowGateOp::getShardingRule() {
  return getGateRule("([t, d], [t, one]) -> ([t, d])", "([t, g d], [t, g]) -> ([t, g d])", getX(), getGate());
}
ShardingRule RowGateGradOp::getShardingRule() {
  return getGateRule("([t, d], [t, d], [t, one]) -> ([t, d], [t, one]) reduce{d}",
                     "([t, g d], [t, g d], [t, g]) -> ([t, g d], [t, g]) reduce{d}", getX(), getGate());
}

/// A group of columns is a row of the kernels.
static KernelQuery &setGate(KernelQuery &query, Value x, Value gate) {
  return query.set("rows", getCount(gate)).set("cols", getCount(x) / getCount(gate));
}

KernelQuery RowGateOp::getKernelQuery() {
  KernelQuery query("row_gate");
  return setGate(query.add("y", getY()).add("x", getX()).add("gate", getGate()), getX(), getGate());
}

KernelQuery RowGateGradOp::getKernelQuery() {
  KernelQuery query("row_gate_grad");
  query.add("d_x", getDX()).add("d_gate", getDGate()).add("d_y", getDY()).add("x", getX()).add("gate", getGate());
  return setGate(query, getX(), getGate());
}

LogicalResult RowScaleOp::verify() { return verifyGate(*this, getX(), getY(), getScale()); }

LogicalResult RowScaleGradOp::verify() {
  if (failed(verifyGate(*this, getX(), getDY(), getScale())) || failed(expectLike(*this, "d_x", getDX(), getX())))
    return failure();
  return expectLike(*this, "d_scale", getDScale(), getScale());
}

SmallVector<Value> RowScaleOp::getSavedValues() { return {getX(), getScale()}; }

Gradients RowScaleOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto grad = RowScaleGradOp::create(builder, getLoc(), getX().getType(), getScale().getType(), resultGradients[0], saved[0], saved[1]);
  return SmallVector<Value>{grad.getDX(), grad.getDScale()};
}

ShardingRule RowScaleOp::getShardingRule() {
  return getGateRule("([t, d], [t, one]) -> ([t, d]) linear{0; 1}", "([t, g d], [t, g]) -> ([t, g d]) linear{0; 1}", getX(), getScale());
}
ShardingRule RowScaleGradOp::getShardingRule() {
  return getGateRule("([t, d], [t, d], [t, one]) -> ([t, d], [t, one]) reduce{d} linear{0; 1 in 1; 2 in 0}",
                     "([t, g d], [t, g d], [t, g]) -> ([t, g d], [t, g]) reduce{d} linear{0; 1 in 1; 2 in 0}", getX(), getScale());
}

KernelQuery RowScaleOp::getKernelQuery() {
  KernelQuery query("row_scale");
  return setGate(query.add("y", getY()).add("x", getX()).add("scale", getScale()), getX(), getScale());
}

KernelQuery RowScaleGradOp::getKernelQuery() {
  KernelQuery query("row_scale_grad");
  query.add("d_x", getDX()).add("d_scale", getDScale()).add("d_y", getDY()).add("x", getX()).add("scale", getScale());
  return setGate(query, getX(), getScale());
}

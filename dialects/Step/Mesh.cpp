// What moves between the ranks of a mesh.
#include "dialects/Step/Step.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

/// What a collective moves through memory; it is never run again.
static OpCost getCollectiveCost(Operation *op) {
  OpCost cost = getMemoryCost(op);
  cost.recomputable = false;
  return cost;
}

OpCost AllReduceOp::getCost() { return getCollectiveCost(*this); }
OpCost TakePartOp::getCost() { return getMemoryCost(*this); }
OpCost GatherPartsOp::getCost() { return getCollectiveCost(*this); }
OpCost ReduceScatterOp::getCost() { return getCollectiveCost(*this); }

KernelQuery AllReduceOp::getKernelQuery() {
  KernelQuery query(cast<RankedTensorType>(getX().getType()).getElementType().isF64() ? "all_reduce_f64" : "all_reduce");
  return query.add("y", getY()).add("x", getX()).set("count", getCount(getX())).set("ranks", getRanks()).set("axis", getAxis());
}

/// `part` has `ranks` times fewer elements than `whole` in dimension `dim`, and as many in the others.
static LogicalResult verifyParts(Operation *op, Value part, Value whole, int64_t dim, int64_t ranks) {
  auto type = cast<RankedTensorType>(part.getType());
  if (dim < 0 || dim >= type.getRank())
    return op->emitOpError("names dimension ") << dim << " of " << type;
  SmallVector<int64_t> shape(type.getShape());
  shape[dim] *= ranks;
  return expectShape(op, "the whole", whole, shape);
}

LogicalResult TakePartOp::verify() { return verifyParts(*this, getY(), getX(), getDim(), getRanks()); }
LogicalResult ReduceScatterOp::verify() { return verifyParts(*this, getY(), getX(), getDim(), getRanks()); }
LogicalResult GatherPartsOp::verify() { return verifyParts(*this, getX(), getY(), getDim(), getRanks()); }

/// Elements before and from the dimension of a part on.
static KernelQuery &setParts(KernelQuery &query, Value part, int64_t dim, int64_t ranks, int64_t axis) {
  int64_t outer = 1, inner = 1;
  for (auto [index, size] : llvm::enumerate(cast<RankedTensorType>(part.getType()).getShape()))
    (int64_t(index) < dim ? outer : inner) *= size;
  return query.set("outer", outer).set("inner", inner).set("ranks", ranks).set("axis", axis);
}

KernelQuery TakePartOp::getKernelQuery() {
  KernelQuery query("take_part");
  return setParts(query.add("y", getY()).add("x", getX()), getY(), getDim(), getRanks(), getAxis());
}

KernelQuery ReduceScatterOp::getKernelQuery() {
  KernelQuery query("reduce_scatter");
  return setParts(query.add("y", getY()).add("x", getX()), getY(), getDim(), getRanks(), getAxis());
}

KernelQuery GatherPartsOp::getKernelQuery() {
  KernelQuery query("gather_parts");
  return setParts(query.add("y", getY()).add("x", getX()), getX(), getDim(), getRanks(), getAxis());
}

// exchange_rows and return_rows.

/// `rows` are those of a rank's tokens, `mine` what fits its groups; an op of whole tensors has those of all ranks.
static LogicalResult verifyRows(Operation *op, Value rows, Value mine, Value offsets, int64_t kept, int64_t most, int64_t ranks) {
  int64_t groups = getCount(offsets) - 1;
  if (kept < 1 || ranks < 1 || groups % ranks || most != std::min(kept, groups / ranks))
    return op->emitOpError("has ") << groups << " groups on " << ranks << " ranks, " << kept << " rows of a token at most and " << most
                                   << " on one rank, expected " << std::min(kept, groups / std::max<int64_t>(ranks, 1));
  int64_t tokens = getDim(rows, 0) / kept;
  if (getDim(rows, 0) % kept || getDim(mine, 0) != ranks * tokens * most || getDim(rows, 1) != getDim(mine, 1))
    return op->emitOpError("moves rows ") << rows.getType() << " to and from " << mine.getType() << ", expected " << ranks * tokens * most
                                          << " rows of " << getDim(rows, 1) << " elements";
  return success();
}

LogicalResult ExchangeRowsOp::verify() {
  int64_t groups = getCount(getOffsets()) - 1, own = getCount(getOwnOffsets()) - 1;
  if (own != groups && own * int64_t(getRanks()) != groups) // of a whole tensor, and of a rank's
    return emitOpError("makes offsets of ") << own << " of " << groups << " groups on " << getRanks() << " ranks";
  return verifyRows(*this, getRows(), getMine(), getOffsets(), getKept(), getMost(), getRanks());
}

LogicalResult ReturnRowsOp::verify() { return verifyRows(*this, getRows(), getMine(), getOffsets(), getKept(), getMost(), getRanks()); }

OpCost ExchangeRowsOp::getCost() { return getCollectiveCost(*this); }
OpCost ReturnRowsOp::getCost() { return getCollectiveCost(*this); }

SmallVector<Value> ExchangeRowsOp::getSavedValues() { return {getOffsets()}; }
SmallVector<Value> ReturnRowsOp::getSavedValues() { return {getOffsets()}; }

FailureOr<SmallVector<Value>> ExchangeRowsOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  Value d_rows = ReturnRowsOp::create(builder, getLoc(), getRows().getType(), resultGradients[0], saved[0], getKeptAttr(), getMostAttr(),
                                      getRanksAttr(), getAxisAttr());
  return SmallVector<Value>{d_rows, Value()};
}

FailureOr<SmallVector<Value>> ReturnRowsOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto exchange = ExchangeRowsOp::create(builder, getLoc(), getMine().getType(), saved[0].getType(), resultGradients[0], saved[0],
                                         getKeptAttr(), getMostAttr(), getRanksAttr(), getAxisAttr());
  return SmallVector<Value>{exchange.getMine(), Value()};
}

/// The rule "(`operands`, offsets) -> (`results`) private{`factors`}": t tokens with k rows each, c of them on each of n ranks; e groups,
/// of which a rank has g.
static ShardingRule getRowsRule(StringRef operands, StringRef results, StringRef factors, Value rows, Value offsets, int64_t kept,
                                int64_t most, int64_t ranks) {
  std::string text = ("(" + operands + ", ~[first.e end.one]) -> (" + results + ") private{" + factors +
                      "} replicate{d k n c e: rows move whole, to where their groups are} linear{0 in 0}")
                         .str();
  int64_t groups = getCount(offsets) - 1;
  return ShardingRule::get(
      text, {{"t", getDim(rows, 0) / kept}, {"k", kept}, {"d", getDim(rows, 1)}, {"n", ranks}, {"c", most}, {"e", groups}, {"g", groups}});
}

ShardingRule ExchangeRowsOp::getShardingRule() {
  return getRowsRule("~[t k, d]", "~[n t c, d], ~[own.g last.one]", "t g", getRows(), getOffsets(), getKept(), getMost(), getRanks());
}

ShardingRule ReturnRowsOp::getShardingRule() {
  return getRowsRule("~[n t c, d]", "~[t k, d]", "t", getRows(), getOffsets(), getKept(), getMost(), getRanks());
}

/// Factors of these names where the op moves rows between the ranks of the axis.
template <typename Op> static SmallVector<unsigned> findFactors(Op op, int64_t axis, ArrayRef<StringRef> names) {
  SmallVector<unsigned> factors;
  if (axis == int64_t(op.getAxis()))
    for (StringRef name : names)
      factors.push_back(*op.getShardingRule().find(name));
  return factors;
}

SmallVector<unsigned> ExchangeRowsOp::getFactorsOver(int64_t axis) { return findFactors(*this, axis, {"t", "g"}); }
SmallVector<unsigned> ReturnRowsOp::getFactorsOver(int64_t axis) { return findFactors(*this, axis, {"t"}); }

template <typename Op> static KernelQuery &setRows(KernelQuery &query, Op op) {
  query.set("given", getDim(op.getRows(), 0)).set("received", getDim(op.getMine(), 0)).set("cols", getDim(op.getRows(), 1));
  return query.set("groups", getCount(op.getOffsets()) - 1).set("ranks", op.getRanks()).set("axis", op.getAxis());
}

KernelQuery ExchangeRowsOp::getKernelQuery() {
  KernelQuery query("exchange_rows");
  query.add("mine", getMine()).add("own_offsets", getOwnOffsets()).add("rows", getRows()).add("offsets", getOffsets());
  return setRows(query, *this);
}

KernelQuery ReturnRowsOp::getKernelQuery() {
  KernelQuery query("return_rows");
  return setRows(query.add("rows", getRows()).add("mine", getMine()).add("offsets", getOffsets()), *this);
}

/// Of the op's sweep: its elements, and how far the axes before its own have cut it.
template <typename Op> static KernelQuery getSweepQuery(Op op, StringRef family, LaunchOperand::Kind kind) {
  auto module = op->template getParentOfType<ModuleOp>();
  Sweep sweep = findSweep(module, op.getGroup(), op.getOwes());
  bool narrow = kind == LaunchOperand::Kind::Weight && isNarrow(op.getGroup());
  Type element = narrow ? Type(BFloat16Type::get(op.getContext())) : Float32Type::get(op.getContext());
  int64_t count = sweep.getElements(), before = sweep.getAxesBefore(op.getAxis());
  KernelQuery query(family);
  query.addState("x", kind, sweep.getName(), RankedTensorType::get({count}, element)).set("count", count).set("ranks", op.getRanks());
  return query.set("axis", op.getAxis()).set("parts", module ? countRanks(module, before) : 1).set("axes", before);
}

KernelQuery ReduceScatterStateOp::getKernelQuery() { return getSweepQuery(*this, "reduce_scatter_state", LaunchOperand::Kind::Gradient); }

KernelQuery GatherStateOp::getKernelQuery() { return getSweepQuery(*this, "gather_state", LaunchOperand::Kind::Weight); }

KernelQuery AllReduceStateOp::getKernelQuery() {
  KernelQuery query("all_reduce_state");
  auto kind = getKind() == StateKind::gradient ? LaunchOperand::Kind::Gradient : LaunchOperand::Kind::Metric;
  query.addState("x", kind, getName(), RankedTensorType::get({int64_t(getCount())}, Float32Type::get(getContext())));
  query.operands.back().first = getFirst();
  return query.set("count", getCount()).set("ranks", getRanks()).set("axis", getAxis());
}

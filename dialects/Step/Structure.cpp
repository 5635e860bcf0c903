// Functions, state, inputs and outputs.
#include "dialects/Interfaces/Sharding.h"
#include "dialects/Step/Step.h"
#include "megacc/Random.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

// Parameters.

Group ParameterOp::getGroup() {
  if (!getTrained())
    return Group::untrained;
  bool f32 = cast<RankedTensorType>(getType()).getElementType().isF32();
  if (getPieces())
    return f32 ? Group::muon_f32 : Group::muon_bf16;
  return f32 ? (getDecays() ? Group::f32_decays : Group::f32_plain) : (getDecays() ? Group::bf16_decays : Group::bf16_plain);
}

int64_t ParameterOp::getElements() { return cast<RankedTensorType>(getType()).getNumElements(); }

LogicalResult ParameterOp::verify() {
  std::optional<ArrayRef<int64_t>> pieces = getPieces();
  if (!pieces)
    return success();
  ArrayRef<int64_t> shape = cast<RankedTensorType>(getType()).getShape();
  if (!getTrained() || !getDecays() || shape.size() < 2 || shape.size() > 3)
    return emitOpError("has pieces; such a parameter is trained, decays and has rows and columns, of experts or not");
  if (pieces->size() % kPieceNumbers)
    return emitOpError("has ") << pieces->size() << " numbers of pieces, expected [first, run, stride, rows, count, spacing] of each";
  for (size_t at = 0; at < pieces->size(); at += kPieceNumbers) {
    int64_t first = (*pieces)[at], run = (*pieces)[at + 1], stride = (*pieces)[at + 2], rows = (*pieces)[at + 3], count = (*pieces)[at + 4],
            spacing = (*pieces)[at + 5];
    if (first < 0 || run < 1 || stride < run || rows < 1 || count < 1 || spacing < 0 ||
        first + (count - 1) * spacing + (rows - 1) / run * stride + (rows - 1) % run >= shape[shape.size() - 2])
      return emitOpError("has pieces [") << first << ", " << run << ", " << stride << ", " << rows << ", " << count << ", " << spacing
                                         << "] outside of its " << shape[shape.size() - 2] << " rows";
  }
  return success();
}

/// The parameter, which must exist with this shape; null after an error.
static ParameterOp findParameter(Operation *op, FlatSymbolRefAttr name, Type type, SymbolTableCollection &symbols) {
  auto module = op->getParentOfType<ModuleOp>();
  auto parameter = module ? symbols.lookupSymbolIn<ParameterOp>(module, name) : ParameterOp();
  if (!parameter) {
    op->emitOpError("unknown parameter ") << name;
    return nullptr;
  }
  if (cast<RankedTensorType>(parameter.getType()).getShape() == cast<RankedTensorType>(type).getShape())
    return parameter;
  op->emitOpError("has type ") << type << ", but parameter " << name << " has " << parameter.getType();
  return nullptr;
}

LogicalResult ReadOp::verifySymbolUses(SymbolTableCollection &symbols) {
  ParameterOp parameter = findParameter(*this, getParameterAttr(), getValue().getType(), symbols);
  if (parameter && parameter.getType() != getValue().getType())
    return emitOpError("has type ") << getValue().getType() << ", but parameter " << getParameterAttr() << " has " << parameter.getType();
  return success(parameter != nullptr);
}

LogicalResult AccumulateOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return success(findParameter(*this, getParameterAttr(), getGradient().getType(), symbols) != nullptr);
}

KernelQuery AccumulateOp::getKernelQuery() {
  KernelQuery query("accumulate");
  query.addState("sum", LaunchOperand::Kind::Gradient, getParameter(), getGradient().getType()).add("x", getGradient());
  return query.set("count", getCount(getGradient())).set("accumulate", getAdds() ? 2 : 1).setReal("scale", 1.0);
}

// Detach.

SmallVector<Value> DetachOp::getSavedValues() { return {}; }

FailureOr<SmallVector<Value>> DetachOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  return SmallVector<Value>{Value()};
}

// Metrics and outputs.

LogicalResult LossOp::verify() {
  if (getValues().empty() || !llvm::all_of(getValues(), [](Value value) { return getCount(value) == 1; }))
    return emitOpError("takes numbers, at least one");
  return success();
}

KernelQuery LossOp::getKernelQuery() {
  KernelQuery query("accumulate_terms");
  query.addState("sum", LaunchOperand::Kind::Metric, ("loss." + getName()).str(),
                 RankedTensorType::get({1}, Float32Type::get(getContext())));
  query.addEach("part", getValues()).set("accumulate", 1).set("parts", getValues().size());
  return query.setReal("scale", 1.0 / getConfigInteger(*this, "accumulate", 1));
}

LogicalResult OutputOp::verify() {
  int64_t count = 1;
  for (int64_t size : getShape().value_or(ArrayRef<int64_t>()))
    count *= size;
  if (getShape() && count != getCount(getValue()))
    return emitOpError("has 'shape' of ") << count << " elements for a value of " << getCount(getValue());
  return success();
}

static KernelQuery getCopyQuery(LaunchOperand::Kind kind, StringRef name, Value value) {
  KernelQuery query("copy");
  return query.addState("y", kind, name, cast<RankedTensorType>(value.getType())).add("x", value).set("count", getCount(value));
}

KernelQuery OutputOp::getKernelQuery() { return getCopyQuery(LaunchOperand::Kind::Output, getName(), getValue()); }
KernelQuery LogNormOp::getKernelQuery() {
  KernelQuery query("log_norm");
  query.addState("norm", LaunchOperand::Kind::Metric, getName(), RankedTensorType::get({1}, Float32Type::get(getContext())));
  return query.add("x", getValue()).set("count", getCount(getValue()));
}

KernelQuery SetMetricOp::getKernelQuery() { return getCopyQuery(LaunchOperand::Kind::Metric, getName(), getValue()); }

// Once a step.

/// The parameters that an op sweeps over: a whole group, or one of its sweeps, of which this rank has a part.
struct Swept {
  std::string name;
  int64_t count = 0, axes = 0, ranks = 1;
  SmallVector<ParameterOp> parameters;
};

template <typename Op> static Swept getSwept(Op op) {
  auto module = op->template getParentOfType<ModuleOp>();
  Swept swept = {("*" + stringifyGroup(op.getGroup())).str()};
  if (std::optional<uint64_t> owes = op.getOwes()) {
    Sweep sweep = findSweep(module, op.getGroup(), int64_t(*owes));
    return {sweep.getName(), sweep.getElements(), sweep.axes, sweep.ranks, sweep.parameters};
  }
  if (module)
    for (Sweep &sweep : getSweeps(module, op.getGroup())) {
      swept.count += sweep.getElements();
      llvm::append_range(swept.parameters, sweep.parameters);
    }
  return swept;
}

static KernelQuery &addRange(KernelQuery &query, StringRef name, LaunchOperand::Kind kind, const Swept &swept, int64_t count,
                             Type element) {
  return query.addState(name, kind, swept.name, RankedTensorType::get({count}, element));
}

/// How indices of a rank's part become those of the whole tensor: dimensions, then of each the elements that one step in it is in the
/// part and in the whole, the number of its pieces, and (axis, size, block) of each; axis -1: all ranks have it. Nothing where every rank
/// has all.
static SmallVector<int64_t> describePart(ParameterOp parameter) {
  std::optional<Sharding> sharding = parameter.getSharding() ? Sharding::parse(*parameter.getSharding()) : std::nullopt;
  if (!sharding || !parameter.getWhole())
    return {};
  ArrayRef<int64_t> part = cast<RankedTensorType>(parameter.getType()).getShape(),
                    whole = cast<RankedTensorType>(*parameter.getWhole()).getShape();
  SmallVector<int64_t> numbers = {int64_t(part.size())};
  for (size_t dim = 0; dim < part.size(); ++dim) {
    int64_t inPart = 1, inWhole = 1;
    for (size_t later = dim + 1; later < part.size(); ++later)
      inPart *= part[later], inWhole *= whole[later];
    SmallVector<int64_t> pieces;
    for (auto [axis, spread] : llvm::enumerate(sharding->axes))
      if (spread.kind == Share::Split && spread.dim == dim)
        for (const Piece &piece : spread.pieces)
          pieces.append({piece.share == Share::Split ? int64_t(axis) : -1, piece.size, piece.block});
    if (pieces.empty())
      pieces = {-1, whole[dim], whole[dim]};
    numbers.append({inPart, inWhole, int64_t(pieces.size() / 3)});
    numbers.append(pieces);
  }
  return numbers;
}

/// The stream of a parameter's stochastic rounding.
static int64_t getRoundingKey(ParameterOp parameter) {
  return int64_t(streamKey(uint64_t(getConfigInteger(parameter, "seed", 0)), ("round." + parameter.getSymName()).str()));
}

/// Appends what describePart says, and sets the number at `place` to where it begins, 0 where it says nothing.
static void addPart(std::vector<int64_t> &table, size_t place, ParameterOp parameter) {
  SmallVector<int64_t> part = describePart(parameter);
  table[place] = part.empty() ? 0 : int64_t(table.size());
  llvm::append_range(table, part);
}

/// The number of parameters, of each its first element among all, its stream and where its part is described, then these descriptions.
static std::vector<int64_t> getRoundingTable(ArrayRef<ParameterOp> parameters) {
  std::vector<int64_t> table = {int64_t(parameters.size())};
  int64_t first = 0;
  for (ParameterOp parameter : parameters) {
    table.insert(table.end(), {first, getRoundingKey(parameter), 0});
    first += llvm::alignTo(parameter.getElements(), kParameterAlignment);
  }
  for (auto [index, parameter] : llvm::enumerate(parameters))
    addPart(table, 3 * index + 3, parameter);
  return table;
}

KernelQuery AdamWOp::getKernelQuery() {
  using Kind = LaunchOperand::Kind;
  Group group = getGroup();
  bool narrow = isNarrow(group);
  Swept swept = getSwept(*this);
  int64_t count = swept.count, own = count / swept.ranks;
  Type f32 = Float32Type::get(getContext()), weight = narrow ? Type(BFloat16Type::get(getContext())) : f32;
  Type moment = getStep() ? Type(BFloat16Type::get(getContext())) : f32;
  KernelQuery query(getStep() ? "adamw_rounded" : "adamw");
  addRange(query, "weight", Kind::Weight, swept, count, weight);
  if (narrow)
    addRange(query, "master", Kind::Master, swept, own, f32);
  addRange(query, "m", Kind::FirstMoment, swept, own, moment);
  addRange(query, "v", Kind::SecondMoment, swept, own, moment);
  addRange(query, "gradient", Kind::Gradient, swept, count, f32);
  query.add("norm", getNorm()).add("scalars", getScalars()).add("step", getStep());
  if (getStep())
    query.table = getRoundingTable(swept.parameters), query.set("numbers", query.table.size());
  query.set("count", count).set("decays", group == Group::f32_decays || group == Group::bf16_decays);
  query.set("ranks", swept.ranks).set("axes", swept.axes);
  query.setReal("beta1", getConfigDouble(*this, "beta1", 0.9)).setReal("beta2", getConfigDouble(*this, "beta2", 0.95));
  query.setReal("eps", getConfigDouble(*this, "eps", 1e-8)).setReal("decay", getConfigDouble(*this, "decay"));
  return query.setReal("clip", getConfigDouble(*this, "clip"));
}

LogicalResult MuonOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto module = (*this)->getParentOfType<ModuleOp>();
  auto parameter = module ? symbols.lookupSymbolIn<ParameterOp>(module, getParameterAttr()) : ParameterOp();
  if (!parameter)
    return emitOpError() << "unknown parameter " << getParameterAttr();
  int64_t segments = parameter.getPieces() ? int64_t(parameter.getPieces()->size() / kPieceNumbers) : 0;
  if (int64_t(getSegment()) < 0 || int64_t(getSegment()) >= segments)
    return emitOpError() << "updates segment " << getSegment() << " of parameter " << getParameterAttr() << ", which has " << segments;
  return success();
}

/// Null outside of a module.
static ParameterOp findMatrix(MuonOp op) {
  auto module = op->getParentOfType<ModuleOp>();
  return module ? module.lookupSymbol<ParameterOp>(op.getParameter()) : ParameterOp();
}

static ArrayRef<int64_t> getPieceNumbers(MuonOp op, ParameterOp parameter) {
  return parameter.getPieces()->slice(op.getSegment() * kPieceNumbers, kPieceNumbers);
}

KernelQuery MuonOp::getKernelQuery() {
  using Kind = LaunchOperand::Kind;
  KernelQuery query("muon");
  ParameterOp parameter = findMatrix(*this);
  if (!parameter || !parameter.getPieces())
    return query;
  auto weight = cast<RankedTensorType>(parameter.getType());
  Type f32 = Float32Type::get(getContext()), moment = getStep() ? Type(BFloat16Type::get(getContext())) : f32;
  StringRef name = parameter.getSymName();
  query.addState("weight", Kind::Weight, name, weight);
  if (!weight.getElementType().isF32())
    query.addState("master", Kind::Master, name, weight.clone(f32));
  query.addState("m", Kind::FirstMoment, name, weight.clone(moment)).addState("gradient", Kind::Gradient, name, weight.clone(f32));
  query.add("norm", getNorm()).add("scalars", getScalars()).add("step", getStep());
  query.set("experts", weight.getRank() == 3 ? weight.getDimSize(0) : 1).set("rows", weight.getDimSize(weight.getRank() - 2));
  query.set("cols", weight.getDimSize(weight.getRank() - 1));
  static const StringRef names[] = {"first", "run", "stride", "piece_rows", "pieces", "spacing"};
  for (auto [name, number] : llvm::zip_equal(names, getPieceNumbers(*this, parameter)))
    query.set(name, number);
  query.table = {getRoundingKey(parameter), 0};
  addPart(query.table, 1, parameter);
  query.set("numbers", query.table.size());
  query.set("iterations", getConfigInteger(*this, "iterations", 5)).set("nesterov", getConfigInteger(*this, "nesterov", 1));
  query.setReal("momentum", getConfigDouble(*this, "momentum", 0.95)).setReal("rms", getConfigDouble(*this, "rms", 0.2));
  return query.setReal("decay", getConfigDouble(*this, "decay")).setReal("clip", getConfigDouble(*this, "clip"));
}

OpCost MuonOp::getCost() {
  OpCost cost;
  cost.recomputable = false;
  ParameterOp parameter = findMatrix(*this);
  if (!parameter || !parameter.getPieces())
    return cost;
  auto weight = cast<RankedTensorType>(parameter.getType());
  int64_t columns = weight.getDimSize(weight.getRank() - 1), experts = weight.getRank() == 3 ? weight.getDimSize(0) : 1;
  ArrayRef<int64_t> numbers = getPieceNumbers(*this, parameter);
  Size shorter = std::min(numbers[3], columns), longer = std::max(numbers[3], columns);
  cost.flops = (shorter * shorter * (4 * longer + 2 * shorter) * numbers[4] * experts * getConfigInteger(*this, "iterations", 5)).get();
  return cost;
}

KernelQuery SquareSumOp::getKernelQuery() {
  Swept swept = getSwept(*this);
  KernelQuery query(getShared() ? "square_sum_shared" : "square_sum");
  query.add("sum", getSum());
  if (std::optional<ArrayRef<int64_t>> shared = getShared()) {
    query.set("ranges", shared->size() / 3).set("ranks", swept.ranks).set("axes", swept.axes);
    for (auto [index, bound] : llvm::enumerate(*shared))
      query.set("shared" + std::to_string(index), bound);
  }
  return addRange(query, "x", LaunchOperand::Kind::Gradient, swept, swept.count, Float32Type::get(getContext())).set("count", swept.count);
}

ShardingRule SquareSumOp::getShardingRule() { return ShardingRule::get("() -> ([one])", {}); }

KernelQuery NormOp::getKernelQuery() {
  KernelQuery query("norm");
  return query.add("norm", getNorm()).addEach("part", getParts()).set("parts", getParts().size());
}

ShardingRule NormOp::getShardingRule() {
  std::string parts;
  for (size_t index = 0; index < getParts().size(); ++index)
    parts += index ? ", [one]" : "[one]";
  return ShardingRule::get("(" + parts + ") -> ([one])", {});
}

// Zero.

ShardingRule ZeroOp::getShardingRule() { return ShardingRule::getPointwise(0, cast<RankedTensorType>(getY().getType()).getShape()); }

KernelQuery ZeroOp::getKernelQuery() { return KernelQuery("zero").add("y", getY()).set("count", getCount(getY())); }

// Fused groups.

LogicalResult FusedOp::verify() {
  Block &body = getBody().front();
  auto yield = dyn_cast<YieldOp>(body.back());
  if (!yield || body.getOperations().size() < 3)
    return emitOpError("needs at least two ops and a step.yield");
  if (yield.getValues().getTypes() != getResultTypes())
    return emitOpError("yields ") << yield.getValues().size() << " values that are not its " << getNumResults() << " results";
  for (Operation &op : body.without_terminator())
    if (!isa<KernelOpInterface>(op))
      return op.emitOpError("is not a launch and cannot be part of a fused group");
  return success();
}

bool megacc::step::isVisible(Value value, ArrayRef<Operation *> ops) {
  return value.use_empty() || llvm::any_of(value.getUsers(), [&](Operation *user) { return !llvm::is_contained(ops, user); });
}

KernelQuery megacc::step::getFusedQuery(ArrayRef<Operation *> ops) {
  KernelQuery fused;
  for (auto [index, op] : llvm::enumerate(ops)) {
    KernelQuery query = cast<KernelOpInterface>(op).getKernelQuery();
    std::string prefix = index ? query.family + "." : "";
    fused.family += (index ? "+" : "") + query.family;
    for (LaunchOperand operand : query.operands) {
      Operation *producer = operand.value ? operand.value.getDefiningOp() : nullptr;
      bool internal = producer && llvm::is_contained(ops, producer);
      if (internal && (producer != op || !isVisible(operand.value, ops)))
        continue;
      operand.name = prefix + operand.name;
      fused.operands.push_back(std::move(operand));
    }
    for (auto &[name, value] : query.ints)
      fused.set(prefix + name, value);
    for (auto &[name, value] : query.doubles)
      fused.setReal(prefix + name, value);
  }
  return fused;
}

/// The query with the values that are yielded replaced by the results.
KernelQuery FusedOp::getKernelQuery() {
  SmallVector<Operation *> ops;
  for (Operation &op : getBody().front().without_terminator())
    ops.push_back(&op);
  KernelQuery query = getFusedQuery(ops);
  auto yield = cast<YieldOp>(getBody().front().back());
  for (LaunchOperand &operand : query.operands)
    for (auto [value, result] : llvm::zip(yield.getValues(), getResults()))
      if (operand.value == value)
        operand.value = result;
  return query;
}

/// What the ops cost, without the bytes of values that stay inside.
OpCost FusedOp::getCost() {
  OpCost cost;
  auto yield = cast<YieldOp>(getBody().front().back());
  for (Operation &op : getBody().front().without_terminator()) {
    OpCost part = megacc::getCost(&op);
    cost.flops = (Size(cost.flops) + part.flops).get();
    cost.bytesRead += part.bytesRead;
    cost.bytesWritten += part.bytesWritten;
    for (Value operand : op.getOperands())
      if (operand.getParentBlock() == &getBody().front())
        cost.bytesRead -= getBytes(operand.getType());
    for (Value result : op.getResults())
      if (!llvm::is_contained(yield.getValues(), result))
        cost.bytesWritten -= getBytes(result.getType());
  }
  cost.recomputable = false;
  return cost;
}

// What happens to matrices at some steps only.
#include "dialects/Step/Step.h"
#include "megacc/Random.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Kind = LaunchOperand::Kind;

/// Null outside of a module.
static ParameterOp findParameter(Operation *op, StringRef name) {
  auto module = op->getParentOfType<ModuleOp>();
  return module ? module.lookupSymbol<ParameterOp>(name) : ParameterOp();
}

static RankedTensorType getWeightType(ParameterOp parameter) { return cast<RankedTensorType>(parameter.getType()); }
static int64_t getRows(RankedTensorType type) { return type.getDimSize(type.getRank() - 2); }
static int64_t getColumns(RankedTensorType type) { return type.getDimSize(type.getRank() - 1); }
static int64_t getExperts(RankedTensorType type) { return type.getRank() == 3 ? type.getDimSize(0) : 1; }

/// The parameter is there, is trained and has rows and columns, of experts or not; null after an error.
static ParameterOp verifyMatrix(Operation *op, FlatSymbolRefAttr name, SymbolTableCollection &symbols) {
  auto module = op->getParentOfType<ModuleOp>();
  auto parameter = module ? symbols.lookupSymbolIn<ParameterOp>(module, name) : ParameterOp();
  if (!parameter) {
    op->emitOpError() << "unknown parameter " << name;
    return nullptr;
  }
  if (int64_t rank = getWeightType(parameter).getRank(); !parameter.getTrained() || rank < 2 || rank > 3) {
    op->emitOpError() << "changes parameter " << name << ", which is " << (parameter.getTrained() ? "no matrix" : "not trained");
    return nullptr;
  }
  return parameter;
}

static LogicalResult verifyPiece(Operation *op, FlatSymbolRefAttr name, ArrayRef<int64_t> piece, SymbolTableCollection &symbols) {
  ParameterOp parameter = verifyMatrix(op, name, symbols);
  if (!parameter)
    return failure();
  if (piece.size() != kPieceNumbers)
    return op->emitOpError("has ") << piece.size() << " numbers of a piece, expected [first, run, stride, rows, count, spacing]";
  int64_t first = piece[0], run = piece[1], stride = piece[2], rows = piece[3], count = piece[4], spacing = piece[5];
  int64_t all = getRows(getWeightType(parameter));
  if (first < 0 || run < 1 || stride < run || rows < 1 || count < 1 || spacing < 0 ||
      first + (count - 1) * spacing + (rows - 1) / run * stride + (rows - 1) % run >= all)
    return op->emitOpError("has a piece outside of the ") << all << " rows of " << name;
  return success();
}

/// Weight and master under these names.
static void addWeight(KernelQuery &query, ParameterOp parameter, StringRef weight, StringRef master) {
  RankedTensorType type = getWeightType(parameter);
  query.addState(weight, Kind::Weight, parameter.getSymName(), type);
  if (!type.getElementType().isF32())
    query.addState(master, Kind::Master, parameter.getSymName(), type.clone(Float32Type::get(type.getContext())));
}

static RankedTensorType getMomentType(ParameterOp parameter) {
  Builder builder(parameter.getContext());
  bool isNarrow = getConfigText(parameter, "moments") == "bf16";
  return getWeightType(parameter).clone(isNarrow ? Type(builder.getBF16Type()) : Type(builder.getF32Type()));
}

static void addFirstMoment(KernelQuery &query, ParameterOp parameter, StringRef name) {
  query.addState(name, Kind::FirstMoment, parameter.getSymName(), getMomentType(parameter));
}

/// Where it has one: Muon keeps one moment.
static void addSecondMoment(KernelQuery &query, ParameterOp parameter, StringRef name) {
  if (!parameter.getPieces())
    query.addState(name, Kind::SecondMoment, parameter.getSymName(), getMomentType(parameter));
}

static void addReport(KernelQuery &query, Operation *op, StringRef name, int64_t count) {
  query.addState("report", Kind::Metric, name, RankedTensorType::get({count}, Float32Type::get(op->getContext())));
}

static void addPiece(KernelQuery &query, ParameterOp parameter, ArrayRef<int64_t> piece) {
  RankedTensorType type = getWeightType(parameter);
  query.set("experts", getExperts(type)).set("rows", getRows(type)).set("cols", getColumns(type));
  static const StringRef names[] = {"first", "run", "stride", "piece_rows", "pieces", "spacing"};
  for (auto [name, number] : llvm::zip_equal(names, piece))
    query.set(name, number);
}

// FIRE.

LogicalResult FireOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyPiece(*this, getParameterAttr(), getPiece(), symbols);
}

KernelQuery FireOp::getKernelQuery() {
  KernelQuery query("fire");
  ParameterOp parameter = findParameter(*this, getParameter());
  if (!parameter)
    return query;
  addWeight(query, parameter, "weight", "master");
  if (getResets())
    addFirstMoment(query, parameter, "m"), addSecondMoment(query, parameter, "v");
  addReport(query, *this, getReport(), 4);
  addPiece(query, parameter, getPiece());
  return query.set("iterations", getIterations()).set("shape", getShape()).set("accumulate", getAdds() ? 2 : 0);
}

OpCost FireOp::getCost() {
  OpCost cost;
  cost.recomputable = false;
  ParameterOp parameter = findParameter(*this, getParameter());
  if (!parameter)
    return cost;
  RankedTensorType type = getWeightType(parameter);
  int64_t rows = getPiece()[3], columns = getColumns(type);
  Size shorter = std::min(rows, columns), longer = std::max(rows, columns);
  cost.flops = (shorter * shorter * (4 * longer + 2 * shorter) * getPiece()[4] * getExperts(type) * (int64_t(getIterations()) + 4)).get();
  return cost;
}

// DASH.

LogicalResult DashOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyPiece(*this, getParameterAttr(), getPiece(), symbols);
}

KernelQuery DashOp::getKernelQuery() {
  KernelQuery query("dash");
  ParameterOp parameter = findParameter(*this, getParameter());
  if (!parameter)
    return query;
  addWeight(query, parameter, "weight", "master");
  if (getResets() || !getGradient())
    addFirstMoment(query, parameter, "m");
  if (getResets())
    addSecondMoment(query, parameter, "v");
  if (getGradient())
    query.addState("gradient", Kind::Gradient, getParameter(), getWeightType(parameter).clone(Float32Type::get(getContext())));
  addReport(query, *this, getReport(), 3);
  addPiece(query, parameter, getPiece());
  query.set("gentle", getGentle()).set("resets", getResets()).set("accumulate", getAdds() ? 2 : 0);
  query.setReal("floor", getFloor().convertToDouble()).setReal("rate", getRate().convertToDouble());
  return query.setReal("margin", getMargin().convertToDouble());
}

/// Three products and the scaling of every element.
OpCost DashOp::getCost() {
  OpCost cost;
  cost.recomputable = false;
  if (ParameterOp parameter = findParameter(*this, getParameter())) {
    RankedTensorType type = getWeightType(parameter);
    cost.flops = (Size(7) * getPiece()[3] * getPiece()[4] * getColumns(type) * getExperts(type)).get();
  }
  return cost;
}

// ReDo.

LogicalResult RedoOp::verifySymbolUses(SymbolTableCollection &symbols) {
  ParameterOp up = verifyMatrix(*this, getUpAttr(), symbols), down = verifyMatrix(*this, getDownAttr(), symbols);
  if (!up || !down)
    return failure();
  RankedTensorType rows = getWeightType(up), columns = getWeightType(down);
  if (getExperts(rows) != getExperts(columns) || getRows(rows) != int64_t(getHalves()) * getColumns(columns) ||
      getColumns(rows) != getRows(columns))
    return emitOpError() << "pairs " << getUpAttr() << " " << rows << " with " << getDownAttr() << " " << columns << ", " << getHalves()
                         << " rows a column";
  return success();
}

KernelQuery RedoOp::getKernelQuery() {
  KernelQuery query("redo");
  ParameterOp up = findParameter(*this, getUp()), down = findParameter(*this, getDown());
  if (!up || !down)
    return query;
  addWeight(query, up, "up", "up_master"), addFirstMoment(query, up, "up_m"), addSecondMoment(query, up, "up_v");
  addWeight(query, down, "down", "down_master"), addFirstMoment(query, down, "down_m"), addSecondMoment(query, down, "down_v");
  RankedTensorType type = getWeightType(down);
  int64_t experts = getExperts(type), width = getColumns(type);
  Type f32 = Float32Type::get(getContext());
  bool isStacked = type.getRank() == 3;
  query.addState("activity", Kind::Metric, getActivity(),
                 isStacked ? RankedTensorType::get({experts, width}, f32) : RankedTensorType::get({width}, f32));
  if (std::optional<StringRef> picks = getPicks())
    query.addState("picks", Kind::Metric, *picks, RankedTensorType::get({experts}, f32));
  query.add("step", getStep());
  addReport(query, *this, getReport(), experts);
  query.table = {int64_t(streamKey(uint64_t(getConfigInteger(*this, "seed", 0)), ("redo." + getUp()).str())), 0};
  query.set("numbers", query.table.size()).set("experts", experts).set("width", width).set("cols", getRows(type));
  query.set("halves", getHalves()).set("seen", getSeen()).set("least", getLeast());
  return query.setReal("tau", getTau().convertToDouble()).setReal("deviation", getDeviation().convertToDouble());
}

KernelQuery AbsColumnSumOp::getKernelQuery() {
  KernelQuery query("abs_column_sum");
  int64_t experts = getOffsets() ? getCount(getOffsets()) - 1 : 1, columns = getDim(getX(), 1);
  Type f32 = Float32Type::get(getContext());
  query.addState("sum", Kind::Metric, getName(),
                 getOffsets() ? RankedTensorType::get({experts, columns}, f32) : RankedTensorType::get({columns}, f32));
  query.add("x", getX()).add("offsets", getOffsets());
  return query.set("rows", getDim(getX(), 0)).set("cols", columns).set("experts", experts).set("accumulate", 1);
}

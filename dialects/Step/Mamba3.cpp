// The Mamba-3 scan.
#include "dialects/Step/Step.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

// state_gate.

static LogicalResult verifyStateGate(Operation *op, Value logits, Value bias, Value cut) {
  if (failed(expectShape(op, "bias", bias, {getDim(logits, 1)})))
    return failure();
  return expectShape(op, "cut", cut, {getDim(logits, 0), getDim(logits, 1)});
}

LogicalResult StateGateOp::verify() { return verifyStateGate(*this, getLogits(), getBias(), getCut()); }

LogicalResult StateGateGradOp::verify() {
  if (failed(verifyStateGate(*this, getLogits(), getBias(), getDCut())) || failed(expectLike(*this, "d_logits", getDLogits(), getLogits())))
    return failure();
  return expectLike(*this, "d_bias", getDBias(), getBias());
}

SmallVector<Value> StateGateOp::getSavedValues() { return {getLogits(), getBias()}; }

Gradients StateGateOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto grad =
      StateGateGradOp::create(builder, getLoc(), getLogits().getType(), getBias().getType(), resultGradients[0], saved[0], saved[1]);
  return SmallVector<Value>{grad.getDLogits(), grad.getDBias()};
}

static ShardingRule getStateGateRule(StringRef text, Value logits) {
  return ShardingRule::get(text, {{"t", getDim(logits, 0)}, {"h", getDim(logits, 1)}});
}

ShardingRule StateGateOp::getShardingRule() { return getStateGateRule("([t, h], [h]) -> ([t, h])", getLogits()); }
ShardingRule StateGateGradOp::getShardingRule() {
  return getStateGateRule("([t, h], [t, h], [h]) -> ([t, h], [h]) reduce{t} linear{0}", getLogits());
}

KernelQuery StateGateOp::getKernelQuery() {
  KernelQuery query("state_gate");
  query.add("cut", getCut()).add("logits", getLogits()).add("bias", getBias());
  return query.set("rows", getDim(getLogits(), 0)).set("heads", getDim(getLogits(), 1));
}

KernelQuery StateGateGradOp::getKernelQuery() {
  KernelQuery query("state_gate_grad");
  query.add("d_logits", getDLogits()).add("d_bias", getDBias()).add("d_cut", getDCut()).add("logits", getLogits()).add("bias", getBias());
  return query.set("rows", getDim(getLogits(), 0)).set("heads", getDim(getLogits(), 1));
}

// The scan.

template <typename Op> static LogicalResult verifyInputs(Op op) {
  int64_t heads = op.getHeads(), groups = op.getGroups(), rank = op.getRank(), dim = op.getHeadDim(), state = op.getState();
  int64_t angles = op.getAngles(), count = op.getParameters().size(), expected = 6 + 3 * op.getMimo() + op.getOutNorm() + op.getStateGate();
  if (count != expected)
    return op.emitOpError("has ") << count
                                  << " parameters; expected 6, with mimo 3 more, with out_norm and state_gate one more each: " << expected;
  if (groups <= 0 || heads % groups)
    return op.emitOpError("has ") << heads << " heads, which " << groups << " groups cannot share evenly";
  if (!op.getMimo() && rank != 1)
    return op.emitOpError("has no mimo parameters, but rank ") << rank;
  if (state % 2 || angles < 0 || angles > state / 2)
    return op.emitOpError("rotates ") << angles << " pairs of " << state << " channels";
  int64_t rows = op.getBatch() * op.getSequence(), inner = heads * dim, width = 2 * inner + 2 * groups * state * rank + 3 * heads + angles;
  if (failed(expectShape(op, "projection", op.getProjection(), {rows, width})))
    return failure();
  SmallVector<int64_t> sizes = {heads, heads, heads * rank * state, heads * rank * state, state, state};
  if (op.getMimo())
    sizes.append(3, heads * rank * dim);
  if (op.getOutNorm())
    sizes.push_back(inner);
  if (op.getStateGate())
    sizes.push_back(rows * heads);
  for (auto [index, parameter, size] : llvm::enumerate(op.getParameters(), sizes))
    if (getCount(parameter) != size)
      return op.emitOpError("has parameter ") << index << " of " << parameter.getType() << ", expected " << size << " elements";
  if (op.getDocuments() && getCount(op.getDocuments()) != rows)
    return op.emitOpError("has documents of ") << op.getDocuments().getType() << " for " << rows << " rows";
  return success();
}

template <typename Op> static LogicalResult verifyScan(Op op, Value y) {
  if (failed(verifyInputs(op)) ||
      failed(expectShape(op, "y", y, {int64_t(op.getBatch() * op.getSequence()), int64_t(op.getHeads() * op.getHeadDim())})))
    return failure();
  return verifyCaches(op, op.getCachedAttr(), op.getCaches());
}

LogicalResult Mamba3ScanOp::verify() { return verifyScan(*this, getY()); }

LogicalResult Mamba3StateNormOp::verify() { return failed(verifyInputs(*this)) ? failure() : expectShape(*this, "norm", getNorm(), {1}); }

LogicalResult Mamba3ScanGradOp::verify() {
  if (failed(verifyScan(*this, getDY())) || failed(expectLike(*this, "d_projection", getDProjection(), getProjection())))
    return failure();
  if (getDParameters().size() != getParameters().size())
    return emitOpError("has ") << getDParameters().size() << " gradients for " << getParameters().size() << " parameters";
  for (auto [gradient, parameter] : llvm::zip(getDParameters(), getParameters()))
    if (failed(expectLike(*this, "d_parameters", gradient, parameter)))
      return failure();
  return success();
}

SmallVector<Value> Mamba3ScanOp::getSavedValues() { return SmallVector<Value>(getOperands()); }

Gradients Mamba3ScanOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  SmallVector<Type> types;
  for (Value parameter : getParameters())
    types.push_back(getF32Like(parameter));
  auto grad = Mamba3ScanGradOp::create(builder, getLoc(), getProjection().getType(), types, resultGradients[0], saved[0],
                                       saved.slice(1, getParameters().size()), getDocuments() ? saved.back() : Value(), ValueRange(),
                                       getBatchAttr(), getSequenceAttr(), getHeadsAttr(), getGroupsAttr(), getRankAttr(), getHeadDimAttr(),
                                       getStateAttr(), getAnglesAttr(), getChunkAttr(), getMimoAttr(), getOutNormAttr(), getHeavyAttr(),
                                       getStateGateAttr(), getEpsAttr(), ArrayAttr());
  SmallVector<Value> gradients(grad.getResults());
  gradients.resize(getNumOperands());
  return gradients;
}

StringRef Mamba3ScanOp::getMeasureName() { return "state_norm"; }

Value Mamba3ScanOp::buildMeasure(OpBuilder &builder) {
  FloatAttr share = builder.getF64FloatAttr(1.0 / (double(getBatch()) * double(getHeads())));
  return Mamba3StateNormOp::create(builder, getLoc(), RankedTensorType::get({1}, builder.getF32Type()), getProjection(), getParameters(),
                                   getDocuments(), getBatchAttr(), getSequenceAttr(), getHeadsAttr(), getGroupsAttr(), getRankAttr(),
                                   getHeadDimAttr(), getStateAttr(), getAnglesAttr(), getMimoAttr(), getOutNormAttr(), getHeavyAttr(),
                                   getStateGateAttr(), getEpsAttr(), share);
}

/// Heads are g groups of m. Splitting heads leaves the segments without them (B and C for m, the angles for both) whole on every rank, and
/// their gradients partial.
enum class Scan { Forward, Backward, Norm };

template <typename Op> static ShardingRule getScanRule(Op op, Scan scan) {
  std::string projection = "[b s, z.g z.m z.p x.g x.m x.p B.r B.g B.n C.r C.g C.n dt.g dt.m A.g A.m trap.g trap.m angle.a]";
  std::string parameters = "[g m], [g m], [g m, r, n], [g m, r, n], [n], [n]", y = "[b s, g m p]";
  if (op.getMimo())
    parameters += ", [g m, r, p], [g m, r, p], [g m, r, p]";
  if (op.getOutNorm())
    parameters += ", [g m p]";
  if (op.getStateGate())
    parameters += ", [b s, g m]";
  std::string inputs = projection + ", " + parameters + (op.getDocuments() ? ", [b, s]" : "");
  std::string text = scan == Scan::Backward ? "(" + y + ", " + inputs + ") -> (" + projection + ", " + parameters + ") reduce{b g m}"
                     : scan == Scan::Norm   ? "(" + inputs + ") -> ([one]) reduce{b g m}"
                                            : "(" + inputs + ") -> (" + y + ")";
  text += " replicate{s: a state follows from those before it; p r n: a state is one matrix of all ranks; a: heads share the angles} "
          "attributes{batch = b, sequence = s, heads = g m, groups = g, rank = r, head_dim = p, state = n, angles = a}";
  return ShardingRule::get(text, {{"b", op.getBatch()},
                                  {"s", op.getSequence()},
                                  {"g", op.getGroups()},
                                  {"m", op.getHeads() / op.getGroups()},
                                  {"p", op.getHeadDim()},
                                  {"r", op.getRank()},
                                  {"n", op.getState()},
                                  {"a", op.getAngles()}});
}

ShardingRule Mamba3ScanOp::getShardingRule() { return getScanRule(*this, Scan::Forward); }
ShardingRule Mamba3ScanGradOp::getShardingRule() { return getScanRule(*this, Scan::Backward); }
ShardingRule Mamba3StateNormOp::getShardingRule() { return getScanRule(*this, Scan::Norm); }

template <typename Op> static KernelQuery &setInputs(KernelQuery &query, Op op) {
  query.add("projection", op.getProjection()).addEach("parameter", op.getParameters()).add("documents", op.getDocuments());
  query.set("batch", op.getBatch()).set("sequence", op.getSequence()).set("heads", op.getHeads()).set("groups", op.getGroups());
  query.set("rank", op.getRank()).set("head_dim", op.getHeadDim()).set("state", op.getState()).set("angles", op.getAngles());
  query.set("heavy", op.getHeavy()).set("mimo", op.getMimo()).set("out_norm", op.getOutNorm()).set("parts", op.getParameters().size());
  return query.setReal("eps", op.getEps().convertToDouble());
}

template <typename Op> static KernelQuery &setScan(KernelQuery &query, Op op) {
  setInputs(query, op);
  addCaches(query, op.getCachedAttr(), op.getCaches());
  return query;
}

KernelQuery Mamba3ScanOp::getKernelQuery() {
  KernelQuery query("mamba3_scan");
  return setScan(query.add("y", getY()), *this);
}

KernelQuery Mamba3ScanGradOp::getKernelQuery() {
  KernelQuery query("mamba3_scan_grad");
  return setScan(query.add("d_projection", getDProjection()).addEach("d_parameter", getDParameters()).add("d_y", getDY()), *this);
}

KernelQuery Mamba3StateNormOp::getKernelQuery() {
  KernelQuery query("mamba3_state_norm");
  return setInputs(query.add("norm", getNorm()), *this).setReal("share", getShare().convertToDouble());
}

/// Conventions 17: products over the rows of a chunk, and with the state.
template <typename Op> static OpCost getScanCost(Op op, int64_t times) {
  OpCost cost = getMemoryCost(op);
  Size rank = op.getRank(), state = op.getState(), dim = op.getHeadDim(), rows = rank * op.getChunk();
  Size head = 2 * rank * rows * (state + dim) + 4 * rank * state * dim;
  cost.flops = (Size(times) * op.getBatch() * op.getSequence() * op.getHeads() * head).get();
  return cost;
}

OpCost Mamba3ScanOp::getCost() { return getScanCost(*this, 1); }
OpCost Mamba3ScanGradOp::getCost() { return getScanCost(*this, 2); }

/// A state is a sum of products with the rows of B.
OpCost Mamba3StateNormOp::getCost() {
  OpCost cost = getMemoryCost(*this);
  cost.flops = (Size(2) * getBatch() * getSequence() * getHeads() * getRank() * getState() * getHeadDim()).get();
  return cost;
}

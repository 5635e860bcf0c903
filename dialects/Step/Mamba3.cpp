//===- Mamba3.cpp - the Mamba-3 scan --------------------------------------===//
#include "dialects/Step/Step.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

static constexpr size_t kCommonParameters = 6, kMimoParameters = 3;

template <typename Op> static bool isMimo(Op op) { return op.getParameters().size() >= kCommonParameters + kMimoParameters; }
template <typename Op> static bool hasNorm(Op op) { return op.getParameters().size() % kMimoParameters == 1; }

LogicalResult Mamba3ScanOp::verify() {
  int64_t heads = getHeads(), groups = getGroups(), rank = getRank(), dim = getHeadDim(), state = getState(), angles = getAngles();
  size_t count = getParameters().size();
  if (count != 6 && count != 7 && count != 9 && count != 10)
    return emitOpError("has ") << count << " parameters; expected 6, with mimo 9, with a norm one more";
  if (groups <= 0 || heads % groups)
    return emitOpError("has ") << heads << " heads, which " << groups << " groups cannot share evenly";
  if (!isMimo(*this) && rank != 1)
    return emitOpError("has no mimo parameters, but rank ") << rank;
  if (state % 2 || angles < 0 || angles > state / 2)
    return emitOpError("rotates ") << angles << " pairs of " << state << " channels";
  if (getWindow() <= 0 || getWindow() % 64)
    return emitOpError("has windows of ") << getWindow() << " tokens, not a multiple of 64";
  int64_t rows = getBatch() * getSequence(), inner = heads * dim, width = 2 * inner + 2 * groups * state * rank + 3 * heads + angles;
  if (getDim(getProjection(), 0) != rows || getDim(getProjection(), 1) != width)
    return emitOpError("has a projection of ") << getProjection().getType() << ", expected " << rows << " x " << width;
  SmallVector<int64_t> sizes = {heads, heads, heads * rank * state, heads * rank * state, state, state};
  if (isMimo(*this))
    sizes.append(kMimoParameters, heads * rank * dim);
  if (hasNorm(*this))
    sizes.push_back(inner);
  for (auto [index, parameter, size] : llvm::enumerate(getParameters(), sizes))
    if (getCount(parameter) != size)
      return emitOpError("has parameter ") << index << " of " << parameter.getType() << ", expected " << size << " elements";
  int64_t windows = llvm::divideCeil(getSequence(), getWindow()), states = getBatch() * heads * windows * state * dim;
  if (getDim(getY(), 0) != rows || getDim(getY(), 1) != inner || getCount(getStates()) != states)
    return emitOpError("has results of ") << getY().getType() << " and " << getStates().getType() << ", expected " << rows << " x " << inner
                                          << " and " << windows << " states a head";
  if (getPsiV() && (!isMimo(*this) || getCount(getPsiV()) != rows * inner * int64_t(getRank())))
    return emitOpError("caches PsiV as ") << getPsiV().getType() << ", expected " << rows << " x " << inner * getRank()
                                          << " numbers of variant mimo";
  if (getDocuments() && getCount(getDocuments()) != rows)
    return emitOpError("has documents of ") << getDocuments().getType() << " for " << rows << " rows";
  return success();
}

SmallVector<Value> Mamba3ScanOp::getSavedValues() {
  SmallVector<Value> saved = {getStates()};
  if (getPsiV())
    saved.push_back(getPsiV());
  llvm::append_range(saved, getOperands());
  return saved;
}

Gradients Mamba3ScanOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0] || llvm::any_of(resultGradients.drop_front(), [](Value gradient) { return bool(gradient); }))
    return failure();
  Value psiV = getPsiV() ? saved[1] : Value();
  ValueRange operands = saved.drop_front(getPsiV() ? 2 : 1), parameters = operands.slice(1, getParameters().size());
  auto grad = Mamba3ScanGradOp::create(builder, getLoc(), getProjection().getType(), getParameters().getTypes(), resultGradients[0], saved[0], psiV,
                                       operands[0], parameters, getDocuments() ? operands.back() : Value(), getBatchAttr(), getSequenceAttr(),
                                       getHeadsAttr(), getGroupsAttr(), getRankAttr(), getHeadDimAttr(), getStateAttr(), getAnglesAttr(),
                                       getChunkAttr(), getWindowAttr(), getHeavyAttr(), getEpsAttr());
  SmallVector<Value> gradients(grad.getResults());
  gradients.resize(getNumOperands());
  return gradients;
}

/// Heads are g groups of m. Splitting heads leaves the segments without them (B and C for m, the angles for both) on every device.
template <typename Op> static ShardingRule getScanRule(Op op, bool backward) {
  std::string projection = "[b s, z.g z.m z.p x.g x.m x.p B.r B.g B.n C.r C.g C.n dt.g dt.m A.g A.m trap.g trap.m angle.a]";
  std::string parameters = "[g m], [g m], [g m, r, n], [g m, r, n], [n], [n]", states = "[b, g m, w, n, p]", y = "[b s, g m p]";
  if (isMimo(op))
    parameters += ", [g m, r, p], [g m, r, p], [g m, r, p]";
  if (hasNorm(op))
    parameters += ", [g m p]";
  std::string inputs = projection + ", " + parameters + (op.getDocuments() ? ", [b, s]" : "");
  if (op.getPsiV())
    states += ", [b s, g m, r, p]";
  std::string text = backward ? "(" + y + ", " + states + ", " + inputs + ") -> (" + projection + ", " + parameters + ") reduce{b g m}"
                              : "(" + inputs + ") -> (" + y + ", " + states + ")";
  int64_t windows = llvm::divideCeil(op.getSequence(), op.getWindow());
  return ShardingRule::get(text + " replicate{s p r n a w}",
                           {{"b", op.getBatch()}, {"s", op.getSequence()}, {"g", op.getGroups()}, {"m", op.getHeads() / op.getGroups()},
                            {"p", op.getHeadDim()}, {"r", op.getRank()}, {"n", op.getState()}, {"a", op.getAngles()}, {"w", windows}});
}

ShardingRule Mamba3ScanOp::getShardingRule() { return getScanRule(*this, /*backward=*/false); }
ShardingRule Mamba3ScanGradOp::getShardingRule() { return getScanRule(*this, /*backward=*/true); }

/// The formulas of kernels.def, in floats.
template <typename Op> static int64_t getScratch(Op op, bool backward) {
  int64_t batch = op.getBatch(), sequence = op.getSequence(), heads = op.getHeads(), groups = op.getGroups(), rank = op.getRank();
  int64_t angles = op.getAngles(), state = op.getState(), rows = batch * sequence, chunk = 32;
  while (chunk > 1 && chunk * rank > 32)
    chunk /= 2;
  auto pad = [](int64_t count) { return int64_t(llvm::alignTo(count, 8)); };
  int64_t N = pad(state), P = pad(op.getHeadDim()), L = pad(chunk * rank), S = pad(sequence);
  int64_t tokens = rows * (2 * rank * groups + angles) + 32, common = N * P + 8 * (L + N + P) + (5 + 2 * angles) * S;
  if (!backward)
    return tokens + std::min<int64_t>(batch * heads, 32) * (L * (5 * N + 6 * P + 3 * L) + common);
  int64_t parts = 1, states = llvm::divideCeil(std::min<int64_t>(op.getWindow(), sequence), chunk);
  while (parts < heads / groups && (batch * groups * parts < 16 || heads / groups % parts))
    ++parts;
  int64_t lane = L * (7 * N + 11 * P + 5 * L) + common + (states + 4) * N * P + 4 * S + pad(angles);
  return tokens + std::min<int64_t>(batch * groups * parts, 32) * lane + pad(batch * heads * (rank * (2 * N + 3 * P) + P + 8)) +
         pad((parts - 1) * rows * 2 * rank * groups * state) + pad(groups * parts * rows * angles) +
         pad(llvm::divideCeil(rows, 64) * 2 * state);
}

template <typename Op> static KernelQuery getScanQuery(StringRef kernel, Op op, bool backward) {
  KernelQuery query;
  query.kernel = kernel.str();
  query.ints = {int64_t(op.getBatch()),   int64_t(op.getSequence()), int64_t(op.getHeads()),  int64_t(op.getGroups()),
                int64_t(op.getRank()),    int64_t(op.getHeadDim()),  int64_t(op.getState()),  int64_t(op.getAngles()),
                int64_t(op.getWindow()), op.getHeavy(),             int64_t(op.getParameters().size())};
  query.doubles = {op.getEps().convertToDouble()};
  for (unsigned index = 0; index < op->getNumResults(); ++index)
    query.addResult(index);
  if (!backward && !op.getPsiV())
    query.addNull();
  for (unsigned index = 0; index < op->getNumOperands(); ++index) {
    if (backward && index == 2 && !op.getPsiV()) // after d_y and the states
      query.addNull();
    query.addOperand(index);
  }
  if (!op.getDocuments())
    query.addNull();
  query.workspaceBytes = 4 * getScratch(op, backward);
  return query;
}

KernelQuery Mamba3ScanOp::getKernelQuery() { return getScanQuery("mg_mamba3_scan", *this, /*backward=*/false); }
KernelQuery Mamba3ScanGradOp::getKernelQuery() { return getScanQuery("mg_mamba3_scan_grad", *this, /*backward=*/true); }

/// Conventions 17: products over the rows of a chunk, and with the state.
template <typename Op> static OpCost getScanCost(Op op, int64_t times) {
  OpCost cost = getMemoryCost(op);
  int64_t rank = op.getRank(), state = op.getState(), dim = op.getHeadDim(), rows = op.getChunk() * rank;
  cost.flops = times * op.getBatch() * op.getSequence() * op.getHeads() * (2 * rank * rows * (state + dim) + 4 * rank * state * dim);
  return cost;
}

OpCost Mamba3ScanOp::getCost() { return getScanCost(*this, 1); }
OpCost Mamba3ScanGradOp::getCost() { return getScanCost(*this, 2); }

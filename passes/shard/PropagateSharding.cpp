// How the ranks of a mesh share every value.
#include "passes/shard/Choice.h"
#include "passes/shard/Mesh.h"
#include "passes/shard/Passes.h"

#include "dialects/Interfaces/OpPath.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPPROPAGATESHARDING
#include "passes/shard/Passes.h.inc"

namespace {

struct StepPropagateSharding : impl::StepPropagateShardingBase<StepPropagateSharding> {
  void runOnOperation() override {
    mesh = getMesh(getOperation());
    if (mesh.count() == 1)
      return;
    for (auto func : getOperation().getOps<FuncOp>())
      for (Operation &op : func.getBody().front().without_terminator())
        if (failed(visit(&op, func)))
          return signalPassFailure();
    settleGradients();
  }

private:
  LogicalResult visit(Operation *op, FuncOp func) {
    std::vector<Sharding> results(op->getNumResults());
    if (auto input = dyn_cast<InputOp>(op)) {
      // What a micro-batch and an evaluation read has a row for each sample, what the update reads is the same everywhere.
      if (!runsOnceAStep(func))
        for (int64_t axis : {MG_DP, MG_EP})
          results[0].axes[axis] = splitRows(input.getValue(), axis);
    } else if (auto read = dyn_cast<ReadOp>(op)) {
      results[0] = getSharding(findParameter(read, read.getParameter()));
    } else if (auto rule = dyn_cast<ShardingRuleOpInterface>(op)) {
      return visit(rule);
    } else {
      std::vector<Sharding> needs;
      for (Value operand : op->getOperands())
        needs.push_back(settle(op, getSharding(operand)));
      setShardings(op, kNeedsAttr, needs);
    }
    setShardings(op, kShardingAttr, results);
    return success();
  }

  Spread splitRows(Value value, int64_t axis) const { return mesh.ranks[axis] > 1 ? Spread::even(0, getDim(value, 0)) : Spread(); }

  /// How an op that writes state takes a value: what the host sees is whole, but for the rows of outputs; counts and sums of a rank's own
  /// rows are summed where they are kept; gradients may be summands, see settleGradients.
  static Sharding settle(Operation *op, Sharding sharding) {
    for (auto [axis, spread] : llvm::enumerate(sharding.axes)) {
      bool isRows = isa<OutputOp, AbsColumnSumOp>(op) && axis != MG_TP && spread.kind == Share::Split && spread.dim == 0;
      if (!isa<AccumulateOp>(op) && !isRows && spread.kind != Share::Private)
        spread = {};
    }
    return sharding;
  }

  LogicalResult visit(ShardingRuleOpInterface op) {
    ShardingRule rule = op.getShardingRule();
    std::vector<Sharding> needs(op->getNumOperands()), results(op->getNumResults()), given;
    SmallVector<int64_t> bytes;
    for (Value operand : op->getOperands()) {
      given.push_back(getSharding(operand));
      bytes.push_back(getBytes(operand.getType()));
    }
    NamedAttrList splits;
    Builder builder(&getContext());
    SmallVector<bool> isSplitOverTp(rule.factors.size(), false);
    SmallVector<int64_t> taken(rule.factors.size(), 1);
    for (int64_t axis : {MG_DP, MG_EP, MG_TP}) { // ranks of tp may share the rows of those of dp and ep
      if (mesh.ranks[axis] == 1)
        continue;
      std::optional<Tokens> tokens;
      if (axis == MG_TP && mesh.sequence_parallel)
        tokens = getTokens(op, rule, taken, bytes);
      SmallVector<Spread> spreads = llvm::map_to_vector(given, [&](const Sharding &sharding) { return sharding.axes[axis]; });
      SmallVector<std::optional<Spread>> wanted;
      for (Value result : op->getResults())
        wanted.push_back(getWanted(result, axis));
      std::string why;
      std::optional<Choice> choice =
          choose(rule, spreads, bytes, wanted, op.getFactorsOver(axis), mesh.ranks[axis], why, tokens ? &*tokens : nullptr);
      if (!choice)
        return refuse(op, rule, given, axis, why);
      for (auto [need, spread] : llvm::zip_equal(needs, choice->operands))
        need.axes[axis] = spread;
      for (auto [result, spread] : llvm::zip_equal(results, choice->results))
        result.axes[axis] = spread;
      NamedAttrList sizes;
      for (const Choice::Split &split : choice->splits) {
        isSplitOverTp[split.factor] = axis == MG_TP;
        taken[split.factor] *= mesh.ranks[axis];
        sizes.set(rule.factors[split.factor].name, builder.getI64IntegerAttr(Choice::getLocalSize(rule, split, mesh.ranks[axis])));
      }
      if (!sizes.empty())
        splits.set(getAxisName(axis), sizes.getDictionary(&getContext()));
    }
    setShardings(op, kNeedsAttr, needs);
    setShardings(op, kShardingAttr, results);
    if (Attribute pair = op->getAttr(kPairAttr); pair && !isa<CacheOpInterface>(op.getOperation()))
      for (auto [factor, about] : llvm::enumerate(rule.factors))
        pairs[pair][about.name] = isSplitOverTp[factor];
    for (auto [operand, has, need] : llvm::zip_equal(op->getOperands(), given, needs))
      if (has.axes[MG_TP] != need.axes[MG_TP])
        known[operand].push_back({need.axes[MG_TP], sharesTokens(mesh, has) ? op->getAttr(kPhaseAttr) : Attribute()});
    if (!splits.empty())
      op->setDiscardableAttr(kSplitsAttr, splits.getDictionary(&getContext()));
    return success();
  }

  Tokens getTokens(Operation *op, const ShardingRule &rule, ArrayRef<int64_t> taken, SmallVectorImpl<int64_t> &bytes) {
    Tokens tokens;
    tokens.taken.assign(taken.begin(), taken.end());
    for (auto [index, operand] : llvm::enumerate(op->getOperands())) {
      if (operand.getDefiningOp<ReadOp>())
        bytes[index] *= kParameterWeight;
      tokens.stays.push_back(isInteger(operand.getType()));
      SmallVector<Spread> &spreads = tokens.known.emplace_back();
      for (const auto &[spread, phase] : known.lookup(operand))
        if (!phase || phase == op->getAttr(kPhaseAttr))
          spreads.push_back(spread);
    }
    if (auto before = pairs.find(op->getAttr(kPairAttr)); isa<CacheOpInterface>(op) && before != pairs.end())
      for (const ShardingRule::Factor &factor : rule.factors) {
        auto known = before->second.find(factor.name);
        tokens.before.push_back(known == before->second.end() ? std::nullopt : std::optional(known->second));
      }
    for (Type type : op->getResultTypes()) {
      tokens.bytes.push_back(getBytes(type));
      tokens.results_stay.push_back(isInteger(type));
    }
    return tokens;
  }
  static bool isInteger(Type type) { return cast<RankedTensorType>(type).getElementType().isInteger(); }

  /// How the parameter is shared of which a value is the gradient and nothing else.
  static std::optional<Spread> getWanted(Value value, int64_t axis) {
    auto accumulate = value.hasOneUse() ? dyn_cast<AccumulateOp>(*value.user_begin()) : AccumulateOp();
    if (!accumulate)
      return std::nullopt;
    return getSharding(findParameter(accumulate, accumulate.getParameter())).axes[axis];
  }

  LogicalResult refuse(Operation *op, const ShardingRule &rule, ArrayRef<Sharding> given, int64_t axis, const std::string &why) {
    InFlightDiagnostic error = op->emitError() << "'" << op->getName().getStringRef() << "' at \"" << getPath(op) << "\" over "
                                               << getAxisName(axis) << " = " << mesh.ranks[axis] << " is not supported yet: " << why
                                               << "; fix: " << getAxisName(axis) << " = 1";
    std::string text;
    for (const Sharding &sharding : given)
      text += (text.empty() ? "\"" : ", \"") + sharding.str() + "\"";
    error.attachNote() << "its operands are shared as " << text << ", its rule is " << rule.str();
    return failure();
  }

  /// A gradient is kept as ranks have it: like its parameter, or with summands that are summed once a step. All accumulations of a
  /// parameter must agree; where they do not, summands are summed before they are kept. Zeros are summands of zeros.
  void settleGradients() {
    llvm::MapVector<StringRef, SmallVector<AccumulateOp>> all;
    getOperation().walk([&](AccumulateOp op) { all[op.getParameter()].push_back(op); });
    for (auto &[name, ops] : all) {
      Sharding parameter = getSharding(findParameter(ops.front(), name));
      for (int64_t axis = 0; axis < MG_AXIS_COUNT; ++axis) {
        const Spread &whole = parameter.axes[axis];
        std::optional<Spread> kept;
        bool agree = true;
        for (AccumulateOp op : ops) {
          Spread spread = getNeed(op).axes[axis];
          bool fits = spread == whole || spread.summed() == whole;
          agree &= fits && (!kept || *kept == spread);
          kept = spread;
        }
        for (AccumulateOp op : ops)
          if (!agree)
            setNeed(op, axis, whole);
      }
    }
  }

  static Sharding getNeed(AccumulateOp op) { return getShardings(op, kNeedsAttr, 1).front(); }
  static void setNeed(AccumulateOp op, int64_t axis, const Spread &spread) {
    Sharding need = getNeed(op);
    need.axes[axis] = spread;
    setShardings(op, kNeedsAttr, need);
  }

  Mesh mesh;
  /// Of the op before a gradient, by their pair: whether tp splits its factors.
  llvm::DenseMap<Attribute, llvm::StringMap<bool>> pairs;
  /// What values have been brought to over tp, and in which phase alone, if not for all.
  llvm::DenseMap<Value, std::vector<std::pair<Spread, Attribute>>> known;
};

} // namespace
} // namespace megacc::step

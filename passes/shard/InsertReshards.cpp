// Disagreements and sums that are owed, made explicit.
#include "passes/shard/Choice.h"
#include "passes/shard/Mesh.h"
#include "passes/shard/Passes.h"

#include "dialects/Interfaces/OpPath.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <map>
#include <tuple>

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPINSERTRESHARDS
#include "passes/shard/Passes.h.inc"

namespace {

/// Elements of a rank's part, or of a group, of which ranks have summands.
struct Owed {
  int64_t first = 0, count = 0;
};

struct StepInsertReshards : impl::StepInsertReshardsBase<StepInsertReshards> {
  using Base::Base;

  void runOnOperation() override {
    mesh = getMesh(getOperation());
    if (mesh.count() == 1)
      return;
    for (auto func : getOperation().getOps<FuncOp>()) {
      made.clear();
      for (Operation &op : llvm::make_early_inc_range(func.getBody().front().without_terminator()))
        if (failed(reshardOperands(&op)))
          return signalPassFailure();
    }
    auto update = getOperation().lookupSymbol<FuncOp>("update");
    if (!update || failed(sumState(update)))
      return signalPassFailure();
    shareSquares(update);
    getOperation().walk([](Operation *op) { op->removeDiscardableAttr(kNeedsAttr); });
  }

private:
  LogicalResult reshardOperands(Operation *op) {
    std::vector<Sharding> needs = getShardings(op, kNeedsAttr, op->getNumOperands());
    for (auto [operand, need] : llvm::zip_equal(op->getOpOperands(), needs)) {
      Value value = operand.get();
      Sharding has = getSharding(value);
      if (has == need)
        continue;
      std::string from = has.str(), to = need.str();
      bool isAgain = sharesTokens(mesh, has) && need.axes[MG_TP].kind == Share::Whole;
      Value &reshard = made[{value.getAsOpaquePointer(), to, isAgain ? op->getAttr(kPhaseAttr).getAsOpaquePointer() : nullptr}];
      if (!reshard) {
        for (int64_t axis = 0; axis < MG_AXIS_COUNT; ++axis)
          if (!getReshardCost(has.axes[axis], need.axes[axis], 1))
            return op->emitError() << "'" << op->getName().getStringRef() << "' at \"" << getPath(op) << "\" needs a value shared as \""
                                   << from << "\" as \"" << to << "\", which is not supported yet; fix: " << getAxisName(axis) << " = 1";
        for (auto [outer, inner] : {std::pair(MG_DP, MG_EP), {MG_DP, MG_TP}, {MG_EP, MG_TP}}) // parts of dp are made of those of ep and tp
          if (has.axes[outer].kind == Share::Split && has.axes[inner].kind == Share::Split && has.axes[outer].dim == has.axes[inner].dim &&
              need.axes[outer] != has.axes[outer] && need.axes[inner] == has.axes[inner])
            return op->emitError() << "'" << op->getName().getStringRef() << "' at \"" << getPath(op) << "\" needs rows shared as \""
                                   << from << "\" as \"" << to << "\", which is not supported yet; fix: " << getAxisName(outer)
                                   << " = 1 or " << getAxisName(inner) << " = 1";
        OpBuilder builder(op);
        auto made = ReshardOp::create(builder, value.getLoc(), value.getType(), value, builder.getStringAttr(from));
        made->setAttr(kBlockAttr, value.getDefiningOp()->getAttr(kBlockAttr));
        made->setAttr(kPhaseAttr, op->getAttr(kPhaseAttr));
        setShardings(made, kShardingAttr, need);
        if (explain)
          made.emitRemark() << "\"" << getPath(made) << "\" is shared as \"" << from << "\", '" << op->getName().getStringRef() << "' at \""
                            << getPath(op) << "\" needs it as \"" << to << "\"";
        reshard = made.getY();
      }
      operand.set(reshard);
    }
    return success();
  }

  // Once a step.

  /// What is owed of each parameter's gradient.
  using AllOwed = std::map<std::string, SmallVector<Owed>>;

  LogicalResult sumState(FuncOp update) {
    std::array<AllOwed, MG_AXIS_COUNT> gradients;
    std::array<std::map<std::string, int64_t>, MG_AXIS_COUNT> metrics;
    for (int64_t axis = 0; axis < MG_AXIS_COUNT; ++axis) {
      if (mesh.ranks[axis] == 1)
        continue;
      WalkResult result = getOperation().walk([&](Operation *op) {
        if (auto accumulate = dyn_cast<AccumulateOp>(op))
          return failed(findOwed(accumulate, axis, gradients[axis])) ? WalkResult::interrupt() : WalkResult::advance();
        if (!isa<FlagOpInterface, ShardingRuleOpInterface>(op) && isa<KernelOpInterface>(op))
          findOwedMetrics(op, axis, metrics[axis]);
        return WalkResult::advance();
      });
      if (result.wasInterrupted())
        return failure();
    }
    markOwing(gradients);
    OpBuilder builder(&update.getBody().front(), update.getBody().front().begin());
    // Ranks that share an update have parts of sums over the other axes, which are made before.
    for (bool isShared : {false, true})
      for (int64_t axis = 0; axis < MG_AXIS_COUNT; ++axis)
        sumGradients(builder, update.getLoc(), axis, isShared, gradients[axis]);
    for (int64_t axis = 0; axis < MG_AXIS_COUNT; ++axis)
      for (auto &[name, count] : metrics[axis])
        sum(builder, NameLoc::get(builder.getStringAttr("mesh/" + name)), StateKind::metric, name, {0, count}, axis);
    shareUpdates(update);
    return success();
  }

  int64_t countLocal(ParameterOp parameter) const {
    int64_t count = 1;
    for (int64_t size : getSharding(parameter).getLocalShape(getWholeType(parameter).getShape(), mesh.ranks))
      count *= size;
    return count;
  }

  int64_t countLocal(const Sweep &sweep) const {
    int64_t count = 0;
    for (ParameterOp parameter : sweep.parameters)
      count += llvm::alignTo(countLocal(parameter), kParameterAlignment);
    return sweep.pad(count);
  }

  /// Says of every parameter over which axes all of its gradient is owed.
  void markOwing(ArrayRef<AllOwed> gradients) {
    Builder builder(&getContext());
    for (auto parameter : getOperation().getOps<ParameterOp>()) {
      int64_t owes = 0;
      for (auto [axis, owed] : llvm::enumerate(gradients))
        if (auto found = owed.find(parameter.getSymName().str()); found != owed.end())
          owes |= int64_t(found->second.size() == 1 && found->second.front().count == countLocal(parameter)) << axis;
      if (parameter.getTrained() && owes)
        parameter.setOwesAttr(builder.getI64IntegerAttr(owes));
    }
  }

  /// The part of a gradient that is owed: all of what the rank has, or rows of it.
  LogicalResult findOwed(AccumulateOp op, int64_t axis, AllOwed &owed) {
    SmallVector<Owed> &ranges = owed[op.getParameter().str()];
    ranges.clear(); // all accumulations of a parameter agree
    const Sharding need = getShardings(op, kNeedsAttr, 1).front();
    const Spread &spread = need.axes[axis];
    ParameterOp parameter = findParameter(op, op.getParameter());
    SmallVector<int64_t> shape = getSharding(parameter).getLocalShape(getWholeType(parameter).getShape(), mesh.ranks);
    int64_t count = 1;
    for (int64_t size : shape)
      count *= size;
    bool isCut = getSharding(parameter).axes[axis].kind == Share::Split; // then ranks have zeros of different elements
    if (spread.kind == Share::Partial || (isZero(op) && !isCut))
      ranges.push_back({0, count});
    if (spread.kind != Share::Split || !spread.has(Share::Partial))
      return success();
    if (spread.dim != 0)
      return op.emitError() << "the gradient of \"" << op.getParameter() << "\" owes sums in dimension " << spread.dim << " over "
                            << getAxisName(axis) << ", which is not supported yet; fix: " << getAxisName(axis) << " = 1";
    int64_t row = 0, width = count / shape.front();
    for (const Piece &piece : spread.pieces) {
      int64_t rows = getLocalSize(piece, mesh.ranks[axis]);
      if (piece.share == Share::Partial)
        ranges.push_back({row * width, rows * width});
      row += rows;
    }
    return success();
  }

  /// A gradient of zeros is the sum of zeros.
  static bool isZero(AccumulateOp op) { return op.getGradient().getDefiningOp<ZeroOp>() != nullptr; }

  static void findOwedMetrics(Operation *op, int64_t axis, std::map<std::string, int64_t> &metrics) {
    std::vector<Sharding> needs = getShardings(op, kNeedsAttr, op->getNumOperands());
    auto isOwn = [&](const Spread &spread) {
      return spread.kind == Share::Private || (isa<AbsColumnSumOp>(op) && spread.kind == Share::Split && spread.dim == 0);
    };
    if (llvm::none_of(needs, [&](const Sharding &need) { return isOwn(need.axes[axis]); }))
      return;
    for (const LaunchOperand &operand : cast<KernelOpInterface>(op).getKernelQuery().operands)
      if (operand.kind == LaunchOperand::Kind::Metric)
        metrics[operand.state] = operand.type.getNumElements();
  }

  /// A group at once where all of its parameters owe all they have, or a sweep of it. `isShared`: those whose ranks share the update.
  void sumGradients(OpBuilder &builder, Location loc, int64_t axis, bool isShared, AllOwed &owed) {
    for (Group group : kTrainedGroups) {
      SmallVector<Sweep> sweeps = getSweeps(getOperation(), group);
      auto owesAll = [&](const Sweep &sweep) { return bool(sweep.owes >> axis & 1); };
      auto shares = [&](const Sweep &sweep) { return bool(sweep.axes >> axis & 1); };
      std::string name = stringifyGroup(group).str();
      Location where = NameLoc::get(builder.getStringAttr("mesh/" + name));
      if (!isShared && llvm::all_of(sweeps, owesAll) && llvm::none_of(sweeps, shares)) {
        int64_t elements = 0;
        for (const Sweep &sweep : sweeps)
          elements += countLocal(sweep);
        if (elements)
          sum(builder, where, StateKind::gradient, "*" + name, {0, elements}, axis);
        continue;
      }
      for (const Sweep &sweep : sweeps) {
        if (isShared != shares(sweep))
          continue;
        if (isShared)
          mark(ReduceScatterStateOp::create(builder, where, group, sweep.owes, mesh.ranks[axis], axis));
        else if (owesAll(sweep))
          sum(builder, where, StateKind::gradient, sweep.getName(), {0, countLocal(sweep)}, axis);
        else
          for (ParameterOp parameter : sweep.parameters)
            for (const Owed &range : owed[parameter.getSymName().str()])
              sum(builder, parameter.getLoc(), StateKind::gradient, parameter.getSymName(), range, axis);
      }
    }
  }

  void mark(Operation *op) {
    Builder builder(&getContext());
    op->setAttr(kBlockAttr, builder.getI64IntegerAttr(-1));
    op->setAttr(kPhaseAttr, PhaseAttr::get(&getContext(), Phase::update));
  }

  /// Every rank updates its part of a sweep whose ranks share it, and gets the parts of the others; squares are those of the parts.
  void shareUpdates(FuncOp update) {
    if (!getConfigInteger(getOperation(), "zero"))
      return;
    for (auto op : llvm::to_vector(update.getBody().getOps<SquareSumOp>()))
      for (auto users = llvm::to_vector(op.getSum().getUsers()); Operation *norm : users) {
        OpBuilder builder(op);
        SmallVector<Value> operands;
        for (Value operand : norm->getOperands()) {
          if (operand != op.getSum()) {
            operands.push_back(operand);
            continue;
          }
          for (const Sweep &sweep : getSweeps(getOperation(), op.getGroup())) {
            auto part = cast<SquareSumOp>(builder.clone(*op));
            part.setOwesAttr(builder.getI64IntegerAttr(sweep.owes));
            operands.push_back(part.getSum());
          }
        }
        norm->setOperands(operands);
      }
    for (auto op : llvm::to_vector(update.getBody().getOps<AdamWOp>())) {
      OpBuilder builder(op);
      for (const Sweep &sweep : getSweeps(getOperation(), op.getGroup())) {
        auto part = cast<AdamWOp>(builder.clone(*op));
        part.setOwesAttr(builder.getI64IntegerAttr(sweep.owes));
        for (int64_t axis = MG_AXIS_COUNT; axis-- > 0;)
          if (sweep.axes >> axis & 1)
            mark(GatherStateOp::create(builder, op.getLoc(), op.getGroup(), sweep.owes, mesh.ranks[axis], axis));
      }
      op.erase();
    }
    for (auto op : llvm::to_vector(update.getBody().getOps<SquareSumOp>()))
      if (op.getSum().use_empty())
        op.erase();
  }

  void sum(OpBuilder &builder, Location loc, StateKind kind, StringRef name, Owed range, int64_t axis) {
    auto op = AllReduceStateOp::create(builder, loc, kind, name, range.first, range.count, mesh.ranks[axis], axis);
    mark(op);
  }

  // Squares of gradients.

  /// Over axes that cut parameters of a group the squares are summed over their ranks; what all of them have counts once.
  void shareSquares(FuncOp update) {
    for (auto op : llvm::to_vector(update.getBody().getOps<SquareSumOp>())) {
      std::array<SmallVector<int64_t>, MG_AXIS_COUNT> shared;
      Sharding summands;
      SmallVector<Sweep> sweeps = getSweeps(getOperation(), op.getGroup());
      if (std::optional<uint64_t> owes = op.getOwes())
        llvm::erase_if(sweeps, [&](const Sweep &sweep) { return sweep.owes != int64_t(*owes); });
      for (int64_t axis = 0; axis < MG_AXIS_COUNT; ++axis)
        if (std::optional<SmallVector<int64_t>> bounds = findShared(sweeps, axis)) {
          shared[axis] = *bounds;
          summands.axes[axis].kind = Share::Partial;
        }
      for (const Sweep &sweep : sweeps) // ranks that share the update have parts, of which none is another's
        for (int64_t axis = 0; axis < MG_AXIS_COUNT; ++axis)
          if (op.getOwes() && (sweep.axes >> axis & 1))
            summands.axes[axis].kind = Share::Partial;
      if (summands == Sharding())
        continue;
      op.setShared(joinShared(shared));
      OpBuilder builder(&getContext());
      builder.setInsertionPointAfter(op);
      auto reshard = ReshardOp::create(builder, op.getLoc(), op.getSum().getType(), op.getSum(), builder.getStringAttr(summands.str()));
      for (StringRef mark : {StringRef(kBlockAttr), StringRef(kPhaseAttr)})
        reshard->setAttr(mark, op->getAttr(mark));
      setShardings(reshard, kShardingAttr, Sharding());
      setShardings(op, kShardingAttr, summands);
      op.getSum().replaceAllUsesExcept(reshard.getY(), reshard);
    }
  }

  /// Bounds of ranges, axis by axis, as (begin, end, bits of the axes).
  static SmallVector<int64_t> joinShared(ArrayRef<SmallVector<int64_t>> shared) {
    SmallVector<int64_t> bounds, ranges;
    for (ArrayRef<int64_t> of_axis : shared)
      llvm::append_range(bounds, of_axis);
    llvm::sort(bounds);
    bounds.erase(llvm::unique(bounds), bounds.end());
    for (size_t index = 0; index + 1 < bounds.size(); ++index) {
      int64_t axes = 0;
      for (auto [axis, of_axis] : llvm::enumerate(shared)) // an odd number of bounds up to here: inside a range
        axes |= int64_t((llvm::upper_bound(of_axis, bounds[index]) - of_axis.begin()) % 2) << axis;
      if (axes && !ranges.empty() && ranges[ranges.size() - 2] == bounds[index] && ranges.back() == axes)
        ranges[ranges.size() - 2] = bounds[index + 1];
      else if (axes)
        ranges.append({bounds[index], bounds[index + 1], axes});
    }
    return ranges;
  }

  /// Elements of the sweeps' local order that every rank of the axis has, [begin, end) after [begin, end); nullopt where the axis cuts
  /// none.
  std::optional<SmallVector<int64_t>> findShared(ArrayRef<Sweep> sweeps, int64_t axis) {
    SmallVector<int64_t> bounds;
    auto add = [&](int64_t begin, int64_t count) {
      if (!bounds.empty() && bounds.back() == begin)
        bounds.back() += count;
      else
        bounds.append({begin, begin + count});
    };
    bool cuts = false;
    int64_t first = 0;
    SmallVector<ParameterOp> parameters;
    for (const Sweep &sweep : sweeps)
      llvm::append_range(parameters, sweep.parameters);
    for (ParameterOp parameter : parameters) {
      Sharding sharding = getSharding(parameter);
      const Spread &spread = sharding.axes[axis];
      SmallVector<int64_t> shape = sharding.getLocalShape(getWholeType(parameter).getShape(), mesh.ranks);
      int64_t outer = 1, inner = 1;
      for (auto [dim, size] : llvm::enumerate(shape))
        if (spread.kind == Share::Split && dim < spread.dim)
          outer *= size;
        else if (spread.kind != Share::Split || dim > spread.dim)
          inner *= size;
      int64_t count = outer * inner * (spread.kind == Share::Split ? shape[spread.dim] : 1);
      if (spread.kind != Share::Split) {
        add(first, count);
      } else {
        cuts = true;
        for (int64_t row = 0, at = first; row < outer; ++row)
          for (const Piece &piece : spread.pieces) {
            int64_t size = getLocalSize(piece, mesh.ranks[axis]) * inner;
            if (piece.share == Share::Whole)
              add(at, size);
            at += size;
          }
      }
      first += llvm::alignTo(count, kParameterAlignment);
    }
    return cuts ? std::optional(bounds) : std::nullopt;
  }

  Mesh mesh;
  std::map<std::tuple<const void *, std::string, const void *>, Value> made;
};

} // namespace
} // namespace megacc::step

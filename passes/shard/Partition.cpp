// Local shapes, and collectives for reshards.
#include "passes/shard/Mesh.h"
#include "passes/shard/Passes.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPPARTITION
#include "passes/shard/Passes.h.inc"

namespace {

/// What an op with a rule becomes.
struct Local {
  SmallVector<RankedTensorType> results;
  SmallVector<NamedAttribute> attributes;
};

struct StepPartition : impl::StepPartitionBase<StepPartition> {
  void runOnOperation() override {
    mesh = getMesh(getOperation());
    if (mesh.count() == 1)
      return;
    // Rules are read before any shape changes.
    llvm::DenseMap<Operation *, Local> locals;
    getOperation().walk([&](ShardingRuleOpInterface op) { locals[op] = localize(op); });
    for (auto parameter : getOperation().getOps<ParameterOp>())
      if (Sharding sharding = getSharding(parameter); sharding != Sharding()) {
        parameter.setWholeAttr(parameter.getTypeAttr());
        parameter.setType(getLocalType(cast<RankedTensorType>(parameter.getType()), sharding));
      }
    for (auto func : getOperation().getOps<FuncOp>())
      for (Operation &op : llvm::make_early_inc_range(func.getBody().front().without_terminator()))
        rewrite(&op, locals);
  }

private:
  RankedTensorType getLocalType(RankedTensorType type, const Sharding &sharding) const {
    return RankedTensorType::get(sharding.getLocalShape(type.getShape(), mesh.ranks), type.getElementType());
  }

  Local localize(ShardingRuleOpInterface op) const {
    Local local;
    ShardingRule rule = op.getShardingRule(), cut = rule;
    auto splits = op->getAttrOfType<DictionaryAttr>(kSplitsAttr);
    for (int64_t axis = 0; splits && axis < MG_AXIS_COUNT; ++axis) {
      auto sizes = splits.getAs<DictionaryAttr>(getAxisName(axis));
      for (NamedAttribute entry : sizes ? sizes.getValue() : ArrayRef<NamedAttribute>()) {
        unsigned factor = *rule.find(entry.getName());
        int64_t &size = cut.factors[factor].size; // two axes may split it, each a part of the other's
        size = size * cast<IntegerAttr>(entry.getValue()).getInt() / rule.factors[factor].size;
        for (const ShardingRule::Attribute &attribute : rule.attributes)
          if (attribute.tie == ShardingRule::Tie::Axis && llvm::is_contained(attribute.factors, factor))
            setTied(op, local.attributes, attribute.name, axis);
      }
    }
    for (const ShardingRule::Attribute &attribute : rule.attributes) {
      if (attribute.tie == ShardingRule::Tie::Axis)
        continue;
      int64_t value = *getTied(op, attribute.name), now = value;
      for (unsigned factor : attribute.factors)
        now = llvm::divideCeil(now * cut.factors[factor].size, rule.factors[factor].size);
      if (now != value)
        setTied(op, local.attributes, attribute.name, now);
    }
    for (auto [type, tensor] : llvm::zip(op->getResultTypes(), rule.results))
      local.results.push_back(getShape(cast<RankedTensorType>(type), cut, tensor));
    return local;
  }

  void rewrite(Operation *op, const llvm::DenseMap<Operation *, Local> &locals) {
    if (auto reshard = dyn_cast<ReshardOp>(op))
      return rewrite(reshard);
    SmallVector<Attribute> whole;
    for (Type type : op->getResultTypes())
      whole.push_back(TypeAttr::get(type));
    if (auto found = locals.find(op); found != locals.end()) {
      for (auto [result, type] : llvm::zip_equal(op->getResults(), found->second.results))
        result.setType(type);
      for (NamedAttribute attribute : found->second.attributes)
        op->setAttr(attribute.getName(), attribute.getValue());
    } else if (isa<InputOp, ReadOp>(op)) {
      Value value = op->getResult(0);
      value.setType(getLocalType(cast<RankedTensorType>(value.getType()), getSharding(value)));
    } else if (auto output = dyn_cast<OutputOp>(op)) {
      if (std::optional<ArrayRef<int64_t>> shape = output.getShape())
        output.setShape(getShownShape(*shape, getSharding(output.getValue())));
    }
    if (!whole.empty())
      op->setDiscardableAttr(kWholeAttr, ArrayAttr::get(&getContext(), whole));
    op->removeDiscardableAttr(kSplitsAttr);
  }

  /// The rows that the host sees are those of the rank; dimension 0 of the value has them, with what the shape splits off.
  SmallVector<int64_t> getShownShape(ArrayRef<int64_t> shape, const Sharding &sharding) const {
    SmallVector<int64_t> shown(shape);
    for (auto [axis, spread] : llvm::enumerate(sharding.axes))
      if (spread.kind == Share::Split)
        shown[0] /= mesh.ranks[axis];
    return shown;
  }

  void rewrite(ReshardOp op) {
    Sharding from = *Sharding::parse(op.getFrom()), to = getShardings(op, kShardingAttr, 1).front(), now = from;
    OpBuilder builder(op);
    Value value = op.getX();
    auto whole = cast<RankedTensorType>(op.getY().getType());
    auto mark = [&](Operation *made) {
      for (StringRef name : {StringRef(kBlockAttr), StringRef(kPhaseAttr)})
        made->setAttr(name, op->getAttr(name));
      setShardings(made, kShardingAttr, now);
      made->setDiscardableAttr(kWholeAttr, builder.getArrayAttr(TypeAttr::get(whole)));
      value = made->getResult(0);
    };
    auto isScattered = [&](int64_t axis) { // a sum of which each rank takes its part
      return now.axes[axis].kind == Share::Partial && to.axes[axis].kind == Share::Split && !whole.getElementType().isF64();
    };
    // Ranks of ep split the rows of those of dp, and those of tp the rows of both.
    SmallVector<int64_t> inwards = {MG_EP, MG_DP, MG_TP};
    if (sharesTokens(mesh, from))
      inwards = {MG_TP, MG_EP, MG_DP};
    for (int64_t axis : inwards) {
      Spread &spread = now.axes[axis];
      if (spread == to.axes[axis] || isScattered(axis))
        continue;
      int64_t ranks = mesh.ranks[axis], dim = spread.dim;
      bool isPartial = spread.kind == Share::Partial, isSplit = spread.kind == Share::Split;
      spread = {};
      if (isPartial)
        mark(AllReduceOp::create(builder, op.getLoc(), value.getType(), value, ranks, axis));
      else if (isSplit)
        mark(GatherPartsOp::create(builder, op.getLoc(), getLocalType(whole, now), value, dim, ranks, axis));
    }
    for (int64_t axis : {MG_DP, MG_EP, MG_TP}) {
      if (now.axes[axis] == to.axes[axis])
        continue;
      int64_t ranks = mesh.ranks[axis], dim = to.axes[axis].dim;
      bool isSum = isScattered(axis);
      now.axes[axis] = to.axes[axis];
      if (isSum)
        mark(ReduceScatterOp::create(builder, op.getLoc(), getLocalType(whole, now), value, dim, ranks, axis));
      else
        mark(TakePartOp::create(builder, op.getLoc(), getLocalType(whole, now), value, dim, ranks, axis));
    }
    op.getY().replaceAllUsesWith(value);
    op.erase();
  }

  Mesh mesh;
};

} // namespace
} // namespace megacc::step

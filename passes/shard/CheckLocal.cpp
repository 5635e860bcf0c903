// What later phases rely on once a step is cut.
#include "passes/shard/Mesh.h"
#include "passes/shard/Passes.h"

#include "dialects/Interfaces/OpPath.h"
#include "lib/Kernels/Kernels.h"

#include "llvm/ADT/STLExtras.h"

#include <map>
#include <tuple>

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPCHECKLOCAL
#include "passes/shard/Passes.h.inc"

namespace {

struct StepCheckLocal : impl::StepCheckLocalBase<StepCheckLocal> {
  void runOnOperation() override {
    mesh = getMesh(getOperation());
    bool good = true;
    for (auto func : getOperation().getOps<FuncOp>())
      for (Operation &op : func.getBody().front().without_terminator())
        good &= succeeded(check(&op));
    for (auto parameter : getOperation().getOps<ParameterOp>())
      good &= succeeded(checkShape(parameter, parameter.getType(), getWholeType(parameter), getSharding(parameter)));
    if (!good)
      return signalPassFailure();
    if (mesh.count() > 1)
      noteCollectives();
    getOperation().walk([](Operation *op) {
      if (isa<ParameterOp>(op))
        return;
      for (StringRef mark : {StringRef(kShardingAttr), StringRef(kWholeAttr)})
        op->removeDiscardableAttr(mark);
    });
  }

private:
  LogicalResult check(Operation *op) {
    if (isa<ReshardOp>(op))
      return op->emitOpError("is left at \"") << getPath(op) << "\"; run step-partition";
    if (auto axis = op->getAttrOfType<IntegerAttr>("axis"), ranks = op->getAttrOfType<IntegerAttr>("ranks"); axis && ranks)
      if (axis.getInt() < 0 || axis.getInt() >= MG_AXIS_COUNT || mesh.ranks[axis.getInt()] != ranks.getInt())
        return op->emitOpError("has ") << ranks.getInt() << " ranks on axis " << axis.getInt() << ", the mesh is dp = " << mesh.ranks[MG_DP]
                                       << ", tp = " << mesh.ranks[MG_TP] << ", ep = " << mesh.ranks[MG_EP];
    if (isa<LossOp, SetMetricOp, OutputOp>(op))
      for (Value operand : op->getOperands())
        if (Sharding sharding = getSharding(operand);
            llvm::any_of(sharding.axes, [](const Spread &spread) { return spread.has(Share::Partial); }))
          return op->emitOpError("at \"") << getPath(op) << "\" shows the host a value shared as \"" << sharding.str() << "\"";
    auto whole = op->getAttrOfType<ArrayAttr>(kWholeAttr);
    if (!whole)
      return success();
    for (auto [result, type, sharding] :
         llvm::zip(op->getResults(), whole.getAsValueRange<TypeAttr>(), getShardings(op, kShardingAttr, op->getNumResults())))
      if (failed(checkShape(op, result.getType(), cast<RankedTensorType>(type), sharding)))
        return failure();
    return success();
  }

  /// What a rank sends in a step, by function, axis and collective, for the plan.
  void noteCollectives() {
    struct Sum {
      int64_t launches = 0, bytes = 0;
    };
    std::map<std::tuple<std::string, int64_t, std::string>, Sum> sums;
    int64_t micro_batches = getConfigInteger(getOperation(), "accumulate", 1);
    getOperation().walk([&](KernelOpInterface op) {
      StringRef function = op->getParentOfType<FuncOp>().getSymName();
      if (function != "micro_batch" && function != "update")
        return;
      KernelQuery query = op.getKernelQuery();
      const Record *record = match(getTarget(op), query);
      if (!record || !record->sends)
        return;
      int64_t times = function == "update" ? 1 : micro_batches;
      Sum &sum = sums[{function.str(), query.getInt("axis"), op->getName().stripDialect().str()}];
      sum.launches += times, sum.bytes += times * record->sends(query);
    });
    Builder builder(&getContext());
    SmallVector<Attribute> entries;
    for (auto &[key, sum] : sums) {
      NamedAttrList entry;
      entry.set("function", builder.getStringAttr(std::get<0>(key)));
      entry.set("axis", builder.getStringAttr(getAxisName(std::get<1>(key))));
      entry.set("collective", builder.getStringAttr(std::get<2>(key)));
      entry.set("launches", builder.getI64IntegerAttr(sum.launches));
      entry.set("bytes", builder.getI64IntegerAttr(sum.bytes));
      entries.push_back(entry.getDictionary(&getContext()));
    }
    getOperation()->setAttr(kCollectivesAttr, builder.getArrayAttr(entries));
  }

  /// A tensor of a rank's own is as large as its op says.
  LogicalResult checkShape(Operation *op, Type type, RankedTensorType whole, const Sharding &sharding) {
    if (llvm::any_of(sharding.axes, [](const Spread &spread) { return spread.kind == Share::Private; }))
      return success();
    auto local = RankedTensorType::get(sharding.getLocalShape(whole.getShape(), mesh.ranks), whole.getElementType());
    if (type == local)
      return success();
    return op->emitOpError("at \"") << getPath(op) << "\" is " << type << " on a rank, but " << whole << " shared as \"" << sharding.str()
                                    << "\" is " << local;
  }

  Mesh mesh;
};

} // namespace
} // namespace megacc::step

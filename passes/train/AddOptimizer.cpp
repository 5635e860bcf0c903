// What happens once a step.
#include "passes/train/Marks.h"
#include "passes/train/Passes.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPADDOPTIMIZER
#include "passes/train/Passes.h.inc"

namespace {

struct StepAddOptimizer : impl::StepAddOptimizerBase<StepAddOptimizer> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (module.lookupSymbol("update")) {
      module.emitError("already has a function \"update\"");
      return signalPassFailure();
    }
    Marks marks;
    marks.phase = Phase::update;
    OpBuilder outside = OpBuilder::atBlockEnd(module.getBody());
    if (auto evaluate = module.lookupSymbol<FuncOp>("evaluate"))
      outside.setInsertionPoint(evaluate);
    auto getLoc = [&](StringRef name) { return NameLoc::get(outside.getStringAttr(name)); };
    auto func = FuncOp::create(outside, getLoc("update"), outside.getStringAttr("update"));
    OpBuilder terminator = OpBuilder::atBlockEnd(&func.getBody().emplaceBlock());
    ReturnOp::create(terminator, func.getLoc());
    OpBuilder builder(func.getContext(), &marks);
    builder.setInsertionPointToStart(&func.getBody().front());

    auto getType = [&](int64_t size) { return RankedTensorType::get({size}, builder.getF32Type()); };
    SmallVector<Group> groups;
    for (Group group : kTrainedGroups)
      if (hasGroup(module, group))
        groups.push_back(group);
    SmallVector<Value> squares;
    for (Group group : groups)
      squares.push_back(SquareSumOp::create(builder, getLoc("optimizer/norm"), RankedTensorType::get({1}, builder.getF64Type()), group,
                                            DenseI64ArrayAttr(), IntegerAttr()));
    Value norm = NormOp::create(builder, getLoc("optimizer/norm"), getType(1), squares);
    SetMetricOp::create(builder, getLoc("optimizer/norm"), builder.getStringAttr("grad_norm"), norm);
    Value scalars = InputOp::create(builder, getLoc("optimizer/scalars"), getType(3), builder.getStringAttr("scalars"));
    Value number; // of the update
    if (getConfigText(module, "moments") == "bf16")
      number = InputOp::create(builder, getLoc("optimizer/step"), RankedTensorType::get({1}, builder.getI32Type()),
                               builder.getStringAttr("step"));
    for (Group group : groups)
      if (group != Group::muon_f32 && group != Group::muon_bf16)
        AdamWOp::create(builder, getLoc(("optimizer/" + stringifyGroup(group)).str()), group, norm, scalars, number, IntegerAttr());
    for (auto parameter : module.getOps<ParameterOp>())
      if (std::optional<ArrayRef<int64_t>> pieces = parameter.getPieces())
        for (size_t segment = 0; segment < pieces->size() / kPieceNumbers; ++segment)
          MuonOp::create(builder, getLoc(("optimizer/" + parameter.getSymName()).str()), parameter.getSymName(), segment, norm, scalars,
                         number);
    if (auto forward = module.lookupSymbol<FuncOp>("micro_batch"))
      forward.walk([&](UpdateOpInterface op) {
        marks.block = getBlock(op);
        op.buildUpdate(builder, norm);
      });
  }
};

} // namespace
} // namespace megacc::step

// What happens to matrices at some steps only (conventions section 20).
#include "passes/train/Interventions.h"
#include "dialects/Interfaces/Functions.h"
#include "dialects/Mega/Matrices.h"
#include "dialects/Mega/Stack.h"
#include "passes/train/Marks.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::step {

std::set<std::string> findObservedLayers(const mega::Model &model) {
  std::set<std::string> keys;
  for (const mega::Intervention &intervention : model.train->interventions)
    if (intervention.kind == "redo")
      for (const mega::Target &target : mega::findTargets(model, intervention))
        keys.insert(target.parameter.name);
  return keys;
}

std::string getActivityName(StringRef key) {
  key.consume_back(".up.weight");
  return ("activity." + key).str();
}

namespace {

class Writer {
public:
  Writer(ModuleOp module, const mega::Model &model, FuncOp microBatch) : module(module), model(model), microBatch(microBatch) {
    marks.phase = Phase::update;
  }

  void write(size_t number, const mega::Intervention &intervention) {
    name = getInterventionName(number);
    MLIRContext *context = module.getContext();
    OpBuilder outside = OpBuilder::atBlockEnd(module.getBody());
    auto func = FuncOp::create(outside, getLoc(name), outside.getStringAttr(name));
    OpBuilder terminator = OpBuilder::atBlockEnd(&func.getBody().emplaceBlock());
    ReturnOp::create(terminator, func.getLoc());
    OpBuilder builder(context, &marks);
    builder.setInsertionPointToStart(&func.getBody().front());
    is_first = true;
    Value step;
    if (intervention.kind == "redo")
      step =
          InputOp::create(builder, getLoc(name + "/step"), RankedTensorType::get({1}, builder.getI32Type()), builder.getStringAttr("step"));
    for (const mega::Target &target : mega::findTargets(model, intervention)) {
      if (intervention.kind == "redo")
        addRedo(builder, target, intervention.keys, step);
      else
        for (const mega::Pieces &piece : target.pieces)
          addPiece(builder, target, piece, intervention);
    }
  }

private:
  Location getLoc(const std::string &text) { return NameLoc::get(StringAttr::get(module.getContext(), text)); }

  void addPiece(OpBuilder &builder, const mega::Target &target, const mega::Pieces &piece, const mega::Intervention &intervention) {
    const mega::KeyValues &keys = intervention.keys;
    auto flag = [&](bool set) { return set ? builder.getUnitAttr() : UnitAttr(); };
    auto real = [&](StringRef key) { return builder.getF64FloatAttr(keys.getFloat(key)); };
    auto parameter = FlatSymbolRefAttr::get(builder.getContext(), target.parameter.name);
    auto numbers = builder.getDenseI64ArrayAttr({piece.first, piece.run, piece.stride, piece.rows, piece.count, piece.spacing});
    UnitAttr resets = flag(keys.getText("moments") == "reset"), adds = flag(!is_first);
    StringAttr report = builder.getStringAttr(name);
    Location loc = getLoc(name + "/" + target.parameter.name);
    is_first = false;
    if (intervention.kind == "fire")
      FireOp::create(builder, loc, parameter, numbers, builder.getI64IntegerAttr(keys.getInt("iterations")),
                     flag(keys.getText("scale") == "shape"), resets, report, adds);
    else
      DashOp::create(builder, loc, parameter, numbers, flag(keys.getText("direction") == "gradient"),
                     flag(keys.getText("rule") == "gentle"), real("floor"), real("rate"), real("margin"), resets, report, adds);
  }

  void addRedo(OpBuilder &builder, const mega::Target &target, const mega::KeyValues &keys, Value step) {
    const std::string &up = target.parameter.name, activity = getActivityName(up);
    std::string down = up.substr(0, up.size() - StringRef("up.weight").size()) + "down.weight";
    StringAttr picks;
    int64_t seen = 0;
    for (auto sum : microBatch.getBody().getOps<AbsColumnSumOp>()) {
      if (sum.getName() != activity)
        continue;
      seen = getDim(sum.getX(), 0) * model.train->accumulate;
      for (auto count : microBatch.getBody().getOps<MoeCountPicksOp>()) // of the same experts
        if (sum.getOffsets() && count.getOffsets() == sum.getOffsets())
          picks = count.getNameAttr();
    }
    auto number = [&](int64_t value) { return builder.getI64IntegerAttr(value); };
    auto symbol = [&](const std::string &key) { return FlatSymbolRefAttr::get(builder.getContext(), key); };
    RedoOp::create(builder, getLoc(name + "/" + up), symbol(up), symbol(down), builder.getStringAttr(activity), picks,
                   number(int64_t(target.parameter.segments.size())), number(seen), number(keys.getInt("tokens")),
                   builder.getF64FloatAttr(keys.getFloat("tau")), builder.getF64FloatAttr(target.parameter.a),
                   builder.getStringAttr(name + activity.substr(StringRef("activity").size())), step);
  }

  ModuleOp module;
  const mega::Model &model;
  FuncOp microBatch;
  Marks marks;
  std::string name;
  bool is_first = true;
};

} // namespace

void addInterventions(ModuleOp module, const mega::Model &model, FuncOp microBatch) {
  Writer writer(module, model, microBatch);
  for (auto [number, intervention] : llvm::enumerate(model.train->interventions))
    writer.write(number, intervention);
}

ArrayAttr describeInterventions(MLIRContext *context, const mega::Model &model) {
  SmallVector<Attribute> all;
  for (const mega::Intervention &intervention : model.train->interventions)
    all.push_back(mega::makeTable(context, intervention.kind, intervention.keys));
  return all.empty() ? ArrayAttr() : ArrayAttr::get(context, all);
}

} // namespace megacc::step

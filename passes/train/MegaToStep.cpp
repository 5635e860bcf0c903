// Forward and loss of one micro-batch.
#include "dialects/Mega/Matrices.h"
#include "dialects/Mega/Mega.h"
#include "dialects/Mega/Spec.h"
#include "dialects/Mega/Stack.h"
#include "passes/train/Builders.h"
#include "passes/train/Interventions.h"
#include "passes/train/Passes.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_MEGATOSTEP
#include "passes/train/Passes.h.inc"

namespace {

struct MegaToStep : impl::MegaToStepBase<MegaToStep> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    std::vector<mega::Model> models = mega::readStacks(module);
    mega::Model *chosen = choose(models);
    if (!chosen)
      return signalPassFailure();
    current = chosen;
    if (failed(checkShares()))
      return signalPassFailure();
    Builder types(&getContext());
    activationType = target == "cpu" || chosen->train->precision == "fp32" ? Type(types.getF32Type()) : Type(types.getBF16Type());

    for (Operation &op : llvm::make_early_inc_range(module.getBody()->getOperations()))
      if (isa_and_nonnull<mega::MegaDialect>(op.getDialect()))
        op.erase();
    OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
    setAttributes(builder);
    addParameters(builder);
    FuncOp micro_batch = createFunc(builder, "micro_batch");
    addMicroBatch(micro_batch);
    addEvaluate(createFunc(builder, "evaluate"));
    addInterventions(module, *chosen, micro_batch);
  }

private:
  mega::Model *choose(std::vector<mega::Model> &models) {
    mega::Model *found = nullptr;
    for (mega::Model &candidate : models) {
      if (!model.empty() && candidate.name != model)
        continue;
      if (found) {
        getOperation().emitError("several models are declared; name one with 'model'");
        return nullptr;
      }
      found = &candidate;
    }
    if (!found)
      getOperation().emitError("no model ") << (model.empty() ? "is declared" : "\"" + model + "\" is declared");
    else if (!found->train)
      getOperation().emitError("model \"") << found->name << "\" has no 'mega.train'";
    return found && found->train ? found : nullptr;
  }

  void setAttributes(OpBuilder &builder) {
    const mega::Train &train = *current->train;
    NamedAttrList config;
    auto integer = [&](StringRef key, int64_t value) { config.set(key, builder.getI64IntegerAttr(value)); };
    auto number = [&](StringRef key, double value) { config.set(key, builder.getF64FloatAttr(value)); };
    auto text = [&](StringRef key, StringRef value) { config.set(key, builder.getStringAttr(value)); };
    integer("hidden", current->hidden), integer("vocab", current->vocab), integer("sequence", current->sequence);
    integer("depth", current->depth), integer("micro_batch", train.micro_batch), integer("accumulate", train.accumulate);
    integer("seed", train.seed), integer("warmup", train.warmup), integer("schedule_steps", train.steps);
    integer("documents", train.documents), integer("memory", train.memory_bytes);
    number("clip", train.clip), number("lr", train.lr), number("beta1", train.beta1), number("beta2", train.beta2);
    number("eps", train.eps), number("decay", train.decay), number("final", train.final_lr);
    text("optimizer", train.muon ? "muon" : "adamw"), text("schedule", train.schedule), text("precision", train.precision);
    if (train.muon) {
      number("momentum", train.muon->momentum), number("rms", train.muon->rms), integer("nesterov", train.muon->nesterov);
      integer("iterations", train.muon->iterations), text("split", train.muon->split);
      config.set("except", builder.getStrArrayAttr(llvm::to_vector_of<StringRef>(train.muon->except)));
    }
    if (train.moments != "fp32")
      text("moments", train.moments);
    if (ArrayAttr interventions = describeInterventions(&getContext(), *current))
      config.set("interventions", interventions);
    text("psiv_cache", train.psiv_cache), text("recompute", train.recompute);
    if (train.mesh[MG_DP] * train.mesh[MG_TP] * train.mesh[MG_EP] > 1) {
      NamedAttrList axes;
      for (int64_t axis = 0; axis < MG_AXIS_COUNT; ++axis)
        axes.set(getAxisName(axis), builder.getI64IntegerAttr(train.mesh[axis]));
      if (train.sequence_parallel)
        axes.set("sequence_parallel", builder.getBoolAttr(true));
      config.set("mesh", axes.getDictionary(builder.getContext()));
      if (train.zero)
        integer("zero", train.zero);
    }

    // The rest of the declaration, for a checkpoint to be compared with.
    NamedAttrList families;
    SmallVector<Attribute> placements, features;
    std::string pattern;
    for (const auto &[letter, family] : current->families)
      families.set(StringRef(&letter, 1), mega::makeTable(builder.getContext(), family.first, family.second));
    for (const mega::Feature &placement : current->placements)
      placements.push_back(mega::makeTable(builder.getContext(), placement.kind, placement.keys));
    for (const mega::Block &block : current->blocks) {
      pattern += block.letter;
      for (const mega::Feature &feature : block.features) {
        mega::KeyValues keys = feature.keys;
        keys.set("slot", block.slot);
        features.push_back(mega::makeTable(builder.getContext(), feature.kind, keys));
      }
    }
    NamedAttrList declaration;
    if (current->norm.kind != "rms")
      declaration.set("norm", mega::makeTable(builder.getContext(), current->norm.kind, current->norm.keys));
    if (current->layer_scale != 0)
      declaration.set("layer_scale", builder.getF64FloatAttr(current->layer_scale));
    declaration.set("families", families.getDictionary(builder.getContext()));
    declaration.set("pattern", builder.getStringAttr(pattern));
    declaration.set("placements", builder.getArrayAttr(placements));
    declaration.set("features", builder.getArrayAttr(features));

    SmallVector<Attribute> slots;
    for (const mega::Block &block : current->blocks)
      slots.push_back(builder.getDictionaryAttr({builder.getNamedAttr("slot", builder.getI64IntegerAttr(block.slot)),
                                                 builder.getNamedAttr("letter", builder.getStringAttr(StringRef(&block.letter, 1))),
                                                 builder.getNamedAttr("family", builder.getStringAttr(block.kind))}));
    getOperation()->setAttr(kTargetAttr, builder.getStringAttr(target));
    getOperation()->setAttr(kModelAttr, builder.getStringAttr(current->name));
    getOperation()->setAttr(kConfigAttr, config.getDictionary(builder.getContext()));
    getOperation()->setAttr(kDeclarationAttr, declaration.getDictionary(builder.getContext()));
    getOperation()->setAttr(kSlotsAttr, builder.getArrayAttr(slots));
  }

  void addParameters(OpBuilder &builder) {
    types.clear();
    std::set<std::string> muon = mega::findMuonMatrices(*current);
    for (const mega::Parameter &parameter : mega::parameters(*current)) {
      auto type = RankedTensorType::get(parameter.shape, parameter.fp32 ? Type(builder.getF32Type()) : activationType);
      types[parameter.name] = type;
      ParameterOp::create(builder, NameLoc::get(builder.getStringAttr(parameter.name)), builder.getStringAttr(parameter.name),
                          TypeAttr::get(type), parameter.decays ? builder.getUnitAttr() : UnitAttr(),
                          parameter.trained ? builder.getUnitAttr() : UnitAttr(),
                          InitializerAttr::get(builder.getContext(), *symbolizeInitializer(parameter.initializer)),
                          builder.getF64FloatAttr(parameter.a), builder.getI64IntegerAttr(parameter.slot), getSharding(parameter, builder),
                          TypeAttr(), muon.count(parameter.name) ? getPieces(parameter, builder) : DenseI64ArrayAttr(), IntegerAttr());
    }
  }

  DenseI64ArrayAttr getPieces(const mega::Parameter &parameter, OpBuilder &builder) const {
    SmallVector<int64_t> numbers;
    for (const mega::Pieces &piece : mega::cutRows(parameter, current->train->muon->split))
      numbers.append({piece.first, piece.run, piece.stride, piece.rows, piece.count, piece.spacing});
    return builder.getDenseI64ArrayAttr(numbers);
  }

  /// mega-check-stack has refused sizes that an axis cannot share; a spec that lacks one of its rules shows here.
  LogicalResult checkShares() {
    for (const mega::Parameter &parameter : mega::parameters(*current))
      for (auto [axis, spread] : llvm::enumerate(parameter.sharding.axes))
        for (const Piece &piece : spread.pieces)
          if (piece.share == Share::Split && piece.block % current->train->mesh[axis])
            return getOperation().emitError("parameter \"")
                   << parameter.name << "\" has " << piece.block << " elements that " << getAxisName(axis) << " = "
                   << current->train->mesh[axis] << " ranks cannot share evenly; fix: " << getAxisName(axis) << " = 1";
    return success();
  }

  /// Over the axes that the mesh has; null where every rank has all of it.
  StringAttr getSharding(const mega::Parameter &parameter, OpBuilder &builder) const {
    Sharding sharding = parameter.sharding;
    for (auto [spread, ranks] : llvm::zip(sharding.axes, current->train->mesh))
      if (ranks == 1)
        spread = {};
    return sharding == Sharding() ? StringAttr() : builder.getStringAttr(sharding.str());
  }

  FuncOp createFunc(OpBuilder &builder, StringRef name) {
    auto func = FuncOp::create(builder, NameLoc::get(builder.getStringAttr(name)), builder.getStringAttr(name));
    OpBuilder inside = OpBuilder::atBlockEnd(&func.getBody().emplaceBlock());
    ReturnOp::create(inside, func.getLoc());
    return func;
  }

  /// Everything up to the final norm, and the targets. In training, norms watch for numbers that are not finite.
  Forward addForward(ForwardBuilder &forward) {
    forward.setScope("embedding", -1);
    Value tokens = forward.input("tokens", {forward.getBatch(), forward.getSequence()});
    Value table = forward.read("weight", "table");
    OpBuilder &builder = forward.getBuilder();
    StringAttr invalid = forward.isTraining() ? builder.getStringAttr("invalid.tokens") : StringAttr();
    Value x = EmbeddingOp::create(builder, forward.getLoc("rows"), forward.getType({getCount(tokens), current->hidden}), table, tokens,
                                  builder.getI64IntegerAttr(-1), invalid);
    for (const mega::Feature &placement : current->placements)
      if (auto build = findPlacementBuilder(placement.kind)->input) {
        Value y = build(forward, placement, tokens);
        forward.setScope("embedding", -1);
        x = forward.add(x, y, placement.kind);
      }
    if (current->norm.kind == "dyt") // nothing else lifts small embeddings to order one
      x = forward.scale(x, "scale");
    Stream stream = {x, 1, "embedding"};
    for (const mega::Block &block : current->blocks) {
      std::string name = "blocks." + std::to_string(block.slot);
      Operation *before = stream.value.getDefiningOp();
      stream = buildBlock(forward, block, name, stream);
      if (forward.isTraining() && log_blocks) {
        LogNormOp::create(builder, forward.getLoc("log_norm"), builder.getStringAttr("block_norm." + std::to_string(block.slot)),
                          stream.value);
        addMeasures(builder, before, std::to_string(block.slot));
      }
      if (forward.isTraining() && taps)
        addOutput(forward, "hidden." + std::to_string(block.slot), forward.getKept(name).front(),
                  {forward.getBatch(), forward.getSequence(), current->hidden});
    }
    forward.setScope("", -1);
    if (forward.isTraining())
      forward.watch(stream.source);
    Value hidden = forward.norm(stream.value, "final_norm");
    Value targets = forward.input("targets", {forward.getBatch(), forward.getSequence()});
    forward.getDocuments(); // where no block looks at them the host does: it ignores targets across documents
    return {x, hidden, targets};
  }

  /// Behind each op after `before` that has a number to look at, what computes it, as the metric <what it is>.<block>.
  void addMeasures(OpBuilder &builder, Operation *before, StringRef block) {
    OpBuilder::InsertionGuard guard(builder);
    SmallVector<MeasureOpInterface> measured;
    for (Operation *op = before->getNextNode(); op; op = op->getNextNode())
      if (auto measure = dyn_cast<MeasureOpInterface>(op))
        measured.push_back(measure);
    for (MeasureOpInterface op : measured) {
      builder.setInsertionPointAfter(op);
      SetMetricOp::create(builder, op->getLoc(), builder.getStringAttr(op.getMeasureName() + "." + block), op.buildMeasure(builder));
    }
  }

  void addOutput(ForwardBuilder &forward, StringRef name, Value value, ArrayRef<int64_t> shape) {
    OpBuilder &builder = forward.getBuilder();
    OutputOp::create(builder, forward.getLoc(name), builder.getStringAttr(name), value, builder.getDenseI64ArrayAttr(shape));
  }

  void addMicroBatch(FuncOp func) {
    ForwardBuilder builder(*current, types, activationType, func, /*training=*/true);
    Forward forward = addForward(builder);
    Value loss = builder.crossEntropy(forward.hidden, forward.targets, /*weight=*/1.0);
    LossOp::create(builder.getBuilder(), builder.getLoc("loss"), loss, "main", APFloat(1.0));
    for (const mega::Feature &placement : current->placements)
      if (auto build = findPlacementBuilder(placement.kind)->objective)
        build(builder, placement, forward);
    builder.setScope("", -1);
    builder.emitLossTerms();
    builder.eraseUnusedKept();
    SmallVector<Attribute> decisions;
    for (const Decision &decision : builder.getDecisions())
      decisions.push_back(decision.toAttribute(&getContext()));
    if (!decisions.empty())
      getOperation()->setAttr(kDecisionsAttr, builder.getBuilder().getArrayAttr(decisions));
  }

  void addEvaluate(FuncOp func) {
    ForwardBuilder forward(*current, types, activationType, func, /*training=*/false);
    OpBuilder &builder = forward.getBuilder();
    int64_t rows = forward.getBatch();
    IntegerAttr batch = builder.getI64IntegerAttr(rows), sequence = builder.getI64IntegerAttr(forward.getSequence());
    auto [embedding, x, targets] = addForward(forward);
    Value head = forward.read("head.weight", "head");
    RankedTensorType sum = forward.getF32Type({rows});
    Value losses, count;
    if (Value statistics = forward.headStatistics(x, head)) {
      auto sums = LinearCrossEntropyEvaluatePartsOp::create(builder, forward.getLoc("head"), sum, sum, x, head, targets, statistics, batch,
                                                            sequence, builder.getI64IntegerAttr(getDim(statistics, 0)),
                                                            builder.getI64IntegerAttr(-1));
      losses = sums.getLossSum(), count = sums.getCount();
    } else {
      auto sums = LinearCrossEntropyEvaluateOp::create(builder, forward.getLoc("head"), sum, sum, x, head, targets, batch, sequence);
      losses = sums.getLossSum(), count = sums.getCount();
    }
    Value positions = forward.input("positions", {rows});
    Value logits = LogitsAtOp::create(builder, forward.getLoc("head"), forward.getF32Type({rows, current->vocab}), x, head, positions,
                                      batch, sequence);
    addOutput(forward, "loss_sum", losses, {rows});
    addOutput(forward, "count", count, {rows});
    addOutput(forward, "logits", logits, {rows, current->vocab});
    forward.eraseUnusedKept();
  }

  mega::Model *current = nullptr;
  Type activationType;
  llvm::StringMap<RankedTensorType> types;
};

} // namespace
} // namespace megacc::step

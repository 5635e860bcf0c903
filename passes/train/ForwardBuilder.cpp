// What families build the forward with.
#include "passes/train/ForwardBuilder.h"
#include "dialects/Mega/placements/Nope.h"
#include "passes/train/Interventions.h"

#include "mlir/Interfaces/SideEffectInterfaces.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace megacc::step {

/// The type of x with another shape.
static RankedTensorType reshape(Value x, ArrayRef<int64_t> shape) { return cast<RankedTensorType>(x.getType()).clone(shape); }

ForwardBuilder::ForwardBuilder(const mega::Model &model, const llvm::StringMap<RankedTensorType> &parameters, Type activation, FuncOp func,
                               bool training)
    : model(model), parameters(parameters), builder(func.getContext(), &marks), activationType(activation), batch(model.train->micro_batch),
      training(training) {
  observed = findObservedLayers(model);
  marks.phase = Phase::forward;
  builder.setInsertionPoint(func.getBody().front().getTerminator());
}

void ForwardBuilder::setScope(StringRef prefix, int64_t block) {
  scope = prefix.str();
  marks.block = block;
}

Location ForwardBuilder::getLoc(StringRef name) {
  return NameLoc::get(builder.getStringAttr(scope.empty() ? name.str() : scope + "/" + name.str()));
}

Value ForwardBuilder::input(StringRef name, ArrayRef<int64_t> shape) {
  return InputOp::create(builder, getLoc(name), getI32Type(shape), builder.getStringAttr(name));
}

Value ForwardBuilder::getDocuments() {
  if (model.train->documents && !documents)
    documents = input("documents", {batch, getSequence()});
  return documents;
}

Value ForwardBuilder::read(StringRef key, StringRef name) {
  std::string full = getKey(key);
  RankedTensorType type = parameters.lookup(full);
  assert(type && "a builder reads a parameter that the declaration does not have");
  return ReadOp::create(builder, getLoc(name), type, FlatSymbolRefAttr::get(builder.getContext(), full));
}

Value ForwardBuilder::linear(Value x, StringRef key) {
  Value weight = read((key + ".weight").str(), key);
  return LinearOp::create(builder, getLoc(key), reshape(weight, {getDim(x, 0), getDim(weight, 0)}), x, weight);
}

Value ForwardBuilder::rmsNorm(Value x, StringRef key) {
  Value weight = read((key + ".weight").str(), key);
  return RmsNormOp::create(builder, getLoc(key), x.getType(), TypeRange(), x, weight, builder.getF64FloatAttr(kNormEpsilon), takeWatched(),
                           ArrayAttr())
      .getY();
}

StringAttr ForwardBuilder::takeWatched() {
  StringAttr flag = watched.empty() ? StringAttr() : builder.getStringAttr("nonfinite." + watched);
  watched.clear();
  return flag;
}

Value ForwardBuilder::norm(Value x, StringRef key) {
  if (model.norm.kind == "rms")
    return rmsNorm(x, key);
  Value weight = read((key + ".weight").str(), key), bias = read((key + ".bias").str(), key), alpha = read((key + ".alpha").str(), key);
  return DytOp::create(builder, getLoc(key), x.getType(), x, weight, bias, alpha, takeWatched());
}

Value ForwardBuilder::scale(Value x, StringRef key) { return ScaleOp::create(builder, getLoc(key), x.getType(), x, read(key, key)); }

Value ForwardBuilder::layerNorm(Value x, StringRef key) {
  Value weight = read((key + ".weight").str(), key), bias = read((key + ".bias").str(), key);
  return LayerNormOp::create(builder, getLoc(key), x.getType(), x, weight, bias, builder.getF64FloatAttr(kNormEpsilon));
}

Value ForwardBuilder::detach(Value x, StringRef name) {
  return training ? DetachOp::create(builder, getLoc(name), x.getType(), x).getY() : x;
}

Value ForwardBuilder::groupedLinear(Value x, Value offsets, int64_t expectedRows, StringRef key) {
  Value weight = read((key + ".weight").str(), key);
  return GroupedLinearOp::create(builder, getLoc(key), getType({getDim(x, 0), getDim(weight, 1)}), x, weight, offsets,
                                 builder.getI64IntegerAttr(expectedRows));
}

Value ForwardBuilder::add(Value a, Value b, StringRef name) { return AddOp::create(builder, getLoc(name), a.getType(), a, b); }

Value ForwardBuilder::activation(Value x, StringRef kind) {
  int64_t width = getDim(x, 1) / (kind == "swiglu" ? 2 : 1);
  return ActivationOp::create(builder, getLoc("activation"), reshape(x, {getDim(x, 0), width}), *symbolizeActivation(kind), x);
}

Value ForwardBuilder::hiddenUnits(Value x, StringRef kind, StringRef key, Value offsets) {
  Value units = activation(x, kind);
  if (std::string weight = getKey((key + ".weight").str()); training && observed.count(weight))
    AbsColumnSumOp::create(builder, getLoc("activity"), units, offsets, builder.getStringAttr(getActivityName(weight)));
  return units;
}

Value ForwardBuilder::outputGate(Value n, Value y, const mega::KeyValues &keys) {
  if (StringRef gate = keys.getText("gate"); gate != "head" && gate != "channel")
    return y;
  return RowGateOp::create(builder, getLoc("gate"), y.getType(), y, linear(n, "gate_proj"));
}

Value ForwardBuilder::rope(Value x, int64_t heads, int64_t headDim, int64_t offset, int64_t width, double theta, StringRef name) {
  int64_t pairs = mega::rotatedPairs(width, unturned);
  if (!pairs)
    return x;
  auto number = [&](int64_t value) { return builder.getI64IntegerAttr(value); };
  return RopeOp::create(builder, getLoc(name), x.getType(), x, number(getLength(x)), number(heads), number(headDim), number(offset),
                        number(width), builder.getF64FloatAttr(theta), pairs < width / 2 ? number(pairs) : IntegerAttr(), UnitAttr());
}

SmallVector<Value> ForwardBuilder::split(Value x, int64_t groups, ArrayRef<int64_t> widths, StringRef name) {
  SmallVector<Type> types;
  for (int64_t width : widths)
    types.push_back(reshape(x, {getDim(x, 0), groups * width}));
  auto split = SplitOp::create(builder, getLoc(name), types, x, builder.getI64IntegerAttr(groups), builder.getDenseI64ArrayAttr(widths));
  return SmallVector<Value>(split.getParts());
}

Value ForwardBuilder::concat(ValueRange parts, int64_t groups, ArrayRef<int64_t> widths, StringRef name) {
  int64_t columns = 0;
  for (int64_t width : widths)
    columns += groups * width;
  return ConcatOp::create(builder, getLoc(name), reshape(parts[0], {getDim(parts[0], 0), columns}), parts,
                          builder.getI64IntegerAttr(groups), builder.getDenseI64ArrayAttr(widths));
}

Value ForwardBuilder::repeatGroups(Value x, int64_t groups, StringRef name) {
  return RepeatGroupsOp::create(builder, getLoc(name), reshape(x, {getDim(x, 0), groups * getDim(x, 1)}), x,
                                builder.getI64IntegerAttr(groups), builder.getF64FloatAttr(1.0));
}

Value ForwardBuilder::sumGroups(Value x, int64_t groups, double scale, StringRef name) {
  return SumGroupsOp::create(builder, getLoc(name), reshape(x, {getDim(x, 0), getDim(x, 1) / groups}), x, builder.getI64IntegerAttr(groups),
                             builder.getF64FloatAttr(scale));
}

void ForwardBuilder::eraseUnusedKept() {
  for (auto &entry : kept)
    for (Value value : entry.getValue())
      if (Operation *op = value.getDefiningOp(); op && isOpTriviallyDead(op))
        op->erase();
  kept.clear();
}

Value ForwardBuilder::attention(Value q, Value k, Value v, int64_t heads, int64_t kvHeads, int64_t qkDim, int64_t vDim) {
  if (Value y = inside("scores", {q, k, v}))
    return y;
  auto number = [&](int64_t value) { return builder.getI64IntegerAttr(value); };
  int64_t length = getLength(q);
  return AttentionOp::create(builder, getLoc("attention"), reshape(v, {getDim(q, 0), heads * vDim}), TypeRange(), q, k, v, getDocuments(),
                             number(batch), number(length), number(heads), number(kvHeads), number(qkDim), number(vDim),
                             builder.getF64FloatAttr(1.0 / std::sqrt(double(qkDim))), ArrayAttr())
      .getY();
}

Value ForwardBuilder::causalConv(Value x, StringRef key, bool bias, bool silu) {
  Value weight = read((key + ".weight").str(), key), offset = bias ? read((key + ".bias").str(), key) : Value();
  return CausalConvOp::create(builder, getLoc(key), x.getType(), x, weight, offset, getDocuments(), builder.getI64IntegerAttr(batch),
                              builder.getI64IntegerAttr(getLength(x)), silu ? builder.getUnitAttr() : UnitAttr());
}

Value ForwardBuilder::shift(Value x, int64_t distance, StringRef name) {
  return ShiftOp::create(builder, getLoc(name), x.getType(), x, getDocuments(), builder.getI64IntegerAttr(batch),
                         builder.getI64IntegerAttr(getLength(x)), builder.getI64IntegerAttr(distance));
}

Value ForwardBuilder::headStatistics(Value x, Value head) {
  int64_t parts = model.train->mesh[MG_TP];
  if (parts == 1)
    return {};
  return HeadStatisticsOp::create(builder, getLoc("head_statistics"), getF32Type({parts, 2 * getDim(x, 0)}), x, head,
                                  builder.getI64IntegerAttr(batch), builder.getI64IntegerAttr(parts));
}

Value ForwardBuilder::crossEntropy(Value x, Value targets, double weight) {
  Value head = read("head.weight", "head");
  Value valid = CountValidOp::create(builder, getLoc("valid"), getF32Type({1}), targets);
  if (Value statistics = headStatistics(x, head))
    return LinearCrossEntropyPartsOp::create(builder, getLoc("head"), getF32Type({1}), x.getType(), getF32Like(head), x, head, targets,
                                             valid, statistics, builder.getF64FloatAttr(weight / model.train->accumulate),
                                             builder.getStringAttr("invalid.targets"), builder.getI64IntegerAttr(getDim(statistics, 0)),
                                             builder.getI64IntegerAttr(-1))
        .getLoss();
  return LinearCrossEntropyOp::create(builder, getLoc("head"), getF32Type({1}), x.getType(), getF32Like(head), x, head, targets, valid,
                                      builder.getF64FloatAttr(weight / model.train->accumulate), builder.getStringAttr("invalid.targets"))
      .getLoss();
}

void ForwardBuilder::recordDecision(StringRef name, const Twine &decision) {
  decisions.push_back({.value = (scope + "/" + name).str(), .chosen = {.choice = decision.str()}});
}

void ForwardBuilder::addLossTerm(StringRef name, Value value, double weight) {
  LossTerm &term = lossTerms[builder.getStringAttr(name)];
  assert((term.values.empty() || term.weight == weight) && "the values of a term share its weight");
  term.values.push_back(value);
  term.weight = weight;
}

void ForwardBuilder::emitLossTerms() {
  for (auto &[name, term] : lossTerms)
    LossOp::create(builder, getLoc("loss"), term.values, name, builder.getF64FloatAttr(term.weight));
}

} // namespace megacc::step

// Where everything lies that is not a temporary.
#include "passes/rt/StateLayout.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace megacc::step;

namespace megacc::rt {

/// Metrics lie close together; kernels want no more than this of a few numbers.
static constexpr int64_t kMetricAlignment = 16;

LogicalResult StateLayout::run(ArrayRef<std::pair<step::FuncOp, const Lifetimes *>> funcs) {
  addParameters();
  for (auto [func, lifetimes] : funcs)
    for (auto input : func.getBody().getOps<step::InputOp>())
      if (failed(addInput(input, func)))
        return failure();
  for (auto [func, lifetimes] : funcs)
    for (const BoundLaunch &launch : lifetimes->getLaunches())
      for (const LaunchOperand &operand : launch.query.operands)
        if (operand.kind == LaunchOperand::Kind::Metric && failed(addMetric(launch.op, operand)))
          return failure();
  for (auto [func, lifetimes] : funcs)
    for (const BoundLaunch &launch : lifetimes->getLaunches())
      for (const LaunchOperand &operand : launch.query.operands)
        if (operand.kind == LaunchOperand::Kind::Output && failed(addOutput(launch.op, func, operand)))
          return failure();
  return success();
}

// Parameters.

void StateLayout::addParameters() {
  int64_t first = 0, weightOffset = 0, moments = 0;
  hasNarrowMoments = getConfigText(module, "moments") == "bf16";
  SmallVector<Group> groups(std::begin(step::kTrainedGroups), std::end(step::kTrainedGroups));
  groups.push_back(Group::untrained);
  for (Group group : groups) {
    bool narrow = step::isNarrow(group);
    bool isMuon = group == Group::muon_f32 || group == Group::muon_bf16;
    Type element = narrow ? Type(builder.getBF16Type()) : Type(builder.getF32Type());
    std::string groupName = ("*" + stringifyGroup(group)).str();
    Span all = {first, 0, masters, weightOffset, element, moments, 0};
    for (Sweep &sweep : getSweeps(module, group)) {
      Span swept = {first, sweep.getElements(), masters, weightOffset, element, moments, 0};
      swept.own = swept.count / sweep.ranks;
      for (step::ParameterOp parameter : sweep.parameters) {
        auto type = cast<RankedTensorType>(parameter.getType());
        int64_t count = type.getNumElements(), before = first - swept.first;
        Span &span = spans[parameter.getSymName()];
        span = {first, count, masters + before, weightOffset, type.getElementType(), moments + before, count};
        if (sweep.ranks > 1) { // the state of the optimizer is that of the rank's part of the sweep
          span.firstMaster = masters, span.firstMoment = moments, span.own = swept.own;
          this->swept[parameter] = builder.getDenseI64ArrayAttr({sweep.axes, before, swept.count});
        }
        int64_t padded = llvm::alignTo(count, kParameterAlignment);
        first += padded, weightOffset += padded * (type.getElementTypeBitWidth() / 8);
      }
      int64_t rest = swept.first + swept.count - first;
      first += rest, weightOffset += rest * (element.getIntOrFloatBitWidth() / 8);
      all.count += swept.count, all.own += swept.own;
      masters += narrow ? swept.own : 0, moments += swept.own;
      spans[sweep.getName()] = swept;
    }
    spans[groupName] = all;
    trained += group == Group::untrained ? 0 : all.count;
    ownTrained += group == Group::untrained ? 0 : all.own;
    withSecond += group == Group::untrained || isMuon ? 0 : all.own;
  }
  sizes[MG_WEIGHTS] = weightOffset;
  sizes[MG_GRADIENTS] = 4 * trained;
  sizes[MG_OPTIMIZER] = 4 * masters + (hasNarrowMoments ? 2 : 4) * (ownTrained + withSecond);
  using Kind = LaunchOperand::Kind;
  for (auto parameter : llvm::to_vector(module.getOps<step::ParameterOp>())) { // declaration order
    const Span &span = spans[parameter.getSymName()];
    RangeAttr gradient, master, first, second;
    if (parameter.getTrained()) {
      gradient = getStateRange(span, Kind::Gradient);
      first = getStateRange(span, Kind::FirstMoment);
      if (!parameter.getPieces())
        second = getStateRange(span, Kind::SecondMoment);
      if (!span.element.isF32())
        master = getStateRange(span, Kind::Master);
    }
    rt::ParameterOp::create(builder, parameter.getLoc(), parameter.getSymNameAttr(), parameter.getTypeAttr(),
                            getStateRange(span, Kind::Weight), gradient, master, first, second, parameter.getDecaysAttr(),
                            parameter.getTrainedAttr(), builder.getStringAttr(stringifyInitializer(parameter.getInit())),
                            parameter.getInitAAttr(), parameter.getBlockAttr(), parameter.getShardingAttr(), parameter.getWholeAttr(),
                            swept.lookup(parameter));
  }
}

RangeAttr StateLayout::getStateRange(const Span &span, LaunchOperand::Kind kind) const {
  int64_t width = hasNarrowMoments ? 2 : 4, type = hasNarrowMoments ? MG_BF16 : MG_F32;
  switch (kind) {
  case LaunchOperand::Kind::Gradient:
    return getRange(MG_GRADIENTS, 4 * span.first, 4 * span.count, MG_F32);
  case LaunchOperand::Kind::Master:
    return getRange(MG_OPTIMIZER, 4 * span.firstMaster, 4 * span.own, MG_F32);
  case LaunchOperand::Kind::FirstMoment:
    return getRange(MG_OPTIMIZER, 4 * masters + width * span.firstMoment, width * span.own, type);
  case LaunchOperand::Kind::SecondMoment:
    return getRange(MG_OPTIMIZER, 4 * masters + width * (ownTrained + span.firstMoment), width * span.own, type);
  default:
    return getRange(MG_WEIGHTS, span.weightOffset, span.count * (span.element.getIntOrFloatBitWidth() / 8), getMgType(span.element));
  }
}

/// The elements of a place that the operand means; padding follows the last.
RangeAttr StateLayout::getPart(RangeAttr range, const LaunchOperand &operand) const {
  int64_t bytes = getBytes(operand.type);
  if (!operand.first && bytes >= range.getBytes())
    return range;
  return getRange(range.getSegment(), range.getOffset() + operand.first * (bytes / operand.type.getNumElements()), bytes, range.getType(),
                  range.getStride());
}

RangeAttr StateLayout::find(Operation *op, const LaunchOperand &operand) {
  if (operand.kind == LaunchOperand::Kind::Metric)
    return getPart(metrics.lookup(operand.state), operand);
  if (operand.kind == LaunchOperand::Kind::Output)
    return outputs.lookup(operand.state);
  auto found = spans.find(operand.state);
  if (found != spans.end())
    return getPart(getStateRange(found->second, operand.kind), operand);
  op->emitOpError("unknown parameter ") << operand.state;
  return {};
}

// Io and constants.

FailureOr<RangeAttr> StateLayout::addPlace(Operation *op, RankedTensorType type, step::FuncOp func) {
  int64_t &io = sizes[MG_IO];
  io = llvm::alignTo(io, kAlignment);
  int64_t stride = llvm::alignTo(getBytes(type), kAlignment), micro_batches = getConfigInteger(module, "accumulate", 1);
  bool repeats = func.getSymName() == "micro_batch";
  if (Size end = Size(stride) * (repeats ? micro_batches : 1) + io; end.get() > kMostBytes)
    return op->emitOpError("needs ") << (repeats ? micro_batches : 1) << " times " << stride << " bytes after " << io
                                     << " others in io, at most " << kMostBytes << "; fix: a smaller accumulate or micro_batch";
  RangeAttr range = getRange(MG_IO, io, getBytes(type), getMgType(type.getElementType()), repeats ? stride : 0);
  io += stride * (repeats ? micro_batches : 1);
  return range;
}

LogicalResult StateLayout::addInput(step::InputOp input, step::FuncOp func) {
  auto type = cast<RankedTensorType>(input.getValue().getType());
  if (RangeAttr known = inputs.lookup(input.getName())) {
    if (known.getBytes() == getBytes(type))
      return success();
    return input.emitOpError("\"") << input.getName() << "\" has " << getBytes(type) << " bytes here and " << known.getBytes()
                                   << " elsewhere";
  }
  FailureOr<RangeAttr> range = addPlace(input, type, func);
  if (failed(range))
    return failure();
  inputs[input.getName()] = *range;
  rt::InputOp::create(builder, input.getLoc(), input.getNameAttr(), TypeAttr::get(type), *range);
  return success();
}

LogicalResult StateLayout::addMetric(Operation *op, const LaunchOperand &operand) {
  int64_t &io = sizes[MG_IO], bytes = getBytes(operand.type);
  if (RangeAttr known = metrics.lookup(operand.state)) {
    if (known.getBytes() == bytes)
      return success();
    return op->emitOpError("metric \"") << operand.state << "\" has " << bytes << " bytes here and " << known.getBytes() << " elsewhere";
  }
  RangeAttr range = metrics[operand.state] = getRange(MG_IO, io, bytes, getMgType(operand.type.getElementType()));
  io += llvm::alignTo(bytes, kMetricAlignment);
  auto loss = dyn_cast<LossOp>(op);
  rt::MetricOp::create(builder, op->getLoc(), builder.getStringAttr(operand.state), TypeAttr::get(operand.type), range,
                       loss ? loss.getWeightAttr() : builder.getF64FloatAttr(0.0));
  return success();
}

LogicalResult StateLayout::addOutput(Operation *op, step::FuncOp func, const LaunchOperand &operand) {
  if (outputs.count(operand.state))
    return success();
  FailureOr<RangeAttr> range = addPlace(op, operand.type, func);
  if (failed(range))
    return failure();
  outputs[operand.state] = *range;
  auto output = cast<step::OutputOp>(op);
  auto shown = RankedTensorType::get(output.getShape().value_or(operand.type.getShape()), operand.type.getElementType());
  rt::OutputOp::create(builder, op->getLoc(), output.getNameAttr(), func.getSymNameAttr(), TypeAttr::get(shown), *range);
  return success();
}

RangeAttr StateLayout::addTable(Location loc, ArrayRef<int64_t> values) {
  DenseI64ArrayAttr contents = builder.getDenseI64ArrayAttr(values);
  RangeAttr &range = tables[contents];
  if (!range) {
    int64_t &used = sizes[MG_CONSTANTS], bytes = 8 * int64_t(values.size());
    range = getRange(MG_CONSTANTS, used, bytes, MG_I64);
    used += llvm::alignTo(bytes, kAlignment);
    TableOp::create(builder, loc, range, contents);
  }
  return range;
}

} // namespace megacc::rt

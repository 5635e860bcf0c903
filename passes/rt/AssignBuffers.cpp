//===- AssignBuffers.cpp - bytes for every value --------------------------===//
#include "dialects/Step/Step.h"
#include "lib/Packing/Packing.h"
#include "passes/rt/Passes.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace megacc::step;

namespace megacc::rt {
#define GEN_PASS_DEF_STEPASSIGNBUFFERS
#include "passes/rt/Passes.h.inc"

namespace {

/// Metrics lie close together; kernels want no more than this of a few numbers.
constexpr int64_t kMetricAlignment = 16;

int64_t getBytes(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  return tensor.getNumElements() * (tensor.getElementTypeBitWidth() / 8);
}

/// Where the state lies: everything that is not a temporary.
class StateLayout {
public:
  explicit StateLayout(ModuleOp module) : module(module), context(module.getContext()), builder(context) {}

  LogicalResult run() {
    addParameters();
    int64_t micro_batches = getConfigInteger(module, "accumulate", 1);
    for (auto func : module.getOps<step::FuncOp>())
      for (Operation &op : func.getBody().front()) {
        if (auto input = dyn_cast<step::InputOp>(op))
          if (failed(addInput(input, func, micro_batches)))
            return failure();
        if (auto kernel = dyn_cast<KernelOpInterface>(op))
          for (const LaunchOperand &operand : kernel.getKernelQuery().operands)
            addMetricOrOutput(&op, func, operand, micro_batches);
      }
    sizes[MG_IO] = io;
    return success();
  }

  /// The bytes an operand names; null and an error for a name that does not exist.
  RangeAttr find(Operation *op, const LaunchOperand &operand) {
    using Kind = LaunchOperand::Kind;
    StringRef name = operand.name;
    if (operand.kind == Kind::Metric || operand.kind == Kind::Output) {
      auto &places = operand.kind == Kind::Metric ? metrics : outputs;
      return places.lookup(name);
    }
    std::pair<int64_t, int64_t> place; // offset and bytes
    if (name == "*decays") {
      place = {0, decaying};
    } else if (name == "*plain") {
      place = {decaying, trained - decaying};
    } else if (name == "*trained") {
      place = {0, trained};
    } else if (auto found = parameters.find(name); found != parameters.end()) {
      place = found->second;
    } else {
      op->emitOpError("names no parameter: ") << name;
      return {};
    }
    switch (operand.kind) {
    case Kind::Gradient:
      return getRange(MG_GRADIENTS, place.first, place.second);
    case Kind::FirstMoment:
      return getRange(MG_OPTIMIZER, place.first, place.second);
    case Kind::SecondMoment:
      return getRange(MG_OPTIMIZER, trained + place.first, place.second);
    default:
      return getRange(MG_WEIGHTS, place.first, place.second);
    }
  }

  RangeAttr getInput(StringRef name) const { return inputs.lookup(name); }
  RangeAttr getRange(int64_t segment, int64_t offset, int64_t bytes, int64_t stride = 0, int64_t value = -1) const {
    return RangeAttr::get(context, segment, offset, bytes, stride, value);
  }

  int64_t sizes[MG_SEGMENT_COUNT] = {};

private:
  void addParameters() {
    auto getGroup = [](step::ParameterOp op) { return op.getTrained() ? (op.getDecays() ? 0 : 1) : 2; };
    int64_t offset = 0;
    for (int group : {0, 1, 2})
      for (auto parameter : module.getOps<step::ParameterOp>()) {
        if (getGroup(parameter) != group)
          continue;
        int64_t bytes = getBytes(parameter.getType());
        parameters[parameter.getSymName()] = {offset, bytes};
        offset += bytes;
        decaying += group == 0 ? bytes : 0;
        trained += group <= 1 ? bytes : 0;
      }
    sizes[MG_WEIGHTS] = offset;
    sizes[MG_GRADIENTS] = trained;
    sizes[MG_OPTIMIZER] = 2 * trained;
    builder.setInsertionPointToEnd(module.getBody());
    for (auto parameter : llvm::to_vector(module.getOps<step::ParameterOp>())) { // declaration order
      LaunchOperand place{LaunchOperand::Kind::Weight, 0, parameter.getSymName().str(), 0};
      RangeAttr weight = find(parameter, place), gradient, first, second;
      if (parameter.getTrained()) {
        place.kind = LaunchOperand::Kind::Gradient, gradient = find(parameter, place);
        place.kind = LaunchOperand::Kind::FirstMoment, first = find(parameter, place);
        place.kind = LaunchOperand::Kind::SecondMoment, second = find(parameter, place);
      }
      rt::ParameterOp::create(builder, parameter.getLoc(), parameter.getSymNameAttr(), parameter.getTypeAttr(), weight, gradient, first, second,
                              parameter.getDecaysAttr(), parameter.getTrainedAttr(), parameter.getInitAttr(), parameter.getInitAAttr(),
                              parameter.getBlockAttr());
    }
  }

  /// A place of `bytes` a micro-batch where `repeats`, else one.
  RangeAttr addPlace(int64_t bytes, bool repeats, int64_t micro_batches) {
    int64_t stride = llvm::alignTo(bytes, kAlignment);
    RangeAttr range = getRange(MG_IO, io, bytes, repeats ? stride : 0);
    io += stride * (repeats ? micro_batches : 1);
    return range;
  }

  LogicalResult addInput(step::InputOp input, step::FuncOp func, int64_t micro_batches) {
    if (RangeAttr known = inputs.lookup(input.getName())) {
      if (known.getBytes() == getBytes(input.getValue().getType()))
        return success();
      return input.emitOpError("\"") << input.getName() << "\" has " << getBytes(input.getValue().getType()) << " bytes here and "
                                     << known.getBytes() << " elsewhere";
    }
    RangeAttr range = addPlace(getBytes(input.getValue().getType()), func.getSymName() == "micro_batch", micro_batches);
    inputs[input.getName()] = range;
    OpBuilder at = OpBuilder::atBlockEnd(module.getBody());
    rt::InputOp::create(at, input.getLoc(), input.getNameAttr(), TypeAttr::get(input.getValue().getType()), range);
    return success();
  }

  void addMetricOrOutput(Operation *op, step::FuncOp func, const LaunchOperand &operand, int64_t micro_batches) {
    OpBuilder at = OpBuilder::atBlockEnd(module.getBody());
    auto getType = [&](ArrayRef<int64_t> shape) { return TypeAttr::get(RankedTensorType::get(shape, at.getF32Type())); };
    if (operand.kind == LaunchOperand::Kind::Metric && !metrics.count(operand.name)) {
      RangeAttr range = getRange(MG_IO, io, 4 * operand.count);
      io += llvm::alignTo(4 * operand.count, kMetricAlignment);
      metrics[operand.name] = range;
      auto loss = dyn_cast<LossOp>(op);
      rt::MetricOp::create(at, op->getLoc(), at.getStringAttr(operand.name), getType({operand.count}), range,
                           loss ? loss.getWeightAttr() : at.getF64FloatAttr(0.0));
    }
    if (operand.kind == LaunchOperand::Kind::Output && !outputs.count(operand.name)) {
      io = llvm::alignTo(io, kAlignment);
      RangeAttr range = addPlace(4 * operand.count, func.getSymName() == "micro_batch", micro_batches);
      outputs[operand.name] = range;
      auto output = cast<step::OutputOp>(op);
      auto tensor = cast<RankedTensorType>(output.getValue().getType());
      rt::OutputOp::create(at, op->getLoc(), output.getNameAttr(), func.getSymNameAttr(),
                           getType(output.getShape().value_or(tensor.getShape())), range);
    }
  }

  ModuleOp module;
  MLIRContext *context;
  OpBuilder builder;
  llvm::StringMap<std::pair<int64_t, int64_t>> parameters;
  llvm::StringMap<RangeAttr> inputs, metrics, outputs;
  int64_t decaying = 0, trained = 0, io = 0;
};

/// One function: lifetimes, offsets, launches.
class FunctionAssigner {
public:
  FunctionAssigner(step::FuncOp func, StateLayout &state) : func(func), state(state) {}

  /// Finds lifetimes and packs them.
  LogicalResult plan() {
    for (Operation &op : func.getBody().front().without_terminator()) {
      if (isa<ReadOp, step::InputOp>(op) || isFused(&op))
        continue;
      auto kernel = dyn_cast<KernelOpInterface>(op);
      if (!kernel)
        return op.emitOpError("has no kernel");
      launches.push_back({&op, kernel.getKernelQuery()});
      positions[&op] = launches.size() - 1;
    }
    for (auto [position, launch] : llvm::enumerate(launches))
      addResults(launch, position);
    packing = packBuffers(buffers, kAlignment);
    return success();
  }

  const Packing &getPacking() const { return packing; }

  LogicalResult emit(OpBuilder &builder) {
    auto lowered = rt::FuncOp::create(builder, func.getLoc(), func.getSymNameAttr());
    OpBuilder inside = OpBuilder::atBlockEnd(&lowered.getBody().emplaceBlock());
    for (Launch &launch : launches) {
      KernelQuery &query = launch.query;
      SmallVector<Attribute> ranges;
      for (const LaunchOperand &operand : query.operands) {
        Attribute range = getOperand(launch, operand, inside);
        if (!range)
          return failure();
        ranges.push_back(range);
      }
      if (launch.workspace >= 0)
        ranges.push_back(getTemporary(launch.workspace, query.workspaceBytes, /*value=*/-1));
      auto block = launch.op->getAttrOfType<IntegerAttr>(kBlockAttr);
      auto costs = dyn_cast<CostOpInterface>(launch.op);
      OpCost cost = costs ? costs.getCost() : getMemoryCost(launch.op);
      int64_t moved = cost.bytesRead + cost.bytesWritten + getStateBytes(query, ranges);
      rt::CallOp::create(inside, launch.op->getLoc(), query.kernel, inside.getArrayAttr(ranges), query.ints, query.doubles,
                         block ? block.getInt() : -1, cost.flops, moved);
    }
    return success();
  }

private:
  struct Launch {
    Operation *op;
    KernelQuery query;
    int workspace = -1;
  };

  /// Bytes of the operands that are no values of the op: the step's state, read and written where the kernel does both.
  static int64_t getStateBytes(const KernelQuery &query, ArrayRef<Attribute> ranges) {
    using Kind = LaunchOperand::Kind;
    SmallVector<Role> roles = findKernel(query.kernel)->getRoles(query.ints);
    int64_t bytes = 0;
    for (auto [operand, role, range] : llvm::zip(query.operands, roles, ranges))
      if (operand.kind != Kind::Result && operand.kind != Kind::Operand && operand.kind != Kind::Null)
        bytes += cast<RangeAttr>(range).getBytes() * (role == Role::InOut ? 2 : 1);
    return bytes;
  }

  /// The accumulation that takes a result straight from its kernel, if there is one.
  static AccumulateOp getDirectAccumulate(Value result) {
    if (!result.hasOneUse())
      return {};
    auto accumulate = dyn_cast<AccumulateOp>(*result.getUsers().begin());
    auto kernel = dyn_cast<KernelOpInterface>(result.getDefiningOp());
    if (!accumulate || !kernel || kernel.getKernelQuery().gradientResult != int(cast<OpResult>(result).getResultNumber()))
      return {};
    return accumulate;
  }

  static bool isFused(Operation *op) {
    auto accumulate = dyn_cast<AccumulateOp>(op);
    return accumulate && accumulate.getGradient().getDefiningOp() && getDirectAccumulate(accumulate.getGradient());
  }

  /// The last launch that uses a value; its own where none does.
  int64_t getLastUse(Value value, int64_t position) {
    for (Operation *user : value.getUsers())
      if (auto found = positions.find(user); found != positions.end())
        position = std::max(position, int64_t(found->second));
    return position;
  }

  void addResults(Launch &launch, int64_t position) {
    if (launch.query.operands.empty()) {
      for (unsigned index = 0; index < launch.op->getNumResults(); ++index)
        launch.query.addResult(index);
      for (unsigned index = 0; index < launch.op->getNumOperands(); ++index)
        launch.query.addOperand(index);
    }
    SmallVector<int> taken; // buffers of operands that results of this launch took over
    for (OpResult result : launch.op->getResults()) {
      if (AccumulateOp accumulate = getDirectAccumulate(result)) {
        launch.query.ints[launch.query.accumulateIndex] = 1;
        direct[result] = accumulate;
        continue;
      }
      values[result] = values.size();
      int64_t last = getLastUse(result, position);
      int reused = findReusable(launch, result, position, taken);
      if (reused >= 0) {
        taken.push_back(reused);
        buffers[reused].last = last;
        places[result] = reused;
      } else {
        places[result] = buffers.size();
        buffers.push_back({getBytes(result.getType()), position, last});
      }
    }
    if (launch.query.workspaceBytes) {
      launch.workspace = buffers.size();
      buffers.push_back({launch.query.workspaceBytes, position, position});
    }
  }

  /// The buffer of an operand that dies here and whose place the result may take, -1 without one.
  int findReusable(const Launch &launch, OpResult result, int64_t position, ArrayRef<int> taken) {
    for (auto [index, operand] : launch.query.inPlace) {
      if (index != result.getResultNumber())
        continue;
      Value value = launch.op->getOperand(operand);
      auto place = places.find(value);
      if (place == places.end() || llvm::is_contained(taken, place->second) || getBytes(value.getType()) != getBytes(result.getType()))
        continue;
      if (getLastUse(value, position) != position || llvm::count(launch.op->getOperands(), value) != 1)
        continue;
      return place->second;
    }
    return -1;
  }

  RangeAttr getTemporary(int buffer, int64_t bytes, int64_t value) {
    return state.getRange(MG_TEMPORARIES, packing.offsets[buffer], bytes, 0, value);
  }

  /// The bytes of a value.
  RangeAttr getValue(Value value) {
    if (auto accumulate = direct.find(value); accumulate != direct.end())
      return state.find(accumulate->second, {LaunchOperand::Kind::Gradient, 0, accumulate->second.getParameter().str(), 0});
    if (auto read = value.getDefiningOp<ReadOp>())
      return state.find(read, {LaunchOperand::Kind::Weight, 0, read.getParameter().str(), 0});
    if (auto input = value.getDefiningOp<step::InputOp>())
      return state.getInput(input.getName());
    return getTemporary(places.lookup(value), getBytes(value.getType()), values.lookup(value));
  }

  Attribute getOperand(Launch &launch, const LaunchOperand &operand, OpBuilder &builder) {
    switch (operand.kind) {
    case LaunchOperand::Kind::Result:
      return getValue(launch.op->getResult(operand.index));
    case LaunchOperand::Kind::Operand:
      return getValue(launch.op->getOperand(operand.index));
    case LaunchOperand::Kind::Null:
      return builder.getUnitAttr();
    default:
      return state.find(launch.op, operand);
    }
  }

  step::FuncOp func;
  StateLayout &state;
  std::vector<Launch> launches;
  llvm::DenseMap<Operation *, size_t> positions;
  llvm::DenseMap<Value, int> places;     // index of the buffer
  llvm::DenseMap<Value, int64_t> values; // number of the value
  llvm::DenseMap<Value, AccumulateOp> direct;
  std::vector<Buffer> buffers;
  Packing packing;
};

struct StepAssignBuffers : impl::StepAssignBuffersBase<StepAssignBuffers> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    StateLayout state(module);
    if (failed(state.run()))
      return signalPassFailure();
    SmallVector<step::FuncOp> funcs(module.getOps<step::FuncOp>());
    std::vector<FunctionAssigner> assigners;
    for (step::FuncOp func : funcs)
      if (failed(assigners.emplace_back(func, state).plan()))
        return signalPassFailure();
    int64_t bound = 0;
    StringRef peak;
    for (auto [func, assigner] : llvm::zip(funcs, assigners)) {
      bound = std::max(bound, assigner.getPacking().lowerBound);
      if (assigner.getPacking().bytes > state.sizes[MG_TEMPORARIES]) {
        state.sizes[MG_TEMPORARIES] = assigner.getPacking().bytes;
        peak = func.getSymName();
      }
    }
    OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
    for (int64_t &size : state.sizes)
      size = llvm::alignTo(size, kAlignment);
    for (int64_t segment = 0; segment < MG_SEGMENT_COUNT; ++segment) {
      bool temporary = segment == MG_TEMPORARIES;
      SegmentOp::create(builder, module.getLoc(), builder.getStringAttr(getSegmentName(segment)), builder.getI64IntegerAttr(state.sizes[segment]),
                        temporary ? builder.getI64IntegerAttr(bound) : IntegerAttr(), temporary ? builder.getStringAttr(peak) : StringAttr());
    }
    for (FunctionAssigner &assigner : assigners)
      if (failed(assigner.emit(builder)))
        return signalPassFailure();
    for (Operation &op : llvm::make_early_inc_range(module.getBody()->getOperations()))
      if (isa<StepDialect>(op.getDialect()))
        op.erase();
  }
};

} // namespace
} // namespace megacc::rt

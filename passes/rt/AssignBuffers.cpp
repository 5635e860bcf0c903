// Bytes for every value.
#include "dialects/Interfaces/OpPath.h"
#include "lib/Lifetimes/Lifetimes.h"
#include "passes/rt/Passes.h"
#include "passes/rt/StateLayout.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace megacc::step;

namespace megacc::rt {
#define GEN_PASS_DEF_STEPASSIGNBUFFERS
#include "passes/rt/Passes.h.inc"

namespace {

/// Turns the launches of one function into rt.calls.
class FunctionWriter {
public:
  FunctionWriter(const Lifetimes &lifetimes, const Packing &packing, StateLayout &state)
      : lifetimes(lifetimes), packing(packing), state(state) {}

  LogicalResult write(step::FuncOp func, OpBuilder &builder) {
    auto lowered = rt::FuncOp::create(builder, func.getLoc(), func.getSymNameAttr());
    OpBuilder inside = OpBuilder::atBlockEnd(&lowered.getBody().emplaceBlock());
    for (const BoundLaunch &launch : lifetimes.getLaunches())
      if (failed(writeLaunch(launch, inside)))
        return failure();
    return success();
  }

private:
  LogicalResult writeLaunch(const BoundLaunch &launch, OpBuilder &builder) {
    const Kernel *kernel = findKernel(launch.record->symbol);
    SmallVector<int64_t> ints;
    for (StringRef name : kernel->ints) {
      std::optional<int64_t> value = getLaunchInt(*launch.record, launch.query, name);
      if (!value)
        return launch.op->emitOpError("internal: neither its query nor ") << launch.record->name << " says \"" << name << "\"";
      ints.push_back(*value);
    }
    SmallVector<double> doubles;
    for (StringRef name : kernel->doubles) {
      std::optional<double> value = getLaunchDouble(*launch.record, launch.query, name);
      if (!value)
        return launch.op->emitOpError("internal: its query does not say \"") << name << "\"";
      doubles.push_back(*value);
    }
    SmallVector<Attribute> ranges;
    int64_t stateBytes = 0;
    for (const KernelOperand &operand : kernel->operands)
      if (failed(addOperands(launch, operand, ranges, stateBytes, builder)))
        return failure();
    OpCost cost = getCost(launch.op);
    auto call = CallOp::create(builder, launch.op->getLoc(), kernel->symbol, ranges, ints, doubles, getBlock(launch.op), cost.flops,
                               cost.bytesRead + cost.bytesWritten + stateBytes);
    Phase phase = getPhase(launch.op);
    if (phase == Phase::recompute || phase == Phase::backward)
      call->setAttr(phase == Phase::recompute ? rt::kRecomputeAttr : rt::kBackwardAttr, builder.getUnitAttr());
    return success();
  }

  /// The ranges of an operand of kernels.def: one, or one per part of a group. Bytes of the step's state, which are not values of the op,
  /// count once more where they are read and written.
  LogicalResult addOperands(const BoundLaunch &launch, const KernelOperand &operand, SmallVector<Attribute> &ranges, int64_t &stateBytes,
                            OpBuilder &builder) {
    if (operand.role == Role::Scratch) {
      int64_t bytes = launch.record->getScratch(launch.query);
      ranges.push_back(bytes ? getTemporary(launch.scratch, bytes, MG_RAW, /*value=*/-1) : state.getRange(MG_TEMPORARIES, 0, 0, MG_RAW));
      return success();
    }
    if (operand.role == Role::Table) {
      ranges.push_back(state.addTable(launch.op->getLoc(), launch.record->table(launch.query)));
      return success();
    }
    size_t before = ranges.size();
    for (const LaunchOperand &given : launch.query.operands) {
      if (given.name != launch.record->getQueryName(operand.name))
        continue;
      RangeAttr range = given.kind == LaunchOperand::Kind::Value ? getValue(given) : state.find(launch.op, given);
      if (!range)
        return failure();
      if (given.kind != LaunchOperand::Kind::Value)
        stateBytes += range.getBytes() * (operand.role == Role::InOut || operand.role == Role::OptionalInOut ? 2 : 1);
      ranges.push_back(range);
    }
    if (ranges.size() == before && isOptional(operand.role))
      ranges.push_back(builder.getUnitAttr());
    return success();
  }

  RangeAttr getTemporary(int buffer, int64_t bytes, int64_t type, int64_t value) {
    return state.getRange(MG_TEMPORARIES, packing.offsets[buffer], bytes, type, 0, value);
  }

  /// The bytes of a value.
  RangeAttr getValue(const LaunchOperand &operand) {
    if (auto read = operand.value.getDefiningOp<ReadOp>())
      return state.find(read, {"", LaunchOperand::Kind::Weight, Value(), read.getParameter().str(), operand.type});
    if (auto input = operand.value.getDefiningOp<step::InputOp>())
      return state.getInput(input.getName());
    return getTemporary(lifetimes.getBuffer(operand.value), getBytes(operand.type), getMgType(operand.type.getElementType()),
                        lifetimes.getNumber(operand.value));
  }

  const Lifetimes &lifetimes;
  const Packing &packing;
  StateLayout &state;
};

struct StepAssignBuffers : impl::StepAssignBuffersBase<StepAssignBuffers> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<step::FuncOp> funcs(module.getOps<step::FuncOp>());
    if (failed(checkRecords(funcs)))
      return signalPassFailure();
    std::vector<Lifetimes> lifetimes;
    for (step::FuncOp func : funcs)
      if (failed(checkSizes(lifetimes.emplace_back(func))))
        return signalPassFailure();
    SmallVector<std::pair<step::FuncOp, const Lifetimes *>> pairs;
    for (auto [func, lifetime] : llvm::zip(funcs, lifetimes))
      pairs.push_back({func, &lifetime});
    std::vector<Packing> packings = pack(lifetimes);
    StateLayout state(module);
    if (failed(state.run(pairs)))
      return signalPassFailure();

    // Tables are found while launches are written, so segments and tables are put before them at the end.
    OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
    for (auto [func, lifetime, packing] : llvm::zip(funcs, lifetimes, packings))
      if (failed(FunctionWriter(lifetime, packing, state).write(func, builder)))
        return signalPassFailure();
    addSegments(funcs, packings, state);
    rt::FuncOp first = *module.getOps<rt::FuncOp>().begin();
    for (TableOp table : llvm::to_vector(module.getOps<TableOp>()))
      table->moveBefore(first);
    for (Operation &op : llvm::make_early_inc_range(module.getBody()->getOperations()))
      if (isa<StepDialect>(op.getDialect()))
        op.erase();
  }

private:
  LogicalResult checkRecords(ArrayRef<step::FuncOp> funcs) {
    for (step::FuncOp func : funcs)
      for (Operation &op : func.getBody().front().without_terminator()) {
        if (isa<ReadOp, step::InputOp>(op))
          continue;
        auto record = op.getAttrOfType<StringAttr>(kRecordAttr);
        if (!record || !findRecord(record))
          return op.emitOpError("has no 'record'; run step-select-kernels first");
      }
    return success();
  }

  /// All buffers of a function side by side, the most a packing can need, are bytes that 64 bits can count.
  LogicalResult checkSizes(const Lifetimes &lifetimes) {
    Size sum = 0;
    for (const BoundLaunch &launch : lifetimes.getLaunches()) {
      Size bytes = launch.record->getScratch(launch.query);
      for (Type type : launch.op->getResultTypes())
        bytes = bytes + getElements(type) * 8;
      sum = sum + bytes;
      if (bytes.get() < 0 || sum.get() > kMostBytes)
        return launch.op->emitOpError("at \"") << getPath(launch.op) << "\" needs " << bytes.get() << " bytes after " << sum.get()
                                               << " of all launches so far, a function has at most " << kMostBytes
                                               << "; fix: smaller sizes or a smaller micro_batch";
    }
    return success();
  }

  /// All functions share a segment: a close packing is looked for where one needs more than a hundredth above what some function needs.
  static std::vector<Packing> pack(const std::vector<Lifetimes> &lifetimes) {
    std::vector<Packing> packings;
    int64_t bound = 0;
    auto run = [](const Lifetimes &lifetime, int64_t enough) {
      return packBuffers({lifetime.getBuffers().data(), lifetime.getBuffers().size()}, kAlignment, enough);
    };
    for (const Lifetimes &lifetime : lifetimes)
      bound = std::max(bound, packings.emplace_back(run(lifetime, std::numeric_limits<int64_t>::max())).lowerBound);
    for (auto [lifetime, packing] : llvm::zip(lifetimes, packings))
      if (int64_t enough = bound + bound / 100; packing.bytes > enough)
        packing = run(lifetime, enough);
    return packings;
  }

  void addSegments(SmallVectorImpl<step::FuncOp> &funcs, ArrayRef<Packing> packings, StateLayout &state) {
    int64_t bound = 0;
    StringRef peak;
    for (auto [func, packing] : llvm::zip(funcs, packings)) {
      bound = std::max(bound, packing.lowerBound);
      if (packing.bytes > state.sizes[MG_TEMPORARIES]) {
        state.sizes[MG_TEMPORARIES] = packing.bytes;
        peak = func.getSymName();
      }
    }
    ModuleOp module = getOperation();
    OpBuilder builder(*module.getOps<rt::FuncOp>().begin());
    for (int64_t segment = 0; segment < MG_SEGMENT_COUNT; ++segment) {
      bool temporary = segment == MG_TEMPORARIES;
      SegmentOp::create(builder, module.getLoc(), builder.getStringAttr(getSegmentName(segment)),
                        builder.getI64IntegerAttr(llvm::alignTo(state.sizes[segment], kAlignment)),
                        temporary ? builder.getI64IntegerAttr(bound) : IntegerAttr(),
                        temporary ? builder.getStringAttr(peak) : StringAttr());
    }
  }
};

} // namespace
} // namespace megacc::rt

// Every read sees what was written.
#include "dialects/Interfaces/Functions.h"
#include "dialects/Interfaces/Size.h"
#include "passes/rt/Passes.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <iterator>
#include <map>

using namespace mlir;

namespace megacc::rt {
#define GEN_PASS_DEF_RTCHECKSCHEDULE
#include "passes/rt/Passes.h.inc"

namespace {

/// Which value every byte of the temporaries holds: disjoint intervals by first byte.
class Contents {
public:
  struct Interval {
    int64_t end, value;
  };

  /// Forgets what [begin, end) held and notes `value` there.
  void write(int64_t begin, int64_t end, int64_t value) {
    if (begin == end)
      return;
    cut(begin);
    cut(end);
    intervals.erase(intervals.lower_bound(begin), intervals.lower_bound(end));
    if (value >= 0)
      intervals[begin] = {end, value};
  }

  /// True if [begin, end) holds `value` as it was written, whole.
  bool holds(int64_t begin, int64_t end, int64_t value) const {
    if (begin == end)
      return true;
    auto found = intervals.find(begin);
    return found != intervals.end() && found->second.end == end && found->second.value == value;
  }

private:
  /// A value that is overwritten in part is lost: the parts left do not begin and end as it did.
  void cut(int64_t at) {
    auto next = intervals.upper_bound(at);
    if (next == intervals.begin())
      return;
    auto previous = std::prev(next);
    if (previous->first == at || previous->second.end <= at)
      return;
    intervals[at] = previous->second;
    previous->second.end = at;
  }

  std::map<int64_t, Interval> intervals;
};

/// A set of bytes: disjoint intervals, first byte to end, that do not touch.
class Bytes {
public:
  void add(int64_t begin, int64_t end) {
    auto next = intervals.upper_bound(begin);
    if (next != intervals.begin() && std::prev(next)->second >= begin)
      --next;
    while (next != intervals.end() && next->first <= end) {
      begin = std::min(begin, next->first), end = std::max(end, next->second);
      next = intervals.erase(next);
    }
    if (begin < end)
      intervals[begin] = end;
  }

  bool covers(int64_t begin, int64_t end) const {
    auto next = intervals.upper_bound(begin);
    return begin >= end || (next != intervals.begin() && std::prev(next)->second >= end);
  }

  bool touches(int64_t begin, int64_t end) const {
    auto next = intervals.lower_bound(end);
    return begin < end && next != intervals.begin() && std::prev(next)->second > begin;
  }

private:
  std::map<int64_t, int64_t> intervals;
};

int64_t getEnd(RangeAttr range) { return range.getOffset() + range.getBytes(); }

/// What has been written of io and of the gradients, at the first micro-batch and at the last: ranges move evenly in between.
class Written {
public:
  void add(RangeAttr range, int64_t microBatches) {
    first[range.getSegment()].add(range.getOffset(), getEnd(range));
    last[range.getSegment()].add(getLast(range.getOffset(), range, microBatches), getLast(getEnd(range), range, microBatches));
  }

  bool covers(RangeAttr range, int64_t microBatches) const {
    return first[range.getSegment()].covers(range.getOffset(), getEnd(range)) &&
           last[range.getSegment()].covers(getLast(range.getOffset(), range, microBatches), getLast(getEnd(range), range, microBatches));
  }

  /// Whether the bytes that `place` has in `range` are written.
  bool holds(RangeAttr place, RangeAttr range) const {
    return first[range.getSegment()].covers(std::max(place.getOffset(), range.getOffset()), std::min(getEnd(place), getEnd(range)));
  }

private:
  /// Where a byte of the range lies at the last micro-batch.
  static int64_t getLast(int64_t byte, RangeAttr range, int64_t microBatches) {
    return (byte + Size(range.getStride()) * (microBatches - 1)).get();
  }

  Bytes first[MG_SEGMENT_COUNT], last[MG_SEGMENT_COUNT];
};

/// Replays the functions of a module, one after the other.
class Replay {
public:
  explicit Replay(ModuleOp module) : module(module) {
    for (auto segment : module.getOps<SegmentOp>())
      for (int64_t index = 0; index < MG_SEGMENT_COUNT; ++index)
        if (segment.getName() == getSegmentName(index))
          sizes[index] = segment.getBytes();
    if (auto config = module->getAttrOfType<DictionaryAttr>("megacc.config"))
      if (auto accumulate = config.getAs<IntegerAttr>("accumulate"))
        microBatches = std::max<int64_t>(1, accumulate.getInt());
  }

  /// The state: every range that an operation of the module names.
  LogicalResult checkState() {
    bool good = true;
    for (Operation &op : *module.getBody())
      for (NamedAttribute attribute : op.getAttrs())
        if (auto range = dyn_cast<RangeAttr>(attribute.getValue()))
          good &= succeeded(checkInside(&op, range));
    return success(good);
  }

  /// A function finds what the host wrote and the state; @update, which is to be checked after @micro_batch, what that wrote, too, and so
  /// does each @intervene.K after both.
  LogicalResult check(FuncOp func) {
    contents = Contents();
    std::fill(std::begin(summed), std::end(summed), Bytes());
    if (func.getSymName() != "update" && !isIntervention(func.getSymName())) {
      written = Written();
      for (auto input : module.getOps<InputOp>())
        written.add(input.getRange(), microBatches);
    }
    bool good = true;
    for (auto call : func.getBody().getOps<CallOp>()) {
      SmallVector<Access> accesses = getAccesses(call);
      good &= succeeded(check(call, accesses));
      for (const Access &access : accesses)
        if (access.writes)
          note(access);
    }
    return success(good);
  }

private:
  LogicalResult checkInside(Operation *op, RangeAttr range) {
    if (range.getStride() && range.getSegment() != MG_IO)
      return op->emitOpError("moves by ") << range.getStride() << " bytes of " << getSegmentName(range.getSegment())
                                          << " a micro-batch; only io has a place for each";
    int64_t moved, end;
    bool overflows = llvm::MulOverflow(range.getStride(), microBatches - 1, moved) || llvm::AddOverflow(getEnd(range), moved, end);
    int64_t size = sizes[range.getSegment()];
    if (!overflows && end <= size)
      return success();
    InFlightDiagnostic error = op->emitOpError("uses ") << getSegmentName(range.getSegment()) << " up to byte ";
    if (overflows)
      error << getEnd(range) << " + " << microBatches - 1 << " * " << range.getStride();
    else
      error << end;
    return error << ", but the segment has " << size;
  }

  /// Whether two operands of a launch share bytes at some micro-batch.
  bool overlap(RangeAttr a, RangeAttr b) const {
    if (a.getSegment() != b.getSegment() || !a.getBytes() || !b.getBytes())
      return false;
    // They do at m where -a.bytes < distance + step m < b.bytes; the first m past the lower bound is the one to look at.
    int64_t distance = a.getOffset() - b.getOffset(), step = a.getStride() - b.getStride();
    if (step < 0)
      return overlap(b, a);
    int64_t m = step && distance <= -a.getBytes() ? (-a.getBytes() - distance) / step + 1 : 0;
    return m < microBatches && distance + step * m > -a.getBytes() && distance + step * m < b.getBytes();
  }

  LogicalResult check(CallOp call, ArrayRef<Access> accesses) {
    for (const Access &access : accesses)
      if (failed(checkInside(call, access.range)) || failed(checkConstant(call, access)) || failed(checkRead(call, access)) ||
          failed(checkSum(call, access)))
        return failure();
    for (const auto &[index, access] : llvm::enumerate(accesses))
      for (const Access &other : accesses.drop_front(index + 1)) {
        RangeAttr a = access.range, b = other.range;
        if ((!access.writes && !other.writes) || !overlap(a, b))
          continue;
        bool exact = a.getOffset() == b.getOffset() && a.getBytes() == b.getBytes() && a.getStride() == b.getStride();
        if (!exact || (access.writes && other.writes))
          return call.emitOpError("has operands that overlap: bytes ")
                 << a.getOffset() << " and " << b.getOffset() << " of " << getSegmentName(a.getSegment());
      }
    return success();
  }

  /// Constants are read alone; a table is one of the module's.
  LogicalResult checkConstant(CallOp call, const Access &access) {
    RangeAttr range = access.range;
    if (access.writes && range.getSegment() == MG_CONSTANTS)
      return call.emitOpError("writes constants at byte ") << range.getOffset();
    if (access.role != Role::Table && range.getSegment() != MG_CONSTANTS)
      return success();
    for (auto table : module.getOps<TableOp>()) {
      RangeAttr whole = table.getRange();
      if (range.getSegment() == MG_CONSTANTS && whole.getOffset() <= range.getOffset() && getEnd(range) <= getEnd(whole))
        return success();
    }
    return call.emitOpError("reads a table at bytes ")
           << range.getOffset() << " to " << getEnd(range) << " of " << getSegmentName(range.getSegment()) << ", where no rt.table lies";
  }

  LogicalResult checkRead(CallOp call, const Access &access) {
    RangeAttr range = access.range;
    if (!access.reads)
      return success();
    if (range.getSegment() == MG_TEMPORARIES && !contents.holds(range.getOffset(), getEnd(range), range.getValue()))
      return call.emitOpError("reads value ") << range.getValue() << " at bytes " << range.getOffset() << " to " << getEnd(range)
                                              << ", which do not hold it any more or not yet";
    if (access.role == Role::Sum) // overwrites at micro-batch 0, unless checkSum finds that it adds
      return success();
    if (range.getSegment() == MG_IO && !written.covers(range, microBatches))
      return call.emitOpError("reads bytes ") << range.getOffset() << " to " << getEnd(range) << (range.getStride() ? " + m strides" : "")
                                              << " of io, which neither the host nor a launch before it writes";
    if (range.getSegment() != MG_GRADIENTS)
      return success();
    // A sweep over many parameters reads the padding between them, too, which nobody writes.
    for (auto parameter : module.getOps<ParameterOp>())
      if (parameter.getGradient() && !written.holds(*parameter.getGradient(), range))
        return call.emitOpError("reads the gradient of \"") << parameter.getName() << "\", which no launch before it writes";
    return success();
  }

  /// Of several sums into one place of the state the first overwrites at micro-batch 0, the others add.
  LogicalResult checkSum(CallOp call, const Access &access) {
    RangeAttr range = access.range;
    if (access.role != Role::Sum || range.getSegment() == MG_TEMPORARIES)
      return success();
    int64_t accumulate = call.getInts()[findKernel(call.getKernel())->findInt("accumulate")];
    const Bytes &before = summed[range.getSegment()];
    bool good = accumulate == 2 ? before.covers(range.getOffset(), getEnd(range)) : !before.touches(range.getOffset(), getEnd(range));
    if (good)
      return success();
    return call.emitOpError(accumulate == 2 ? "adds to bytes " : "overwrites bytes ")
           << range.getOffset() << " to " << getEnd(range) << " of " << getSegmentName(range.getSegment())
           << (accumulate == 2 ? ", which the function has not summed; accumulate must be 1"
                               : ", which the function has summed already; accumulate must be 2");
  }

  void note(const Access &access) {
    RangeAttr range = access.range;
    if (access.role == Role::Sum)
      summed[range.getSegment()].add(range.getOffset(), getEnd(range));
    if (range.getSegment() == MG_TEMPORARIES)
      contents.write(range.getOffset(), getEnd(range), range.getValue());
    else
      written.add(range, microBatches);
  }

  ModuleOp module;
  int64_t sizes[MG_SEGMENT_COUNT] = {};
  int64_t microBatches = 1;
  /// Of the temporaries, within a function.
  Contents contents;
  /// Where the function has summed so far.
  Bytes summed[MG_SEGMENT_COUNT];
  /// What is known to be written outside the temporaries.
  Written written;
};

struct RtCheckSchedule : impl::RtCheckScheduleBase<RtCheckSchedule> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    Replay replay(getOperation());
    bool good = succeeded(replay.checkState());
    SmallVector<FuncOp> funcs(getOperation().getOps<FuncOp>());
    // @micro_batch comes first, then @update, then what some steps do after it, wherever they stand.
    std::stable_partition(funcs.begin(), funcs.end(), [](FuncOp func) { return isIntervention(func.getSymName()); });
    for (StringRef name : {"update", "micro_batch"})
      std::stable_partition(funcs.begin(), funcs.end(), [&](FuncOp func) { return func.getSymName() == name; });
    for (FuncOp func : funcs)
      good &= succeeded(replay.check(func));
    if (!good)
      signalPassFailure();
  }
};

} // namespace
} // namespace megacc::rt

//===- CheckSchedule.cpp - every read sees what was written ---------------===//
#include "passes/rt/Passes.h"

#include "llvm/ADT/STLExtras.h"

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
    cut(begin);
    cut(end);
    intervals.erase(intervals.lower_bound(begin), intervals.lower_bound(end));
    if (value >= 0)
      intervals[begin] = {end, value};
  }

  /// True if [begin, end) holds `value` as it was written, whole.
  bool holds(int64_t begin, int64_t end, int64_t value) const {
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

struct RtCheckSchedule : impl::RtCheckScheduleBase<RtCheckSchedule> {
  void runOnOperation() override {
    int64_t sizes[MG_SEGMENT_COUNT] = {};
    for (auto segment : getOperation().getOps<SegmentOp>())
      for (int64_t index = 0; index < MG_SEGMENT_COUNT; ++index)
        if (segment.getName() == getSegmentName(index))
          sizes[index] = segment.getBytes();
    bool good = true;
    for (auto func : getOperation().getOps<FuncOp>()) {
      Contents contents;
      for (auto call : func.getBody().getOps<CallOp>())
        good &= succeeded(check(call, contents, sizes));
    }
    markAllAnalysesPreserved();
    if (!good)
      signalPassFailure();
  }

private:
  static bool overlap(RangeAttr a, RangeAttr b) {
    return a.getSegment() == b.getSegment() && a.getOffset() < b.getOffset() + b.getBytes() && b.getOffset() < a.getOffset() + a.getBytes();
  }

  LogicalResult check(CallOp call, Contents &contents, const int64_t *sizes) {
    SmallVector<Access> accesses = getAccesses(call);
    for (const Access &access : accesses) {
      RangeAttr range = access.range;
      int64_t end = range.getOffset() + range.getBytes();
      if (end > sizes[range.getSegment()])
        return call.emitOpError("uses ") << getSegmentName(range.getSegment()) << " up to byte " << end << ", but the segment has "
                                         << sizes[range.getSegment()];
      if (access.reads && range.getSegment() == MG_TEMPORARIES && !contents.holds(range.getOffset(), end, range.getValue()))
        return call.emitOpError("reads value ") << range.getValue() << " at bytes " << range.getOffset() << " to " << end
                                                << ", which do not hold it any more or not yet";
    }
    for (const auto &[index, access] : llvm::enumerate(accesses))
      for (const Access &other : ArrayRef(accesses).drop_front(index + 1)) {
        if (!overlap(access.range, other.range) || (!access.writes && !other.writes))
          continue;
        bool exact = access.range.getOffset() == other.range.getOffset() && access.range.getBytes() == other.range.getBytes();
        if (!exact || (access.writes && other.writes))
          return call.emitOpError("has operands that overlap: bytes ")
                 << access.range.getOffset() << " and " << other.range.getOffset() << " of " << getSegmentName(access.range.getSegment());
      }
    for (const Access &access : accesses)
      if (access.writes && access.range.getSegment() == MG_TEMPORARIES)
        contents.write(access.range.getOffset(), access.range.getOffset() + access.range.getBytes(), access.range.getValue());
    return success();
  }
};

} // namespace
} // namespace megacc::rt

#include "lib/Plan/Traffic.h"
#include "dialects/Rt/Rt.h"

#include "llvm/ADT/STLExtras.h"

#include <map>

namespace megacc {
namespace {

/// Bytes of the temporaries written before the first launch that writes a gradient, and read by that launch or a later one.
double measureSaved(rt::FuncOp func) {
  std::map<int64_t, int64_t> written, saved; // value -> bytes
  bool is_backward = false;
  for (auto call : func.getBody().getOps<rt::CallOp>()) {
    auto accesses = rt::getAccesses(call);
    is_backward |=
        llvm::any_of(accesses, [](const rt::Access &access) { return access.writes && access.range.getSegment() == MG_GRADIENTS; });
    for (const rt::Access &access : accesses) {
      rt::RangeAttr range = access.range;
      if (range.getSegment() != MG_TEMPORARIES || range.getValue() < 0)
        continue;
      if (is_backward && access.reads && written.count(range.getValue()))
        saved[range.getValue()] = range.getBytes();
      if (!is_backward && access.writes)
        written[range.getValue()] = range.getBytes();
    }
  }
  double sum = 0;
  for (auto [value, bytes] : saved)
    sum += double(bytes);
  return sum;
}

} // namespace

Traffic measureTraffic(mlir::ModuleOp launches, int64_t accumulate) {
  Traffic traffic;
  for (auto segment : launches.getOps<rt::SegmentOp>())
    for (MgSegment state : {MG_WEIGHTS, MG_OPTIMIZER, MG_GRADIENTS})
      if (segment.getName() == rt::getSegmentName(state))
        traffic.state += double(segment.getBytes());
  for (auto func : launches.getOps<rt::FuncOp>()) {
    bool is_micro_batch = func.getSymName() == "micro_batch";
    if (!is_micro_batch && func.getSymName() != "update")
      continue;
    int64_t times = is_micro_batch ? accumulate : 1;
    if (is_micro_batch)
      traffic.saved = double(times) * measureSaved(func);
    for (auto call : func.getBody().getOps<rt::CallOp>())
      traffic.moved += double(times) * double(call.getMovedBytes());
  }
  return traffic;
}

} // namespace megacc

// Whether the plan fits the declared memory.
#include "dialects/Interfaces/Decision.h"
#include "lib/Plan/Peak.h"
#include "passes/rt/Passes.h"

#include "mlir/IR/Builders.h"

using namespace mlir;

namespace megacc::rt {
#define GEN_PASS_DEF_RTCHECKMEMORY
#include "passes/rt/Passes.h.inc"

SegmentSum sumSegments(ModuleOp module) {
  SegmentSum sum;
  for (auto segment : module.getOps<SegmentOp>()) {
    if (!segment.getBytes())
      continue;
    sum.total = sum.total + segment.getBytes();
    if (segment.getName() == getSegmentName(MG_TEMPORARIES))
      sum.temporaries = segment.getBytes();
    sum.text += (sum.text.empty() ? "" : ", ") + (segment.getName() + " " + Twine(segment.getBytes())).str();
    if (segment.getPeak())
      sum.text += (" (the peak is in @" + *segment.getPeak() + ")").str();
  }
  return sum;
}

std::string adviseMemory(int64_t needed) {
  return "memory = \"" + std::to_string(llvm::divideCeil(needed, int64_t(1) << 20)) + "MiB\", or a smaller micro_batch";
}

namespace {

struct RtCheckMemory : impl::RtCheckMemoryBase<RtCheckMemory> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    auto config = getOperation()->getAttrOfType<DictionaryAttr>("megacc.config");
    auto declared = config ? config.getAs<IntegerAttr>("memory") : IntegerAttr();
    if (!declared || declared.getInt() == 0)
      return;
    SegmentSum sum = sumSegments(getOperation());
    int64_t needed = sum.total.get();
    if (needed <= declared.getInt())
      return;
    getOperation()->setAttr(kNeededAttr, Builder(&getContext()).getI64IntegerAttr(needed));
    InFlightDiagnostic error = emitError(UnknownLoc::get(&getContext()));
    error << "the step needs " << needed << " bytes, memory allows " << declared.getInt() << ": " << sum.text
          << "; fix: " << adviseMemory(needed);
    error.attachNote() << describePeak(findPeak(readSchedule(getOperation(), "micro_batch")));
    signalPassFailure();
  }
};

} // namespace
} // namespace megacc::rt

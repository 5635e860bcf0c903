// Whether the plan fits the declared memory.
#include "dialects/Interfaces/Size.h"
#include "passes/rt/Passes.h"

using namespace mlir;

namespace megacc::rt {
#define GEN_PASS_DEF_RTCHECKMEMORY
#include "passes/rt/Passes.h.inc"

namespace {

struct RtCheckMemory : impl::RtCheckMemoryBase<RtCheckMemory> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    auto config = getOperation()->getAttrOfType<DictionaryAttr>("megacc.config");
    auto declared = config ? config.getAs<IntegerAttr>("memory") : IntegerAttr();
    if (!declared || declared.getInt() == 0)
      return;
    Size total = 0;
    std::string parts;
    for (auto segment : getOperation().getOps<SegmentOp>()) {
      if (!segment.getBytes())
        continue;
      total = total + segment.getBytes();
      parts += (parts.empty() ? "" : ", ") + (segment.getName() + " " + Twine(segment.getBytes())).str();
      if (segment.getPeak())
        parts += (" (the peak is in @" + *segment.getPeak() + ")").str();
    }
    int64_t needed = total.get();
    if (needed <= declared.getInt())
      return;
    emitError(UnknownLoc::get(&getContext())) << "the step needs " << needed << " bytes, memory allows " << declared.getInt() << ": "
                                              << parts << "; fix: memory = \"" << llvm::divideCeil(needed, int64_t(1) << 20)
                                              << "MiB\", or a smaller micro_batch";
    signalPassFailure();
  }
};

} // namespace
} // namespace megacc::rt

//===- CheckMemory.cpp - does the plan fit ---------------------------------===//
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
    int64_t needed = 0;
    std::string parts;
    for (auto segment : getOperation().getOps<SegmentOp>()) {
      if (!segment.getBytes())
        continue;
      needed += segment.getBytes();
      parts += (parts.empty() ? "" : ", ") + (segment.getName() + " " + Twine(segment.getBytes())).str();
      if (segment.getPeak())
        parts += (" (the peak is in @" + *segment.getPeak() + ")").str();
    }
    if (needed <= declared.getInt())
      return;
    emitError(UnknownLoc::get(&getContext())) << "the step needs " << needed << " bytes, memory allows " << declared.getInt() << ": "
                                              << parts << "; fix: memory = \"" << (needed + (1 << 20) - 1) / (1 << 20)
                                              << "MiB\", or a smaller micro_batch";
    signalPassFailure();
  }
};

} // namespace
} // namespace megacc::rt

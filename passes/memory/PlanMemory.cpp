// What is kept and what is computed again.
#include "dialects/Interfaces/OpPath.h"
#include "lib/Kernels/Kernels.h"
#include "passes/memory/Passes.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::step {
#define GEN_PASS_DEF_STEPPLANMEMORY
#include "passes/memory/Passes.h.inc"

namespace {

struct StepPlanMemory : impl::StepPlanMemoryBase<StepPlanMemory> {
  using StepPlanMemoryBase::StepPlanMemoryBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto earlier = module->getAttrOfType<ArrayAttr>(kDecisionsAttr);
    decisions.assign(earlier ? earlier.begin() : nullptr, earlier ? earlier.end() : nullptr);
    module.walk([&](KernelOpInterface op) {
      if (op->hasAttr(kPairAttr) && !isa<CacheOpInterface>(op.getOperation()))
        plan(op);
    });
    StringRef what = recompute.empty() ? getConfigText(module, "recompute", "auto") : StringRef(recompute);
    if (failed(what == "auto" ? fitMemory(module, getConfigInteger(module, "memory"), costs, pareto, decisions)
                              : markRecomputed(module, what, decisions)))
      return signalPassFailure();
    Builder builder(&getContext());
    if (!decisions.empty())
      module->setAttr(kDecisionsAttr, builder.getArrayAttr(decisions));
  }

private:
  void plan(KernelOpInterface op) {
    KernelQuery query = op.getKernelQuery();
    const Record *record = match(getTarget(op), query);
    if (!record) // step-select-kernels says so
      return;
    Builder builder(&getContext());
    SmallVector<Attribute> kept;
    for (const Cache &cache : record->caches)
      if (keeps(op, query, cache))
        kept.push_back(builder.getStringAttr(cache.name));
    if (!kept.empty())
      op->setAttr(kKeepAttr, builder.getArrayAttr(kept));
  }

  bool keeps(Operation *op, const KernelQuery &query, const Cache &cache) {
    RankedTensorType type = cache.type(query);
    if (cache.setting.empty())
      return type && cache.kept;
    StringRef wanted = getConfigText(op, cache.setting, "off");
    if (wanted == "off")
      return false;
    if (!type)
      record(op, cache.setting + " = " + wanted + ": nothing to cache, " + cache.nothing);
    else if (wanted == "auto")
      record(op, cache.setting + " = auto: off, a cache of " + Twine(getBytes(type)) + " bytes " + cache.trade);
    else
      record(op, cache.setting + " = on: " + Twine(getBytes(type)) + " bytes from the forward to the backward");
    return type && wanted == "on";
  }

  void record(Operation *op, const Twine &decision) { decisions.push_back(StringAttr::get(&getContext(), getPath(op) + ": " + decision)); }

  SmallVector<Attribute> decisions;
};

} // namespace
} // namespace megacc::step

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
    llvm::Expected<Costs> read = Costs::read(costs, getTarget(module));
    if (!read) {
      emitError(UnknownLoc::get(&getContext())) << llvm::toString(read.takeError());
      return signalPassFailure();
    }
    decisions.clear();
    for (Decision &earlier : readDecisions(module))
      decisions.push_back({std::move(earlier), nullptr});
    known = &*read;
    module.walk([&](KernelOpInterface op) {
      if (op->hasAttr(kPairAttr) && !isa<CacheOpInterface>(op.getOperation()))
        plan(op);
    });
    StringRef what = recompute.empty() ? getConfigText(module, "recompute", "auto") : StringRef(recompute);
    if (failed(what == "auto" ? fitMemory(module, getConfigInteger(module, "memory"), *read, pareto, explain, decisions)
                              : markRecomputed(module, what, *read, decisions)))
      return signalPassFailure();
    SmallVector<Attribute> attributes;
    for (const auto &[decision, op] : decisions) {
      attributes.push_back(decision.toAttribute(&getContext()));
      if (remarks)
        emitRemark(op ? op->getLoc() : UnknownLoc::get(&getContext())) << decision.describe();
    }
    if (!attributes.empty())
      module->setAttr(kDecisionsAttr, ArrayAttr::get(&getContext(), attributes));
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
    Decision decision{.block = getPath(op).str(), .value = (cache.setting + " = " + wanted).str()};
    if (int64_t slot = getBlock(op); slot >= 0)
      decision.slots = {slot};
    if (!type) {
      decision.chosen = {"nothing to cache", {}, {}};
      decision.reason = cache.nothing;
    } else {
      int64_t bytes = getBytes(type);
      // It is written once and read once, beside what the kernels do anyway.
      Decision::Option on{"kept", bytes, known->estimate({0, bytes, bytes}) - known->estimate({})}, off{"off", 0, 0.0};
      bool isOn = wanted == "on";
      decision.chosen = isOn ? on : off;
      decision.alternatives = {isOn ? off : on};
      decision.reason = isOn ? std::to_string(bytes) + " bytes from the forward to the backward"
                             : "a cache of " + std::to_string(bytes) + " bytes " + cache.trade;
    }
    decisions.push_back({std::move(decision), op});
    return type && wanted == "on";
  }

  Decisions decisions;
  const Costs *known = nullptr;
};

} // namespace
} // namespace megacc::step

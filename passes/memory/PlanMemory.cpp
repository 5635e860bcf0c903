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
    decisions.clear(), refused.clear();
    for (Decision &earlier : readDecisions(module))
      decisions.push_back({std::move(earlier), nullptr});
    known = &*read;
    module.walk([&](KernelOpInterface op) {
      if (op->hasAttr(kPairAttr) && !isa<CacheOpInterface>(op.getOperation()))
        plan(op);
    });
    StringRef what = recompute.empty() ? getConfigText(module, "recompute", "auto") : StringRef(recompute);
    bool isGood = succeeded(checkRefusals());
    if (what != "auto")
      isGood &= succeeded(markRecomputed(module, what, *read, decisions));
    else if (isGood)
      isGood = succeeded(fitMemory(module, getConfigInteger(module, "memory"), *read, pareto, explain, decisions));
    if (!isGood)
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
      if (keeps(op, query, *record, cache))
        kept.push_back(builder.getStringAttr(cache.name));
    if (!kept.empty())
      op->setAttr(kKeepAttr, builder.getArrayAttr(kept));
  }

  bool keeps(Operation *op, const KernelQuery &query, const Record &record, const Cache &cache) {
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
      char time[48];
      snprintf(time, sizeof time, ", in %.3f ms", *on.milliseconds);
      decision.reason = isOn ? std::to_string(bytes) + " bytes from the forward to the backward"
                             : "a cache of " + std::to_string(bytes) + " bytes " + cache.trade + time;
      if (!cache.refusal.empty()) {
        decision.reason += "; " + record.name + " has none";
        if (isOn)
          refused.push_back({op, &record, &cache, bytes});
      }
    }
    decisions.push_back({std::move(decision), op});
    return type && wanted == "on" && cache.refusal.empty();
  }

  /// What is asked for and a record cannot keep is an error, one for all ops of a record.
  LogicalResult checkRefusals() {
    for (const Refused &first : refused) {
      auto isAlike = [&](const Refused &other) { return other.cache == first.cache; };
      if (&first != &*llvm::find_if(refused, isAlike))
        continue;
      emitError(first.op->getLoc()) << first.cache->setting << " = on, but " << first.record->name << " keeps no " << first.cache->name
                                    << " (" << first.bytes << " bytes here; " << llvm::count_if(refused, isAlike)
                                    << " ops would): " << first.cache->refusal << "; fix: " << first.cache->setting << " = off, unset "
                                    << first.cache->gate << " (docs/plan.md)";
    }
    return success(refused.empty());
  }

  struct Refused {
    Operation *op;
    const Record *record;
    const Cache *cache;
    int64_t bytes;
  };
  std::vector<Refused> refused;
  Decisions decisions;
  const Costs *known = nullptr;
};

} // namespace
} // namespace megacc::step

// A record for every launch.
#include "dialects/Step/Step.h"
#include "lib/Kernels/Kernels.h"
#include "passes/rt/Passes.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <map>
#include <set>

using namespace mlir;
using namespace megacc::step;

namespace megacc::rt {
#define GEN_PASS_DEF_STEPSELECTKERNELS
#include "passes/rt/Passes.h.inc"

namespace {

struct StepSelectKernels : impl::StepSelectKernelsBase<StepSelectKernels> {
  void runOnOperation() override {
    target = getTarget(getOperation());
    for (auto func : getOperation().getOps<step::FuncOp>())
      for (Operation &op : func.getBody().front())
        if (auto kernel = dyn_cast<KernelOpInterface>(op))
          select(kernel);
    for (auto &[why, ops] : refused) {
      InFlightDiagnostic error = ops.front()->emitError() << "no kernel record for " << target << " serves " << ops.front()->getName();
      if (ops.size() > 1)
        error << " (" << ops.size() << " times)";
      error << ": " << why;
    }
    if (!missing.empty())
      getOperation().emitError() << "no kernel record for " << target << ": " << llvm::join(missing, ", ")
                                 << "; fix: --target=cpu, or leave out what needs them";
    if (!refused.empty() || !missing.empty() || bad)
      signalPassFailure();
  }

private:
  /// Binds the first record that serves the op, or checks the one it names.
  void select(KernelOpInterface op) {
    KernelQuery query = op.getKernelQuery();
    if (auto name = op->getAttrOfType<StringAttr>(kRecordAttr)) {
      const Record *record = findRecord(name);
      std::string why = !record                                                      ? "there is no such record"
                        : record->target != target || record->family != query.family ? "it is for " + record->target + ", " + record->family
                                                                                     : explainMisfit(*record, query);
      if (!why.empty()) {
        op->emitOpError("names the record \"") << name.getValue() << "\", which does not serve it: " << why;
        bad = true;
      }
      return;
    }
    std::string why;
    if (const Record *record = match(target, query, &why))
      op->setAttr(kRecordAttr, StringAttr::get(&getContext(), record->name));
    else if (llvm::none_of(allRecords(), [&](const Record &known) { return known.target == target && known.family == query.family; }))
      missing.insert(query.family);
    else
      refused[why].push_back(op);
  }

  StringRef target;
  std::set<std::string> missing;
  llvm::MapVector<std::string, SmallVector<Operation *>, std::map<std::string, unsigned>> refused;
  bool bad = false;
};

} // namespace
} // namespace megacc::rt

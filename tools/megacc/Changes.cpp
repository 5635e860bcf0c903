#include "tools/megacc/Changes.h"

#include "dialects/Interfaces/Sharding.h"
#include "dialects/Mega/Stack.h"
#include "lib/Plan/Plan.h"
#include "lib/Plan/Units.h"

#include "mlir/IR/Builders.h"

#include <algorithm>

using namespace mlir;

namespace megacc {
namespace {

struct Change {
  std::string flags;
  int64_t bytes = 0;
  double milliseconds = 0; // of a step; 0 where it does not fit
  bool fits() const { return milliseconds > 0; }
};

class Advisor {
public:
  Advisor(ModuleOp stacks, const mega::Model &model, StringRef recompute, const Costs &costs, Lower lower)
      : stacks(stacks), model(model), recompute(recompute), costs(costs), lower(lower) {}

  std::vector<Change> collect() {
    const mega::Train &train = *model.train;
    int64_t batch = train.micro_batch * train.accumulate;
    std::optional<Change> smaller;
    for (int64_t rows = train.micro_batch - 1; rows > 0 && !(smaller && smaller->fits()); --rows)
      if (batch % rows == 0)
        if (auto tried = attempt("--micro-batch " + std::to_string(rows) + " --accumulate " + std::to_string(batch / rows),
                                 {{"micro_batch", number(rows)}, {"accumulate", number(batch / rows)}}, recompute))
          smaller = tried;
    std::vector<Change> changes;
    auto add = [&](const std::optional<Change> &change) {
      if (change)
        changes.push_back(*change);
    };
    add(smaller);
    for (StringRef axis : {"dp", "tp", "ep"})
      add(spread(axis));
    if (!train.zero && !train.muon && train.mesh[MG_DP] * train.mesh[MG_EP] > 1)
      add(attemptMesh("", 1, 1));
    if (train.psiv_cache == "on")
      add(attempt("--psiv-cache=off", {{"psiv_cache", word("off", {})}}, recompute));
    if ((recompute.empty() ? StringRef(train.recompute) : recompute) != "auto")
      add(attempt("--recompute=auto", {}, "auto"));
    std::ranges::stable_sort(changes, {},
                             [](const Change &change) { return std::tuple(!change.fits(), change.milliseconds, change.bytes); });
    return changes;
  }

private:
  /// A key of mega.train and its value.
  using Setting = std::pair<StringRef, Attribute>;

  Attribute number(int64_t value) { return Builder(stacks.getContext()).getI64IntegerAttr(value); }
  Attribute word(StringRef kind, ArrayRef<NamedAttribute> keys) { return mega::KindAttr::get(stacks.getContext(), kind, keys); }

  /// Twice as many ranks on an axis, or four or eight times as many where that does not fit; nothing where the stack cannot be cut so.
  std::optional<Change> spread(StringRef axis) {
    const mega::Train &train = *model.train;
    std::optional<Change> found;
    for (int64_t times = 2; times <= 8 && !(found && found->fits()); times *= 2) {
      std::optional<Change> tried = attemptMesh(axis, times, train.zero);
      if (!tried)
        break;
      found = tried;
    }
    return found;
  }

  /// The mesh with `times` as many ranks on an axis.
  std::optional<Change> attemptMesh(StringRef axis, int64_t times, int64_t zero) {
    std::string flag;
    SmallVector<NamedAttribute> keys;
    auto add = [&](StringRef name, int64_t value) {
      flag += (flag.empty() ? "--mesh " : ",") + name.str() + "=" + std::to_string(value);
      keys.push_back({StringAttr::get(stacks.getContext(), name), number(value)});
    };
    for (StringRef name : {"dp", "tp", "ep"})
      if (int64_t ranks = model.train->mesh[*findAxis(name)] * (name == axis ? times : 1); ranks > 1)
        add(name, ranks);
    if (zero)
      add("zero", zero);
    return attempt(flag, {{"mesh", word("", keys)}}, recompute);
  }

  /// Nothing where the step cannot be lowered for another reason.
  std::optional<Change> attempt(std::string flags, std::initializer_list<Setting> settings, StringRef recompute) {
    OwningOpRef<ModuleOp> copy = stacks.clone();
    for (auto [key, value] : settings)
      mega::setTrainKey(*copy, model.name, key, value);
    std::vector<mega::Model> changed = mega::readStacks(*copy);
    auto own = llvm::find_if(changed, [&](const mega::Model &other) { return other.name == model.name; });
    ScopedDiagnosticHandler quiet(copy->getContext(), [](Diagnostic &) { return success(); });
    if (succeeded(lower(*copy, recompute))) {
      Plan plan = gatherPlan(*own, *copy, costs, {});
      return Change{std::move(flags), plan.total_bytes, plan.step};
    }
    if (auto needed = (*copy)->getAttrOfType<IntegerAttr>(kNeededAttr))
      return Change{std::move(flags), needed.getInt(), 0};
    return std::nullopt;
  }

  ModuleOp stacks;
  const mega::Model &model;
  StringRef recompute;
  const Costs &costs;
  Lower lower;
};

} // namespace

void adviseChanges(ModuleOp stacks, const mega::Model &model, int64_t needed, StringRef recompute, const Costs &costs, Lower lower,
                   llvm::raw_ostream &os) {
  std::vector<Change> changes = Advisor(stacks, model, recompute, costs, lower).collect();
  llvm::erase_if(changes, [&](const Change &change) { return !change.fits() && change.bytes >= needed; });
  bool is_any = !changes.empty() && changes.front().fits();
  os << "note: " << (is_any ? "one of these changes would do" : "no single change would do") << ", by planning again:\n";
  for (const Change &change : changes) {
    os << "  " << change.flags << ": " << (change.fits() ? "" : "needs ") << grouped(change.bytes) << " bytes";
    if (change.fits())
      os << llvm::format(", %.2f ms a step", change.milliseconds);
    os << "\n";
  }
}

} // namespace megacc

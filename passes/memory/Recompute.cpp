// Which ops the backward computes again.
#include "dialects/Interfaces/OpPath.h"
#include "dialects/Rt/KernelTable.h"
#include "lib/Kernels/Kernels.h"
#include "passes/memory/Passes.h"

#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/GlobPattern.h"
#include "llvm/Support/StringSaver.h"

#include <set>

using namespace mlir;

namespace megacc::step {
namespace {

/// Whether a test holds for a user of a value; those of the result of its group are among them.
template <typename Test> bool anyUser(Value value, Test test) {
  for (OpOperand &use : value.getUses()) {
    if (auto yield = dyn_cast<YieldOp>(use.getOwner())) {
      if (llvm::any_of(yield->getParentOp()->getResult(use.getOperandNumber()).getUsers(), test))
        return true;
    } else if (test(use.getOwner())) {
      return true;
    }
  }
  return false;
}

/// `[LETTER:]GLOB`, matched with the whole name of an op: inside a block of the letter, or of the model. `*` is any run of characters.
struct Pattern {
  std::string text, letter;
  llvm::GlobPattern glob;
  bool isFound = false;
};

class Marker {
public:
  Marker(ModuleOp module, FuncOp func) : module(module), func(func) {
    if (auto slots = module->getAttrOfType<ArrayAttr>(kSlotsAttr))
      for (auto slot : slots.getAsRange<DictionaryAttr>())
        letters.push_back(slot.getAs<StringAttr>("letter").getValue());
  }

  void markFull() {
    func.walk([&](Operation *op) {
      if (isForward(op) && getBlock(op) >= 0 && !isReadByOthers(op))
        mark(op);
    });
  }

  LogicalResult markListed(StringRef list) {
    SmallVector<StringRef> texts;
    list.split(texts, ',');
    std::vector<Pattern> patterns;
    for (StringRef text : texts) {
      text = text.trim();
      auto [letter, glob] = text.contains(':') ? text.split(':') : std::pair(StringRef(), text);
      std::string escaped;
      for (char c : glob)
        escaped += (StringRef("?[]{}\\").contains(c) ? "\\" : "") + std::string(1, c);
      llvm::Expected<llvm::GlobPattern> parsed = llvm::GlobPattern::create(saver.save(escaped));
      if (!parsed)
        return emitError(UnknownLoc::get(module.getContext())) << "recompute: " << text << ": " << llvm::toString(parsed.takeError());
      patterns.push_back({text.str(), letter.str(), std::move(*parsed)});
    }
    func.walk([&](Operation *op) {
      if (!isForward(op))
        return;
      auto [letter, name] = getName(op);
      if (!name.empty())
        names.insert((letter.empty() ? "" : letter + ":").str() + name.str());
      for (Pattern &pattern : patterns)
        if (pattern.letter.empty() ? pattern.glob.match(getPath(op)) : letter == pattern.letter && pattern.glob.match(name)) {
          pattern.isFound = true;
          mark(op);
        }
    });
    bool isGood = true;
    for (const Pattern &pattern : patterns)
      if (!pattern.isFound) {
        isGood = false;
        emitError(UnknownLoc::get(module.getContext()))
            << "recompute: " << pattern.text << " matches no op of the forward; the nearest are " << findNearest(pattern.text);
      }
    return success(isGood);
  }

  void mark(Operation *op) {
    if (op->hasAttr(kRecomputeAttr) || !isRecomputable(op))
      return;
    op->setAttr(kRecomputeAttr, UnitAttr::get(module.getContext()));
    marked.push_back(op);
  }

  /// A group all of whose ops are marked is computed again as one launch.
  void markGroups() {
    for (auto fused : func.getBody().getOps<FusedOp>())
      if (llvm::all_of(fused.getBody().front().without_terminator(), [](Operation &op) { return op.hasAttr(kRecomputeAttr); })) {
        for (Operation &op : fused.getBody().front().without_terminator())
          op.removeAttr(kRecomputeAttr);
        fused->setAttr(kRecomputeAttr, UnitAttr::get(module.getContext()));
      }
  }

  /// One decision for all ops of a name in blocks of a letter that are computed again, then one for those that are kept.
  void record(const Costs &costs, Decisions &decisions) {
    struct Sum {
      Operation *first = nullptr;
      int64_t ops = 0, bytes = 0;
      double milliseconds = 0;
      std::vector<int64_t> slots;
    };
    llvm::MapVector<std::pair<StringRef, StringRef>, Sum> again, kept;
    llvm::DenseSet<Operation *> needed;
    for (Operation *op : llvm::reverse(marked)) {
      auto isNeeded = [&](Operation *user) { return getPhase(user) == Phase::backward || needed.contains(user); };
      if (llvm::any_of(op->getResults(), [&](Value result) { return anyUser(result, isNeeded); }))
        needed.insert(op);
    }
    func.walk([&](Operation *op) {
      bool isMarked = needed.contains(op);
      if (!isForward(op) || !(isMarked || (isRecomputable(op) && !isReadByOthers(op))))
        return;
      int64_t bytes = 0;
      for (Value result : op->getResults())
        if (isReadByBackward(result))
          bytes += getBytes(result.getType());
      if (!isMarked && !bytes)
        return;
      Sum &sum = (isMarked ? again : kept)[getName(op)];
      sum.first = sum.first ? sum.first : op;
      ++sum.ops, sum.bytes += bytes, sum.milliseconds += getMilliseconds(op, costs);
      if (int64_t slot = getBlock(op); slot >= 0 && (sum.slots.empty() || sum.slots.back() != slot))
        sum.slots.push_back(slot);
    });
    for (auto [sums, isAgain] : {std::pair(&again, true), std::pair(&kept, false)})
      for (auto &[key, sum] : *sums) {
        Decision decision{.block = key.first.str(), .value = key.second.str(), .slots = std::move(sum.slots)};
        char time[32];
        snprintf(time, sizeof time, "%.3f", sum.milliseconds);
        std::string ops = std::to_string(sum.ops) + (sum.ops == 1 ? " op, " : " ops, "), bytes = std::to_string(sum.bytes);
        Decision::Option keep{"kept", sum.bytes, 0.0}, compute{"computed again", 0, sum.milliseconds};
        decision.chosen = isAgain ? compute : keep;
        decision.alternatives = {isAgain ? keep : compute};
        decision.reason =
            ops + bytes + (isAgain ? " bytes not kept, " : " bytes, computing again would take ") + time + " ms a micro-batch";
        decisions.push_back({std::move(decision), sum.first});
      }
  }

private:
  static bool isReadByBackward(Value value) {
    return anyUser(value, [](Operation *user) { return getPhase(user) == Phase::backward; });
  }

  /// The letter of an op's block and its name there; or no letter and its name in the model.
  std::pair<StringRef, StringRef> getName(Operation *op) {
    StringRef path = getPath(op);
    int64_t block = getBlock(op);
    std::string prefix = "blocks." + std::to_string(block);
    if (block < 0 || block >= int64_t(letters.size()) || !path.starts_with(prefix))
      return {"", path};
    return {letters[block], path.drop_front(prefix.size() + 1)};
  }

  std::string findNearest(StringRef text) {
    std::vector<std::pair<unsigned, std::string>> near;
    for (const std::string &name : names)
      near.push_back({text.edit_distance(name), name});
    llvm::sort(near);
    std::string listed;
    for (size_t i = 0; i < std::min<size_t>(near.size(), 3); ++i)
      listed += (i ? ", " : "") + near[i].second;
    return listed;
  }

  ModuleOp module;
  FuncOp func;
  SmallVector<StringRef> letters; // by slot
  SmallVector<Operation *> marked;
  std::set<std::string> names;
  llvm::BumpPtrAllocator allocator;
  llvm::StringSaver saver{allocator}; // of what globs point to
};

} // namespace

bool isForward(Operation *op) { return isa<KernelOpInterface>(op) && !isa<FusedOp>(op) && getPhase(op) == Phase::forward; }

bool isRecomputable(Operation *op) {
  if (!getCost(op).recomputable)
    return false;
  Operation *copy = op->clone();
  if (auto flags = dyn_cast<FlagOpInterface>(copy))
    flags.dropFlags();
  bool isPure = isMemoryEffectFree(copy);
  copy->destroy();
  return isPure;
}

bool isReadByOthers(Operation *op) {
  return llvm::any_of(op->getResults(), [&](Value result) {
    return anyUser(result, [&](Operation *user) { return getPhase(user) == Phase::forward && getBlock(user) != getBlock(op); });
  });
}

double getMilliseconds(Operation *op, const Costs &costs) {
  KernelQuery query = cast<KernelOpInterface>(op).getKernelQuery();
  const Record *record = match(getTarget(op), query);
  if (!record)
    return 0;
  SmallVector<int64_t> ints;
  for (StringRef name : rt::findKernel(record->symbol)->ints)
    ints.push_back(getLaunchInt(*record, query, name).value_or(0));
  return costs.getMilliseconds(record->symbol, ints, getCost(op));
}

void markRecomputed(ModuleOp module, ArrayRef<Operation *> ops) {
  Marker marker(module, module.lookupSymbol<FuncOp>("micro_batch"));
  for (Operation *op : ops)
    marker.mark(op);
  marker.markGroups();
}

void markRecomputed(ModuleOp module, ArrayRef<Operation *> ops, const Costs &costs, Decisions &decisions) {
  Marker marker(module, module.lookupSymbol<FuncOp>("micro_batch"));
  for (Operation *op : ops)
    marker.mark(op);
  marker.record(costs, decisions);
  marker.markGroups();
}

LogicalResult markRecomputed(ModuleOp module, StringRef what, const Costs &costs, Decisions &decisions) {
  auto func = module.lookupSymbol<FuncOp>("micro_batch");
  if (!func || what == "none")
    return success();
  Marker marker(module, func);
  if (what == "full")
    marker.markFull();
  else if (failed(marker.markListed(what)))
    return failure();
  marker.record(costs, decisions);
  marker.markGroups();
  return success();
}

} // namespace megacc::step

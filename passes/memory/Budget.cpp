// What is computed again so that a step fits its budget.
#include "dialects/Rt/Rt.h"
#include "lib/Kernels/Kernels.h"
#include "lib/Plan/Peak.h"
#include "lib/Planner/Planner.h"
#include "passes/memory/Passes.h"
#include "passes/rt/Passes.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <chrono>
#include <cmath>
#include <map>

using namespace mlir;

namespace megacc::step {
namespace {

/// The bytes of a step's segments, as they will be.
struct Segments {
  int64_t state = 0, temporaries = 0;
  std::string text; // for people
  int64_t total() const { return state + temporaries; }
};

SmallVector<Operation *> getForwardOps(ModuleOp module) {
  SmallVector<Operation *> ops;
  module.lookupSymbol<FuncOp>("micro_batch").walk([&](Operation *op) {
    if (isForward(op))
      ops.push_back(op);
  });
  return ops;
}

class Budget {
public:
  Budget(ModuleOp module, int64_t bytes, const Costs &costs) : module(module), bytes(bytes), costs(costs), ops(getForwardOps(module)) {}

  /// False where the passes that follow cannot lay the step out; they say why.
  bool begin() {
    std::optional<Segments> laid = lay({}, &graph);
    if (laid)
      all = *laid;
    return laid.has_value();
  }

  /// Budgets from all that is kept down to the smallest, each as bytes and the milliseconds of computing again.
  void tabulate() {
    Builder builder(module.getContext());
    SmallVector<Attribute> rows;
    auto add = [&](int64_t total, double milliseconds) {
      rows.push_back(builder.getDictionaryAttr({builder.getNamedAttr("bytes", builder.getI64IntegerAttr(total)),
                                                builder.getNamedAttr("milliseconds", builder.getF64FloatAttr(milliseconds))}));
    };
    add(all.total(), 0);
    for (std::optional<Rung> rung = getRung(all.temporaries); rung; rung = getRung(rung->bytes * 10 / 11))
      if (std::optional<Segments> placed = lay(rung->plan.ops); placed && !rung->plan.ops.empty())
        add(placed->total(), rung->plan.milliseconds);
    module->setAttr(kBudgetsAttr, builder.getArrayAttr(rows));
  }

  LogicalResult run(Decisions &decisions) {
    Stopwatch watch{milliseconds};
    if (all.total() <= bytes)
      return choose({}, all, decisions);
    std::multimap<double, RecomputePlan> open; // by milliseconds, in the order of rungs
    std::optional<Rung> rung;
    for (int64_t most = bytes - all.state;;) {
      if (!rung && most > 0) {
        rung = getRung(most);
        most = rung ? rung->bytes - 1 : 0;
      }
      // What a lower rung has to offer is not faster than its own plan.
      if (rung && (open.empty() || rung->plan.milliseconds < open.begin()->first)) {
        for (RecomputePlan &plan : getPlans(*rung))
          open.emplace(plan.milliseconds, std::move(plan));
        rung.reset();
      }
      if (open.empty())
        break;
      RecomputePlan plan = std::move(open.extract(open.begin()).mapped());
      std::optional<Segments> placed = lay(plan.ops);
      if (!placed)
        return failure();
      if (placed->total() <= bytes)
        return choose(plan, *placed, decisions);
    }
    // What cannot be told from the peaks of single slots: all at once may lie closer.
    RecomputePlan full = getPlanner().getFull();
    if (std::optional<Segments> placed = lay(full.ops); placed && placed->total() <= bytes)
      return choose(full, *placed, decisions);
    return refuse();
  }

  /// The smallest plan. Before run(), which marks what it chose.
  void findMinimum() { least = findLeast(); }

  /// Leaves what bounds the plan.
  void explain() {
    Builder builder(module.getContext());
    NamedAttrList facts;
    facts.set("minimum", builder.getI64IntegerAttr(least->bytes));
    if (bytes && std::isfinite(bound))
      facts.set("above_bound", builder.getF64FloatAttr(estimate - bound));
    facts.set("solve", builder.getF64FloatAttr(milliseconds));
    module->setAttr(kMemoryAttr, facts.getDictionary(module.getContext()));
  }

private:
  /// Adds the time that it lives to the milliseconds of planning.
  struct Stopwatch {
    double &sum;
    std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();
    ~Stopwatch() { sum += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count(); }
  };

  /// The plan of the fewest bytes.
  struct Least {
    int64_t bytes = 0; // a budget that it meets
    Segments placed;
    std::vector<int> ops;
  };

  /// Made when it is first asked for: a step that fits needs none.
  const Planner &getPlanner() {
    if (!planner) {
      Stopwatch watch{milliseconds}; // where this is explained findMinimum() comes first, not run(), which has one of its own
      planner.emplace(graph);
    }
    return *planner;
  }

  LogicalResult choose(const RecomputePlan &plan, const Segments &placed, Decisions &decisions) {
    estimate = plan.milliseconds;
    SmallVector<Operation *> chosen;
    for (int op : addInner(plan.ops))
      chosen.push_back(ops[op]);
    Decision decision{.value = "memory = " + std::to_string(bytes) + " bytes",
                      .chosen = {std::to_string(placed.total()) + " bytes", placed.total(), plan.milliseconds}};
    if (chosen.empty()) {
      decision.reason = "everything is kept";
    } else {
      decision.alternatives = {{"everything is kept", all.total(), 0.0}};
      char time[96];
      int length = snprintf(time, sizeof time, "%.3f ms a micro-batch", plan.milliseconds);
      // Infinity where the planner sees no plan.
      if (bound = getPlanner().getLeast(bytes - all.state); std::isfinite(bound))
        snprintf(time + length, sizeof time - length, ", at least %.3f with any plan", bound);
      decision.reason = std::to_string(all.total()) + " where everything is kept; computing again takes about " + time;
    }
    decisions.push_back({std::move(decision), nullptr});
    markRecomputed(module, chosen, costs, decisions);
    return success();
  }

  /// Budgets of temporaries that are tried, from above, until what is planned for one is also placed well. They do not depend on what
  /// memory allows, so that more of it never gives a slower plan: all that some plan needs where the planner is exact, else those of
  /// getRungBytes.
  struct Rung {
    int64_t bytes = 0;
    RecomputePlan plan;
  };

  /// The highest of at most that many bytes; none where none has a plan.
  std::optional<Rung> getRung(int64_t most) {
    bool isExact = getPlanner().isExact();
    most = isExact ? most : getRungBytes(findRung(most));
    std::optional<RecomputePlan> plan = most > 0 ? getPlanner().solve(most) : std::nullopt;
    if (!plan)
      return std::nullopt;
    return Rung{isExact ? plan->peak : most, std::move(*plan)};
  }

  /// What is tried at a rung. Bytes alive and bytes placed differ a little: in a small step, where every plan counts, another plan of the
  /// same peak may fit where the fastest does not.
  std::vector<RecomputePlan> getPlans(const Rung &rung) {
    return getPlanner().isExact() ? getPlanner().solveAll(rung.bytes) : std::vector<RecomputePlan>{rung.plan};
  }

  /// About 1 % apart.
  static int64_t getRungBytes(int number) { return number > 0 ? int64_t(std::pow(1.01, number)) : 0; }
  /// The last of at most that many bytes, 0 without one.
  static int findRung(int64_t most) {
    int number = most < 1 ? 0 : int(std::log(double(most)) / std::log(1.01)) + 1;
    while (number > 0 && getRungBytes(number) > most)
      --number;
    return number;
  }

  /// Ops, and those of their launches whose results nothing else sees (PlannedGraph has the last op of such a launch for all).
  std::vector<int> addInner(ArrayRef<int> chosen) const {
    std::vector<int> all;
    for (int op : chosen) {
      if (auto found = inner.find(op); found != inner.end())
        llvm::append_range(all, found->second);
      all.push_back(op);
    }
    return all;
  }

  /// What the passes behind this one make of the module where these ops are computed again, and the schedule for the planner or the
  /// peak of the outcome.
  std::optional<Segments> lay(ArrayRef<int> again, PlannedGraph *schedule = nullptr, Peak *peak = nullptr) {
    OwningOpRef<ModuleOp> copy = module.clone();
    SmallVector<Operation *> copies = getForwardOps(*copy), chosen;
    for (int op : addInner(again))
      chosen.push_back(copies[op]);
    markRecomputed(*copy, chosen);
    ScopedDiagnosticHandler quiet(module.getContext(), [](Diagnostic &) { return success(); });
    PassManager select(module.getContext()), assign(module.getContext());
    select.addPass(createStepApplyMemory());
    select.addPass(rt::createStepSelectKernels());
    assign.addPass(rt::createStepAssignBuffers());
    if (failed(select.run(*copy)))
      return {};
    if (schedule)
      *schedule = describe(*copy);
    if (failed(assign.run(*copy)))
      return {};
    if (peak)
      *peak = findPeak(readSchedule(*copy, "micro_batch"));
    rt::SegmentSum sum = rt::sumSegments(*copy);
    return Segments{sum.total.get() - sum.temporaries, sum.temporaries, std::move(sum.text)};
  }

  /// The schedule for the planner, of a module with caches and records.
  PlannedGraph describe(ModuleOp kept) {
    PlannedGraph graph;
    std::vector<size_t> launch_of_op;
    llvm::DenseMap<Value, int> numbers;
    auto number = [&](Value value) {
      auto [found, isNew] = numbers.try_emplace(value, graph.bytes.size());
      if (isNew) {
        graph.bytes.push_back(llvm::alignTo(getBytes(value.getType()), rt::kAlignment));
        graph.isCache.push_back(false);
      }
      return found->second;
    };
    auto read = [&](Operation *op, std::vector<int> &reads) {
      for (Value operand : op->getOperands())
        if (auto found = numbers.find(operand); found != numbers.end())
          reads.push_back(found->second);
    };
    auto pairInPlace = [&](const Record &record, const KernelQuery &query, std::vector<std::pair<int, int>> &pairs) {
      for (const auto &[output, input] : record.inPlace) {
        const LaunchOperand *to = query.find(record.getQueryName(output)), *from = query.find(record.getQueryName(input));
        if (to && from && to->value && from->value && numbers.contains(to->value) && numbers.contains(from->value))
          pairs.push_back({numbers[to->value], numbers[from->value]});
      }
    };
    auto addOp = [&](Operation *op) {
      PlannedOp planned;
      planned.slot = getBlock(op);
      read(op, planned.reads);
      for (Value result : op->getResults())
        planned.makes.push_back(number(result));
      if (auto cached = op->getAttrOfType<ArrayAttr>("cached"))
        for (int cache : ArrayRef<int>(planned.makes).take_back(cached.size()))
          graph.isCache[cache] = true;
      KernelQuery query = cast<KernelOpInterface>(op).getKernelQuery();
      if (const Record *record = match(getTarget(module), query)) {
        planned.milliseconds = getMilliseconds(op, costs);
        planned.scratch = llvm::alignTo(record->getScratch(query), rt::kAlignment);
        pairInPlace(*record, query, planned.in_place);
        planned.isRecomputable = isRecomputable(op) && !isReadByOthers(op);
      }
      graph.ops.push_back(std::move(planned));
      launch_of_op.push_back(graph.launches.size());
    };
    for (Operation &op : kept.lookupSymbol<FuncOp>("micro_batch").getBody().front().without_terminator()) {
      auto kernel = dyn_cast<KernelOpInterface>(op);
      if (!kernel)
        continue;
      bool is_forward = false;
      if (auto fused = dyn_cast<FusedOp>(op)) {
        size_t first = graph.ops.size();
        for (Operation &inner : fused.getBody().front().without_terminator())
          if (isForward(&inner)) {
            is_forward = true;
            addOp(&inner);
          }
        if (is_forward)
          joinOps(graph, first, fused);
        for (auto [result, yielded] : llvm::zip(fused.getResults(), fused.getBody().front().back().getOperands()))
          numbers[result] = number(yielded);
      } else if (isForward(&op)) {
        is_forward = true;
        addOp(&op);
      }
      PlannedLaunch launch;
      launch.slot = getBlock(&op);
      launch.isBackward = !is_forward;
      op.walk([&](Operation *inner) {
        for (Value operand : inner->getOperands())
          if (operand.getParentBlock() == op.getBlock())
            if (auto found = numbers.find(operand); found != numbers.end() && !llvm::is_contained(launch.reads, found->second))
              launch.reads.push_back(found->second);
      });
      for (Value result : op.getResults())
        launch.makes.push_back(number(result));
      const Record *record = findRecord(op.getAttrOfType<StringAttr>(kRecordAttr).getValue());
      KernelQuery query = kernel.getKernelQuery();
      launch.scratch = llvm::alignTo(record->getScratch(query), rt::kAlignment);
      pairInPlace(*record, query, launch.in_place);
      graph.launches.push_back(std::move(launch));
    }
    numberTop(graph, launch_of_op);
    return graph;
  }

  /// Where only the last op of a launch makes what others see, the launch is computed again as a whole or not at all: the last op stands
  /// for it, with its cost.
  void joinOps(PlannedGraph &graph, size_t first, FusedOp fused) {
    SmallVector<Operation *> launch;
    for (Operation &op : fused.getBody().front().without_terminator())
      launch.push_back(&op);
    auto sees = [&](Operation *op) { return llvm::any_of(op->getResults(), [&](Value result) { return isVisible(result, launch); }); };
    if (launch.size() != graph.ops.size() - first || llvm::any_of(ArrayRef(launch).drop_back(), sees))
      return;
    PlannedOp &last = graph.ops.back();
    std::vector<int> made;
    for (size_t op = first; op + 1 < graph.ops.size(); ++op) {
      last.isRecomputable &= graph.ops[op].isRecomputable;
      llvm::append_range(last.reads, graph.ops[op].reads);
      llvm::append_range(made, graph.ops[op].makes);
      graph.ops[op].isRecomputable = false;
      inner[int(graph.ops.size()) - 1].push_back(int(op));
    }
    llvm::erase_if(last.reads, [&](int value) { return llvm::is_contained(made, value); });
    llvm::erase_if(last.in_place, [&](const auto &pair) { return llvm::is_contained(made, pair.second); });
    last.milliseconds = getMilliseconds(fused, costs);
  }

  /// What comes between the forward of the last block and the backward of the first that runs, heads and predictions of further tokens, is
  /// a slot behind the last one. Ops of no slot are not chosen.
  static void numberTop(PlannedGraph &graph, ArrayRef<size_t> launch_of_op) {
    size_t begin = 0, end = graph.launches.size();
    int64_t top = 0;
    for (auto [index, launch] : llvm::enumerate(graph.launches)) {
      if (launch.slot < 0)
        continue;
      top = std::max(top, launch.slot + 1);
      if (!launch.isBackward)
        begin = index + 1;
      else
        end = std::min(end, index);
    }
    for (size_t i = begin; i < end; ++i)
      graph.launches[i].slot = top;
    for (auto [op, launch] : llvm::zip(graph.ops, launch_of_op)) {
      if (launch >= begin && launch < end)
        op.slot = top;
      op.isRecomputable &= op.slot >= 0;
    }
  }

  Least findLeast() {
    const Planner &planner = getPlanner();
    int low = 1, high = findRung(all.temporaries) + 1;
    while (low < high) {
      int middle = (low + high) / 2;
      if (planner.fits(getRungBytes(middle)))
        high = middle;
      else
        low = middle + 1;
    }
    // The lowest is not always the one that is placed best.
    SmallVector<Rung> rungs;
    for (std::optional<Rung> rung = getRung(getRungBytes(high + 3)); rung; rung = getRung(rung->bytes - 1))
      rungs.push_back(std::move(*rung));
    Least found{all.total(), all, {}};
    for (const Rung &rung : llvm::reverse(rungs)) {
      if (all.state + rung.bytes >= found.bytes)
        break;
      if (std::optional<Segments> placed = lay(rung.plan.ops))
        if (int64_t needed = std::max(placed->total(), placed->state + rung.bytes); needed < found.bytes)
          found = {needed, *placed, rung.plan.ops};
    }
    RecomputePlan full = planner.getFull();
    if (std::optional<Segments> placed = lay(full.ops); placed && placed->total() < found.bytes)
      found = {placed->total(), *placed, full.ops};
    return found;
  }

  /// Says what the smallest plan needs.
  LogicalResult refuse() {
    if (!least)
      least = findLeast();
    Peak peak;
    lay(least->ops, nullptr, &peak);
    module->setAttr(kNeededAttr, Builder(module.getContext()).getI64IntegerAttr(least->bytes));
    InFlightDiagnostic error = emitError(UnknownLoc::get(module.getContext()))
                               << "the step needs " << least->bytes << " bytes (" << all.total()
                               << " where everything is kept), memory allows " << bytes << ": " << least->placed.text
                               << "; fix: " << rt::adviseMemory(least->bytes);
    error.attachNote() << describePeak(peak);
    return error;
  }

  ModuleOp module;
  int64_t bytes;
  const Costs &costs;
  SmallVector<Operation *> ops;
  Segments all; // where everything is kept
  PlannedGraph graph;
  std::map<int, std::vector<int>> inner; // of the last op of a launch, the others
  std::optional<Planner> planner;
  std::optional<Least> least;
  double milliseconds = 0; // that planning took
  // Milliseconds of computing again, op by op: of the plan, and what no plan within the budget can be below. Fused they take less.
  double estimate = 0, bound = 0;
};

} // namespace

LogicalResult fitMemory(ModuleOp module, int64_t bytes, const Costs &costs, bool tabulates, bool explains, Decisions &decisions) {
  if ((!bytes && !tabulates && !explains) || !module.lookupSymbol<FuncOp>("micro_batch"))
    return success();
  Budget budget(module, bytes, costs);
  if (!budget.begin())
    return success();
  if (tabulates)
    budget.tabulate();
  if (explains)
    budget.findMinimum();
  if (bytes && failed(budget.run(decisions)))
    return failure();
  if (explains)
    budget.explain();
  return success();
}

} // namespace megacc::step

// Which values the backward computes again, so that a step fits a budget and takes as little longer as can be.
#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace megacc {

/// One launch of the schedule. Values are numbers; those in the step's state or inputs have none.
struct PlannedLaunch {
  int64_t slot = -1;
  bool isBackward = false;
  std::vector<int> reads, makes;
  int64_t scratch = 0;
  /// (made, read): the first may take the place of the second where that dies.
  std::vector<std::pair<int, int>> in_place;
};

/// An op of the forward as a clone of it alone would run.
struct PlannedOp {
  int64_t slot = -1;
  std::vector<int> reads, makes;
  int64_t scratch = 0;
  std::vector<std::pair<int, int>> in_place;
  double milliseconds = 0;
  bool isRecomputable = false;
};

struct PlannedGraph {
  std::vector<int64_t> bytes; // of the values
  /// Values that are kept by whichever of the original and the clone comes right before what reads them.
  std::vector<bool> isCache;
  std::vector<PlannedLaunch> launches;
  std::vector<PlannedOp> ops;
};

struct RecomputePlan {
  std::vector<int> ops; // computed again, in ascending order
  double milliseconds = 0;
  int64_t peak = 0; // bytes of temporaries alive at once, at most
};

/// Solves a graph for any number of budgets. Slots run forward in their order and backward in the opposite one; what is outside of slots
/// stays as it is. For every slot all subsets of its ops are tried (of more than `max_free` ops those that make most bytes, and all at
/// once); its choices are those that no other is as good as in bytes kept, peaks and milliseconds. A shortest path over the slots and the
/// bytes kept so far takes one of each.
class Planner {
public:
  static constexpr int max_free = 12;
  /// Bytes of all values are multiples of it, which is what buffers are aligned to.
  static constexpr int64_t min_grain = 256;

  explicit Planner(const PlannedGraph &graph);
  ~Planner();

  /// The fastest plan whose peak is at most `budget` bytes of temporaries; none where there is none.
  std::optional<RecomputePlan> solve(int64_t budget) const;
  /// It and others within the budget that take longer and keep fewer bytes at the end of the forward, the fastest first: where the first
  /// cannot be placed in its peak another one may.
  std::vector<RecomputePlan> solveAll(int64_t budget) const;
  /// Whether there is one, bytes told apart to the last.
  bool fits(int64_t budget) const;
  /// Milliseconds that no plan of the slots' choices within the budget can be below; infinity where there is none.
  double getLeast(int64_t budget) const;
  /// Everything that can be computed again is; its peak is not counted.
  RecomputePlan getFull() const;
  /// Bytes alive at once where everything is kept.
  int64_t getKeptPeak() const { return kept_peak; }
  /// Whether states are told apart to the byte, as in small graphs: then solve() is the best of the slots' choices for any budget.
  bool isExact() const { return grain() == min_grain; }
  /// Slots that have different choices.
  int countTypes() const { return type_count; }

private:
  struct Choice;
  struct Slot;
  struct State;
  class Timeline;

  void findSlots();
  /// States whose bytes are in the same grain are one: solve() keeps the faster, getLeast() takes the better of each. Not of the budget.
  int64_t grain() const { return std::max(min_grain, kept_peak / 8192); }
  bool isAfterMiddle(int launch) const { return launch >= middle; }
  bool isOutside(int launch) const;
  /// `base`: bytes of others at every launch of the slot.
  std::vector<Choice> findChoices(const Slot &slot, const std::map<int, int64_t> &base) const;
  std::vector<std::vector<State>> search(int64_t budget, bool isBound) const;
  /// The plan of one of the last states.
  RecomputePlan trace(const std::vector<std::vector<State>> &steps, int last) const;

  const PlannedGraph &graph;
  std::vector<Slot> slots;             // in the order of their forward
  std::vector<int> maker;              // the op of the forward that makes a value; -1: none
  std::vector<std::vector<int>> users; // launches that read a value
  std::vector<int> made_at;            // launch that makes a value; -1: none does, it lives in a group
  int middle = 0;                      // the first launch of the backward
  int type_count = 0;
  int64_t kept_peak = 0;
  int64_t outside_peak = 0; // at launches of no slot, above what the slots keep
};

} // namespace megacc

#include "lib/Planner/Planner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>

namespace megacc {

/// A set of ops that a slot computes again, and what that means.
struct Planner::Choice {
  std::vector<int> ops;              // places in Slot::ops
  int64_t kept = 0;                  // bytes from its forward to its backward
  int64_t forward = 0, backward = 0; // peaks above what earlier slots keep and the slot's base
  double milliseconds = 0;
  bool isFull = false; // all that can be

  bool isAsGoodAs(const Choice &other) const {
    return kept <= other.kept && forward <= other.forward && backward <= other.backward && milliseconds <= other.milliseconds;
  }
};

struct Planner::Slot {
  /// Neighbouring values.
  struct Values {
    int first = 0, size = 0;
    bool contains(int value) const { return value >= first && value < first + size; }
    void add(int value) {
      int begin = size ? std::min(first, value) : value, end = std::max(size ? first + size : value, value + 1);
      first = begin, size = end - begin;
    }
  };
  Values forward_values, backward_values; // all that its launches make, and some between
  int64_t number = 0;
  int first_forward = 0, last_forward = -1, first_backward = 0, last_backward = -1; // launches
  std::vector<int> ops;                                                             // of its forward
  int64_t kept = 0;                                                                 // bytes, where everything is kept
  // Bytes that others always have alive beside its forward and its backward, above what earlier slots keep: apart, because a little that
  // every slot leaves to the end would make no two of them alike.
  int64_t forward_base = 0, backward_base = 0;
  std::shared_ptr<std::vector<Choice>> choices; // of all slots that are alike

  int64_t getPeak(const Choice &choice) const { return std::max(forward_base + choice.forward, backward_base + choice.backward); }
};

/// Bytes kept by the slots so far and what computing again took, by which choice and from which state before.
struct Planner::State {
  int64_t kept = 0;
  double milliseconds = 0;
  int choice = -1, before = -1;
};

namespace {

/// When a value is read last, and the buffer that holds it, -1 before there is one.
struct Use {
  int last = -1, place = -1;
};

/// Bytes alive at each of the launches, as lib/Lifetimes counts them: a value from the launch that makes it to its last use, in the place
/// of one that dies there if it may. findUse gives the Use of a value, null where no launch makes it.
template <typename Launches, typename FindUse, typename GetBytes>
std::vector<int64_t> countAlive(const Launches &launches, FindUse &&findUse, GetBytes &&getBytes) {
  struct Buffer {
    int64_t bytes;
    int first, last;
  };
  std::vector<Buffer> buffers;
  for (int i = 0; i < int(launches.size()); ++i) {
    const auto &launch = launches[i];
    std::vector<int> taken;
    for (int value : launch.makes) {
      Use &use = *findUse(value);
      for (auto [made, read] : launch.in_place) {
        const Use *from = made == value ? findUse(read) : nullptr;
        if (from && from->place >= 0 && from->last == i && getBytes(made) == getBytes(read) &&
            std::count(launch.reads.begin(), launch.reads.end(), read) == 1 && !std::count(taken.begin(), taken.end(), from->place))
          use.place = from->place;
      }
      if (use.place >= 0) {
        taken.push_back(use.place);
        buffers[use.place].last = use.last;
      } else {
        use.place = buffers.size();
        buffers.push_back({getBytes(value), i, use.last});
      }
    }
    if (launch.scratch)
      buffers.push_back({launch.scratch, i, i});
  }
  std::vector<int64_t> alive(launches.size() + 1, 0);
  for (const Buffer &buffer : buffers)
    alive[buffer.first] += buffer.bytes, alive[buffer.last + 1] -= buffer.bytes;
  for (size_t i = 1; i < alive.size(); ++i)
    alive[i] += alive[i - 1];
  alive.pop_back();
  return alive;
}

} // namespace

/// The launches of a slot's forward, a place between, and those of its backward with clones, and the bytes alive at each of values that the
/// slot makes.
class Planner::Timeline {
public:
  Timeline(const Planner &planner, const Slot &slot) : planner(planner), graph(planner.graph), slot(slot) {}

  /// False where a clone would read what is gone.
  bool run(const std::vector<bool> &again) {
    isAgain = &again;
    for (int i = slot.first_forward; i <= slot.last_forward; ++i)
      add(i, graph.launches[i].reads);
    middle = events.size();
    events.push_back({});
    for (int i = slot.first_backward; i <= slot.last_backward; ++i) {
      std::vector<int> reads = graph.launches[i].reads;
      if (graph.launches[i].isBackward)
        for (int &value : reads)
          value = getAgain(value, i, graph.isCache[value]);
      add(i, reads);
    }
    if (isGood)
      measure();
    return isGood;
  }

  size_t size() const { return events.size(); }
  int launch(size_t event) const { return events[event].launch; }
  int64_t bytes(size_t event) const { return own[event]; }
  int64_t kept() const { return own[middle]; }
  bool isForward(size_t event) const { return event < middle; }
  bool isMiddle(size_t event) const { return event == middle; }
  std::vector<int> clones;
  double milliseconds = 0;

  /// What decides the choices of a slot, values numbered as they appear: slots with the same key have the same ones.
  std::vector<int64_t> getKey() const {
    std::vector<int64_t> key;
    std::map<int, int64_t> names;
    auto name = [&](int value) {
      auto [found, isNew] = names.try_emplace(value, names.size());
      key.push_back(found->second);
      if (!isNew)
        return;
      int op = planner.maker[value];
      int last_user = planner.users[value].empty() ? -1 : planner.users[value].back();
      key.insert(key.end(), {graph.bytes[value], graph.isCache[value], isOfSlot(op), getOutsideUse(value),
                             last_user < slot.first_backward ? -1 : std::min(last_user, slot.last_backward + 1) - slot.first_backward});
    };
    auto list = [&](const std::vector<int> &values) {
      key.push_back(values.size());
      for (int value : values)
        name(value);
    };
    auto pairs = [&](const std::vector<std::pair<int, int>> &in_place) {
      key.push_back(in_place.size());
      for (auto [made, read] : in_place)
        name(made), name(read);
    };
    for (int op : slot.ops) {
      const PlannedOp &about = graph.ops[op];
      list(about.reads), list(about.makes), pairs(about.in_place);
      key.insert(key.end(), {about.scratch, about.isRecomputable, std::llround(1e9 * about.milliseconds)});
    }
    for (const Event &event : events) {
      list(event.reads), list(event.makes), pairs(event.in_place);
      key.push_back(event.scratch);
    }
    return key;
  }

private:
  /// What a launch of another slot makes is not the timeline's.
  struct Event {
    int launch = -1;
    std::vector<int> reads, makes;
    int64_t scratch = 0;
    std::vector<std::pair<int, int>> in_place;
  };

  void add(int launch, std::vector<int> reads) {
    const PlannedLaunch &from = graph.launches[launch];
    Event event{launch, std::move(reads), {}, 0, {}};
    if (from.slot != slot.number)
      return events.push_back(std::move(event));
    event.makes = from.makes, event.scratch = from.scratch;
    for (auto [made, read] : from.in_place)
      for (size_t i = 0; i < from.reads.size(); ++i)
        if (from.reads[i] == read)
          event.in_place.push_back({made, event.reads[i]});
    events.push_back(std::move(event));
  }

  bool isOfSlot(int op) const { return op >= 0 && graph.ops[op].slot == slot.number; }

  /// The value that a launch of the backward reads for another one.
  int getAgain(int value, int launch, bool isOnlyIfThere) {
    int op = planner.maker[value];
    bool isInGroup = op >= 0 && planner.made_at[value] < 0;
    if (!isOfSlot(op) || !((*isAgain)[op] || isInGroup)) {
      // A clone may only read what lives until here anyway, or what this slot then keeps.
      if (!isOfSlot(op) && (planner.users[value].empty() || planner.users[value].back() < launch))
        isGood = false;
      return value;
    }
    if (auto found = again_values.find(value); found != again_values.end())
      return found->second;
    if (isOnlyIfThere)
      return value;
    clone(op, launch);
    return again_values.at(value);
  }

  void clone(int op, int launch) {
    const PlannedOp &from = graph.ops[op];
    if (!from.isRecomputable) {
      isGood = false;
      for (int value : from.makes)
        again_values[value] = value;
      return;
    }
    Event event{launch, {}, {}, from.scratch, {}};
    for (int value : from.reads)
      event.reads.push_back(getAgain(value, launch, false));
    for (int value : from.makes) {
      int again = int(graph.bytes.size() + clone_bytes.size());
      again_values[value] = again;
      event.makes.push_back(again);
      clone_bytes.push_back(graph.bytes[value]);
    }
    for (auto [made, read] : from.in_place)
      for (size_t i = 0; i < from.reads.size(); ++i)
        if (from.reads[i] == read)
          event.in_place.push_back({again_values[made], event.reads[i]});
    clones.push_back(op);
    milliseconds += from.milliseconds;
    events.push_back(std::move(event));
  }

  /// Where in the timeline launches outside of it read a value last; -1: nowhere.
  int getOutsideUse(int value) const {
    int last = -1;
    if (value >= int(planner.users.size()))
      return last;
    for (int user : planner.users[value]) {
      if (user >= slot.first_forward && user <= slot.last_forward)
        continue;
      if (user >= slot.first_backward && user <= slot.last_backward)
        continue;
      int place = user > slot.last_backward ? int(events.size()) - 1 : planner.isAfterMiddle(user) ? int(middle) : int(middle) - 1;
      last = std::max(last, place);
    }
    return last;
  }

  int64_t getBytes(int value) const {
    int clone = value - int(graph.bytes.size());
    return clone < 0 ? graph.bytes[value] : clone_bytes[clone];
  }

  /// A number for what launches of the slot, or clones, make; -1 for what comes from elsewhere.
  int getIndex(int value) const {
    if (int clone = value - int(graph.bytes.size()); clone >= 0)
      return slot.forward_values.size + slot.backward_values.size + clone;
    if (slot.forward_values.contains(value))
      return value - slot.forward_values.first;
    return slot.backward_values.contains(value) ? slot.forward_values.size + value - slot.backward_values.first : -1;
  }

  void measure() {
    std::vector<Use> uses(slot.forward_values.size + slot.backward_values.size + clone_bytes.size());
    auto findUse = [&](int value) {
      int index = getIndex(value);
      return index < 0 ? nullptr : &uses[index];
    };
    for (int i = 0; i < int(events.size()); ++i) {
      for (int value : events[i].makes)
        findUse(value)->last = std::max(i, getOutsideUse(value));
      for (int value : events[i].reads)
        if (Use *use = findUse(value))
          use->last = std::max(use->last, i);
    }
    own = countAlive(events, findUse, [&](int value) { return getBytes(value); });
  }

  const Planner &planner;
  const PlannedGraph &graph;
  const Slot &slot;
  std::vector<int64_t> clone_bytes; // of the values of clones, which are numbered behind the graph's
  std::vector<Event> events;
  size_t middle = 0;
  const std::vector<bool> *isAgain = nullptr;
  std::map<int, int> again_values;
  std::vector<int64_t> own;
  bool isGood = true;
};

Planner::Planner(const PlannedGraph &graph) : graph(graph) {
  maker.assign(graph.bytes.size(), -1);
  made_at.assign(graph.bytes.size(), -1);
  users.resize(graph.bytes.size());
  for (size_t op = 0; op < graph.ops.size(); ++op)
    for (int value : graph.ops[op].makes)
      maker[value] = op;
  for (size_t i = 0; i < graph.launches.size(); ++i) {
    for (int value : graph.launches[i].makes)
      made_at[value] = i;
    for (int value : graph.launches[i].reads)
      users[value].push_back(i);
  }
  findSlots();
  std::vector<Use> uses(graph.bytes.size());
  for (size_t value = 0; value < uses.size(); ++value)
    uses[value].last = std::max(made_at[value], users[value].empty() ? -1 : users[value].back());
  // Where everything is kept.
  std::vector<int64_t> alive =
      countAlive(graph.launches, [&](int value) { return &uses[value]; }, [&](int value) { return graph.bytes[value]; });
  for (int64_t bytes : alive)
    kept_peak = std::max(kept_peak, bytes);
  int64_t kept_before = 0;
  std::map<std::vector<int64_t>, std::shared_ptr<std::vector<Choice>>> known;
  for (Slot &slot : slots) {
    std::vector<bool> none(graph.ops.size(), false);
    Timeline all(*this, slot);
    all.run(none);
    slot.kept = all.kept();
    // What others have alive at each launch.
    std::map<int, int64_t> base;
    slot.forward_base = slot.backward_base = std::numeric_limits<int64_t>::max();
    auto baseOf = [&](int launch) -> int64_t & { return launch <= slot.last_forward ? slot.forward_base : slot.backward_base; };
    for (size_t i = 0; i < all.size(); ++i)
      if (!all.isMiddle(i)) {
        int launch = all.launch(i);
        base[launch] = alive[launch] - kept_before - all.bytes(i);
        baseOf(launch) = std::min(baseOf(launch), base[launch]);
      }
    std::vector<int64_t> key = all.getKey();
    for (auto &[launch, bytes] : base)
      key.push_back(bytes -= baseOf(launch));
    std::shared_ptr<std::vector<Choice>> &choices = known[key];
    if (!choices)
      choices = std::make_shared<std::vector<Choice>>(findChoices(slot, base));
    slot.choices = choices;
    kept_before += slot.kept;
  }
  type_count = known.size();
  for (size_t i = 0; i < graph.launches.size(); ++i)
    if (isOutside(i))
      outside_peak = std::max(outside_peak, alive[i] - kept_before);
}

Planner::~Planner() = default;

void Planner::findSlots() {
  std::map<int64_t, Slot> found;
  middle = graph.launches.size();
  for (size_t i = graph.launches.size(); i-- > 0;)
    if (graph.launches[i].isBackward)
      middle = i;
  for (size_t i = 0; i < graph.launches.size(); ++i) {
    const PlannedLaunch &launch = graph.launches[i];
    if (launch.slot < 0)
      continue;
    Slot &slot = found[launch.slot];
    slot.number = launch.slot;
    int &first = int(i) < middle ? slot.first_forward : slot.first_backward;
    int &last = int(i) < middle ? slot.last_forward : slot.last_backward;
    if (last < 0)
      first = i;
    last = i;
    for (int value : launch.makes)
      (i < size_t(middle) ? slot.forward_values : slot.backward_values).add(value);
  }
  for (size_t op = 0; op < graph.ops.size(); ++op)
    if (auto slot = found.find(graph.ops[op].slot); slot != found.end())
      slot->second.ops.push_back(op);
  for (auto &[number, slot] : found)
    if (slot.last_forward >= 0 && slot.last_backward >= 0)
      slots.push_back(std::move(slot));
}

bool Planner::isOutside(int launch) const {
  return slots.empty() || (launch > slots.back().last_forward && launch < slots.back().first_backward);
}

std::vector<Planner::Choice> Planner::findChoices(const Slot &slot, const std::map<int, int64_t> &base) const {
  std::vector<int> all, free;
  for (int op : slot.ops)
    if (graph.ops[op].isRecomputable)
      all.push_back(op);
  auto getBytes = [&](int op) {
    int64_t bytes = 0;
    for (int value : graph.ops[op].makes)
      bytes += graph.bytes[value];
    return bytes;
  };
  free = all;
  std::stable_sort(free.begin(), free.end(), [&](int a, int b) { return getBytes(a) > getBytes(b); });
  free.resize(std::min<size_t>(free.size(), max_free));

  std::vector<Choice> found;
  std::vector<bool> again(graph.ops.size(), false);
  auto attempt = [&](const std::vector<int> &ops, bool isAll) {
    for (int op : ops)
      again[op] = true;
    Timeline timeline(*this, slot);
    bool isGood = timeline.run(again);
    for (int op : ops)
      again[op] = false;
    // A subset with an op that nothing asks for is another one, too.
    if (!isGood || (!isAll && std::any_of(ops.begin(), ops.end(), [&](int op) {
          return std::find(timeline.clones.begin(), timeline.clones.end(), op) == timeline.clones.end();
        })))
      return;
    Choice choice{{}, timeline.kept(), 0, 0, timeline.milliseconds, isAll};
    for (int op : timeline.clones)
      choice.ops.push_back(std::find(slot.ops.begin(), slot.ops.end(), op) - slot.ops.begin());
    for (size_t i = 0; i < timeline.size(); ++i)
      if (!timeline.isMiddle(i)) {
        int64_t &peak = timeline.isForward(i) ? choice.forward : choice.backward;
        peak = std::max(peak, base.at(timeline.launch(i)) + timeline.bytes(i));
      }
    found.push_back(std::move(choice));
  };
  for (uint32_t subset = 0; subset < uint32_t(1) << free.size(); ++subset) {
    std::vector<int> ops;
    for (size_t i = 0; i < free.size(); ++i)
      if (subset >> i & 1)
        ops.push_back(free[i]);
    attempt(ops, false);
  }
  attempt(all, true);
  std::stable_sort(found.begin(), found.end(), [](const Choice &a, const Choice &b) {
    return std::pair(a.milliseconds, a.ops.size()) < std::pair(b.milliseconds, b.ops.size());
  });
  std::vector<Choice> best;
  for (Choice &choice : found)
    if (choice.isFull || std::none_of(best.begin(), best.end(), [&](const Choice &better) { return better.isAsGoodAs(choice); }))
      best.push_back(std::move(choice));
  return best;
}

/// The states after each slot that stay within the budget, fewer bytes before more; nothing where there is none. Of states in one grain the
/// faster is kept or, for a bound, the better of each.
std::vector<std::vector<Planner::State>> Planner::search(int64_t budget, bool isBound) const {
  std::vector<std::vector<State>> steps = {{State()}};
  const int64_t size = grain();
  struct Option {
    int64_t most, kept; // that a state may have kept, that the choice keeps
    double milliseconds;
    int choice;
  };
  std::vector<Option> options;
  for (const Slot &slot : slots) {
    const std::vector<State> &states = steps.back();
    std::vector<State> next(budget / size + 1); // by bytes kept, rounded
    options.clear();
    for (size_t c = 0; c < slot.choices->size(); ++c) {
      const Choice &choice = (*slot.choices)[c];
      int64_t most = budget - std::max(slot.getPeak(choice), choice.kept);
      if (states.front().kept <= most)
        options.push_back({most, choice.kept, choice.milliseconds, int(c)});
    }
    for (size_t s = 0; s < states.size(); ++s) {
      const State state = states[s];
      for (const Option &option : options) {
        if (state.kept > option.most)
          continue;
        State after{state.kept + option.kept, state.milliseconds + option.milliseconds, option.choice, int(s)};
        State &known = next[after.kept / size];
        bool isFirst = known.choice < 0;
        if (isBound && !isFirst)
          after.kept = std::min(after.kept, known.kept), after.milliseconds = std::min(after.milliseconds, known.milliseconds);
        if (isFirst || isBound || std::pair(after.milliseconds, after.kept) < std::pair(known.milliseconds, known.kept))
          known = after;
      }
    }
    std::vector<State> front;
    double best = std::numeric_limits<double>::infinity();
    for (const State &state : next)
      if (state.choice >= 0 && state.milliseconds < best)
        front.push_back(state), best = state.milliseconds;
    if (front.empty())
      return {};
    steps.push_back(std::move(front));
  }
  std::erase_if(steps.back(), [&](const State &state) { return state.kept + outside_peak > budget; });
  return steps.back().empty() ? std::vector<std::vector<State>>() : steps;
}

bool Planner::fits(int64_t budget) const {
  int64_t kept = 0;
  for (const Slot &slot : slots) { // whatever the others do, fewer bytes kept before leave it more choices
    int64_t least = std::numeric_limits<int64_t>::max();
    for (const Choice &choice : *slot.choices)
      if (kept + slot.getPeak(choice) <= budget)
        least = std::min(least, kept + choice.kept);
    if (least > budget)
      return false;
    kept = least;
  }
  return kept + outside_peak <= budget;
}

double Planner::getLeast(int64_t budget) const {
  std::vector<std::vector<State>> steps = search(budget, /*isBound=*/true);
  return steps.empty() ? std::numeric_limits<double>::infinity() : steps.back().back().milliseconds;
}

RecomputePlan Planner::getFull() const {
  RecomputePlan plan;
  for (const Slot &slot : slots)
    for (const Choice &choice : *slot.choices)
      if (choice.isFull) {
        plan.milliseconds += choice.milliseconds;
        for (int op : choice.ops)
          plan.ops.push_back(slot.ops[op]);
      }
  std::sort(plan.ops.begin(), plan.ops.end());
  return plan;
}

std::optional<RecomputePlan> Planner::solve(int64_t budget) const {
  std::vector<std::vector<State>> steps = search(budget, /*isBound=*/false);
  if (steps.empty())
    return std::nullopt;
  return trace(steps, int(steps.back().size()) - 1); // more bytes are kept only to be faster
}

std::vector<RecomputePlan> Planner::solveAll(int64_t budget) const {
  std::vector<RecomputePlan> plans;
  if (std::vector<std::vector<State>> steps = search(budget, /*isBound=*/false); !steps.empty())
    for (size_t last = steps.back().size(); last-- > 0;)
      plans.push_back(trace(steps, int(last)));
  return plans;
}

RecomputePlan Planner::trace(const std::vector<std::vector<State>> &steps, int last) const {
  RecomputePlan plan;
  plan.milliseconds = steps.back()[last].milliseconds;
  plan.peak = steps.back()[last].kept + outside_peak;
  for (size_t i = slots.size(); i-- > 0;) {
    const State &state = steps[i + 1][last];
    const Choice &choice = (*slots[i].choices)[state.choice];
    plan.peak = std::max(plan.peak, steps[i][state.before].kept + slots[i].getPeak(choice));
    for (int op : choice.ops)
      plan.ops.push_back(slots[i].ops[op]);
    last = state.before;
  }
  std::sort(plan.ops.begin(), plan.ops.end());
  return plan;
}

} // namespace megacc

// The planner against all subsets of random schedules, whose peaks are counted here from the schedule with its clones.
#include "lib/Planner/Planner.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <random>

using namespace megacc;

namespace {

/// Slots of some ops that read earlier ones of the slot or what the slot before left; a backward launch an op that reads the op's operands
/// or its result, and the gradient that flows. Where it `shares`, a value of the first slot is also read by ops of all others and their
/// backward.
PlannedGraph makeGraph(uint32_t seed, int slots, int ops_of_slot, bool shares = false) {
  std::mt19937 random(seed);
  auto below = [&](int n) { return int(random() % n); };
  PlannedGraph graph;
  auto value = [&] {
    graph.bytes.push_back((1 + below(64)) * 65536);
    graph.isCache.push_back(false);
    return int(graph.bytes.size()) - 1;
  };
  auto launch = [&](int64_t slot, bool is_backward, std::vector<int> reads, std::vector<int> makes) {
    PlannedLaunch launch;
    launch.slot = slot, launch.isBackward = is_backward, launch.reads = reads, launch.makes = makes;
    launch.scratch = below(3) ? 0 : (1 + below(32)) * 65536;
    graph.launches.push_back(launch);
    if (is_backward)
      return;
    PlannedOp op;
    op.slot = slot, op.reads = reads, op.makes = makes, op.scratch = launch.scratch, op.milliseconds = 1 + below(20);
    op.isRecomputable = slot >= 0 && below(5) > 0;
    graph.ops.push_back(op);
  };
  int stream = value(), shared = -1;
  launch(-1, false, {}, {stream});
  std::vector<std::vector<std::pair<std::vector<int>, int>>> saved(slots); // by slot: reads and result of every op
  std::vector<int> streams;
  for (int slot = 0; slot < slots; ++slot) {
    std::vector<int> known = {stream};
    streams.push_back(stream);
    for (int i = 0; i < ops_of_slot; ++i) {
      std::vector<int> reads = {known[below(known.size())]};
      if (shared >= 0 && slot > 0 && below(2))
        reads.push_back(shared);
      int made = value();
      launch(slot, false, reads, {made});
      if (shares && shared < 0) {
        shared = made;
        graph.ops.back().isRecomputable = false; // other slots read it
      }
      saved[slot].push_back({reads, made});
      known.push_back(made);
    }
    int next = value();
    launch(slot, false, {stream, known.back()}, {next});
    graph.ops.back().isRecomputable = false; // another slot reads it
    stream = next;
  }
  int gradient = value();
  launch(-1, false, {stream}, {gradient});
  for (int slot = slots; slot-- > 0;) {
    for (int i = ops_of_slot; i-- > 0;) {
      auto [reads, made] = saved[slot][i];
      int next = value();
      std::vector<int> all = {gradient};
      all.push_back(made == shared || below(2) ? made : reads[0]); // a shared value lives until its own slot has read it
      if (reads.size() > 1)
        all.push_back(shared);
      launch(slot, true, all, {next});
      gradient = next;
    }
    int next = value();
    launch(slot, true, {gradient, streams[slot]}, {next}); // the slot's input is always read
    gradient = next;
  }
  return graph;
}

/// Bytes alive at once, at most, where these ops are computed again; -1 where a clone would read what it may not.
struct Schedule {
  int64_t peak = 0;
  double milliseconds = 0;

  Schedule(const PlannedGraph &graph, const std::vector<bool> &again) {
    struct Event {
      std::vector<int> reads, makes;
      int64_t scratch;
    };
    std::vector<Event> events;
    std::vector<int64_t> bytes = graph.bytes;
    std::map<int, int> clones, maker;
    for (size_t op = 0; op < graph.ops.size(); ++op)
      for (int made : graph.ops[op].makes)
        maker[made] = op;
    std::function<int(int)> get = [&](int value) {
      if (!maker.contains(value) || !again[maker[value]])
        return value;
      if (!clones.contains(value)) {
        const PlannedOp &op = graph.ops[maker[value]];
        std::vector<int> reads;
        for (int read : op.reads)
          reads.push_back(get(read));
        clones[value] = bytes.size();
        bytes.push_back(bytes[value]);
        events.push_back({reads, {clones[value]}, op.scratch});
        milliseconds += op.milliseconds;
      }
      return clones[value];
    };
    for (const PlannedLaunch &launch : graph.launches) {
      std::vector<int> reads = launch.reads;
      if (launch.isBackward)
        for (int &read : reads)
          read = get(read);
      events.push_back({reads, launch.makes, launch.scratch});
    }
    std::vector<int> first(bytes.size(), -1), last(bytes.size(), -1);
    for (int i = 0; i < int(events.size()); ++i) {
      for (int made : events[i].makes)
        first[made] = last[made] = i;
      for (int read : events[i].reads)
        last[read] = i;
    }
    for (int i = 0; i < int(events.size()); ++i) {
      int64_t alive = events[i].scratch;
      for (size_t value = 0; value < bytes.size(); ++value)
        alive += first[value] >= 0 && first[value] <= i && i <= last[value] ? bytes[value] : 0;
      peak = std::max(peak, alive);
    }
  }
};

} // namespace

TEST(Planner, IsAsFastAsTheBestOfAllSubsets) {
  int recomputing = 0;
  for (uint32_t seed = 0; seed < 24; ++seed) {
    PlannedGraph graph = makeGraph(seed, 1 + seed % 3, 4, /*shares=*/seed >= 12);
    std::vector<int> free;
    for (size_t op = 0; op < graph.ops.size(); ++op)
      if (graph.ops[op].isRecomputable)
        free.push_back(op);
    ASSERT_LE(free.size(), 14u);
    std::vector<Schedule> all;
    for (uint32_t subset = 0; subset < 1u << free.size(); ++subset) {
      std::vector<bool> again(graph.ops.size());
      for (size_t i = 0; i < free.size(); ++i)
        again[free[i]] = subset >> i & 1;
      all.emplace_back(graph, again);
    }
    Planner planner(graph);
    EXPECT_EQ(planner.getKeptPeak(), all[0].peak);
    int64_t least = std::ranges::min_element(all, {}, &Schedule::peak)->peak;
    EXPECT_FALSE(planner.solve(least - 1)) << "seed " << seed;
    EXPECT_TRUE(planner.fits(least) && !planner.fits(least - 1)) << "seed " << seed;
    for (int part = 0; part <= 10; ++part) {
      int64_t budget = least + (all[0].peak - least) * part / 10;
      double best = INFINITY;
      for (const Schedule &schedule : all)
        if (schedule.peak <= budget)
          best = std::min(best, schedule.milliseconds);
      std::optional<RecomputePlan> plan = planner.solve(budget);
      ASSERT_TRUE(plan) << "seed " << seed << ", budget " << budget;
      std::vector<bool> again(graph.ops.size());
      for (int op : plan->ops)
        again[op] = true;
      Schedule schedule(graph, again);
      EXPECT_EQ(plan->peak, schedule.peak) << "seed " << seed << ", budget " << budget;
      EXPECT_LE(schedule.peak, budget);
      EXPECT_DOUBLE_EQ(plan->milliseconds, schedule.milliseconds);
      EXPECT_LE(planner.getLeast(budget), best);
      EXPECT_GE(planner.getLeast(budget), 0.99 * best);
      EXPECT_DOUBLE_EQ(plan->milliseconds, best) << "seed " << seed << ", budget " << budget;
      recomputing += !plan->ops.empty();
    }
  }
  EXPECT_GT(recomputing, 80);
}

TEST(Planner, ABiggerBudgetIsNeverSlower) {
  PlannedGraph graph = makeGraph(77, 40, 5);
  Planner planner(graph);
  double before = 0;
  int solved = 0;
  for (int64_t budget = planner.getKeptPeak(); std::optional<RecomputePlan> plan = planner.solve(budget); budget = budget * 99 / 100) {
    EXPECT_GE(plan->milliseconds, before) << budget;
    EXPECT_LE(planner.getLeast(budget), plan->milliseconds);
    EXPECT_LE(plan->peak, budget);
    before = plan->milliseconds;
    ++solved;
  }
  EXPECT_GT(solved, 10);
}

TEST(Planner, BlocksThatLeaveALittleToTheEndAreAlike) {
  constexpr int slots = 50;
  PlannedGraph graph;
  auto value = [&](int64_t bytes) {
    graph.bytes.push_back(bytes);
    graph.isCache.push_back(false);
    return int(graph.bytes.size()) - 1;
  };
  auto launch = [&](int64_t slot, bool is_backward, std::vector<int> reads, std::vector<int> makes) {
    graph.launches.push_back({slot, is_backward, reads, makes, 0, {}});
    if (!is_backward)
      graph.ops.push_back({slot, reads, makes, 0, {}, 1.0, makes.size() == 1 && slot >= 0});
  };
  int stream = value(1 << 20);
  launch(-1, false, {}, {stream});
  std::vector<int> streams, inner, statistics;
  for (int slot = 0; slot < slots; ++slot) {
    streams.push_back(stream), inner.push_back(value(4 << 20));
    launch(slot, false, {stream}, {inner.back()});
    stream = value(1 << 20), statistics.push_back(value(256));
    launch(slot, false, {inner.back()}, {stream, statistics.back()});
  }
  int gradient = value(1 << 20);
  launch(-1, false, {stream}, {gradient});
  for (int slot = slots; slot-- > 0;) {
    int next = value(1 << 20);
    launch(slot, true, {gradient, inner[slot], streams[slot]}, {next});
    gradient = next;
  }
  statistics.push_back(gradient);
  launch(-1, true, statistics, {value(256)});
  EXPECT_LE(Planner(graph).countTypes(), 3); // the first and the last have other neighbours
}

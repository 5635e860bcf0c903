#include "lib/Packing/Packing.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>

namespace megacc {

static int64_t roundUp(int64_t bytes, int64_t alignment) { return (bytes + alignment - 1) / alignment * alignment; }

/// The most bytes alive at one step: a sweep over begins and ends.
static int64_t mostAlive(std::span<const Buffer> buffers, int64_t alignment) {
  std::vector<std::pair<int64_t, int64_t>> changes;
  for (const Buffer &buffer : buffers) {
    changes.push_back({buffer.first, roundUp(buffer.bytes, alignment)});
    changes.push_back({buffer.last + 1, -roundUp(buffer.bytes, alignment)});
  }
  std::sort(changes.begin(), changes.end()); // at one step ends come before begins
  int64_t alive = 0, most = 0;
  for (auto [step, change] : changes)
    most = std::max(most, alive += change);
  return most;
}

namespace {

/// Buffers that have their places, by offset. They are gone through for every buffer: in groups, of which most have no step in common with
/// it.
class Placed {
public:
  struct Entry {
    int64_t first, last, offset, end;
  };

  /// Those that meet the buffer, the lower before the higher.
  template <typename Visit> void visitMet(const Buffer &buffer, Visit visit) const {
    for (const Group &group : groups)
      if (buffer.first <= group.last && group.first <= buffer.last)
        for (const Entry &entry : group.entries)
          if (buffer.first <= entry.last && entry.first <= buffer.last)
            visit(entry);
  }

  /// Behind those of the same offset.
  void insert(const Entry &entry) {
    auto isBefore = [](int64_t offset, const Group &group) { return offset < group.entries.front().offset; };
    auto at = std::upper_bound(groups.begin(), groups.end(), entry.offset, isBefore);
    if (groups.empty())
      at = groups.insert(at, Group());
    else if (at != groups.begin())
      --at;
    at->insert(entry);
    if (at->entries.size() < most)
      return;
    Group upper;
    for (size_t i = most / 2; i < most; ++i)
      upper.insert(at->entries[i]);
    Group lower;
    for (size_t i = 0; i < most / 2; ++i)
      lower.insert(at->entries[i]);
    *at = std::move(lower);
    groups.insert(at + 1, std::move(upper));
  }

private:
  static constexpr size_t most = 64;
  struct Group {
    int64_t first = std::numeric_limits<int64_t>::max(), last = -1; // of all
    std::vector<Entry> entries;

    void insert(const Entry &entry) {
      auto isBefore = [](int64_t offset, const Entry &other) { return offset < other.offset; };
      entries.insert(std::upper_bound(entries.begin(), entries.end(), entry.offset, isBefore), entry);
      first = std::min(first, entry.first), last = std::max(last, entry.last);
    }
  };
  std::vector<Group> groups;
};

} // namespace

/// Gives every buffer, in this order, the smallest hole it fits into among those it meets. Gives up where `limit` bytes do not do; then
/// `failed` is the place in the order of the buffer that goes beyond.
static Packing place(std::span<const Buffer> buffers, std::span<const size_t> order, int64_t alignment, int64_t limit, size_t &failed) {
  Packing packing;
  packing.offsets.assign(buffers.size(), 0);
  Placed placed;
  for (size_t position = 0; position < order.size(); ++position) {
    size_t index = order[position];
    const Buffer &buffer = buffers[index];
    int64_t bytes = roundUp(buffer.bytes, alignment);
    if (bytes == 0)
      continue;
    int64_t end = 0, offset = -1, smallest = std::numeric_limits<int64_t>::max();
    placed.visitMet(buffer, [&](const Placed::Entry &other) {
      int64_t hole = other.offset - end;
      if (hole >= bytes && hole < smallest) {
        smallest = hole;
        offset = end;
      }
      end = std::max(end, other.end);
    });
    offset = offset < 0 ? end : offset;
    packing.offsets[index] = offset;
    packing.bytes = std::max(packing.bytes, offset + bytes);
    if (packing.bytes > limit) {
      failed = position;
      return packing;
    }
    placed.insert({buffer.first, buffer.last, offset, offset + bytes});
  }
  return packing;
}

/// The order of the buffers by a key, the smaller first.
template <typename Key> static std::vector<size_t> sortBy(size_t count, Key key) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t(0));
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return std::pair(key(a), a) < std::pair(key(b), b); });
  return order;
}

/// For every buffer the most bytes alive while it is.
static std::vector<int64_t> findCrowds(std::span<const Buffer> buffers, int64_t alignment) {
  int64_t end = 0;
  for (const Buffer &buffer : buffers)
    end = std::max(end, buffer.last + 1);
  std::vector<int64_t> alive(end + 1, 0), crowds;
  for (const Buffer &buffer : buffers)
    alive[buffer.first] += roundUp(buffer.bytes, alignment), alive[buffer.last + 1] -= roundUp(buffer.bytes, alignment);
  std::partial_sum(alive.begin(), alive.end(), alive.begin());
  for (const Buffer &buffer : buffers)
    crowds.push_back(*std::max_element(alive.begin() + buffer.first, alive.begin() + buffer.last + 1));
  return crowds;
}

Packing packBuffers(std::span<const Buffer> buffers, int64_t alignment, int64_t enough) {
  const int64_t bound = mostAlive(buffers, alignment);
  enough = std::max(enough, bound);
  size_t failed = 0;
  Packing best;
  best.bytes = std::numeric_limits<int64_t>::max();
  auto attempt = [&](std::span<const size_t> order) {
    failed = 0;
    if (Packing other = place(buffers, order, alignment, best.bytes - 1, failed); other.bytes < best.bytes)
      best = std::move(other);
  };
  attempt(sortBy(buffers.size(), [&](size_t i) { return std::pair(-buffers[i].bytes, buffers[i].first); }));
  if (best.bytes > bound)
    attempt(sortBy(buffers.size(), [&](size_t i) { return std::pair(buffers[i].first, -buffers[i].bytes); }));
  // What finds no place is placed before the others the next time: a few times for many buffers, many for a few.
  auto search = [&](std::vector<size_t> order) {
    int64_t tries = std::min<int64_t>(400, (int64_t(1) << 24) / int64_t(buffers.size() * buffers.size()));
    for (int64_t i = 0; i < tries && best.bytes > enough; ++i) {
      attempt(order);
      std::rotate(order.begin(), order.begin() + failed, order.begin() + failed + 1);
    }
  };
  if (best.bytes > enough) {
    auto getLength = [&](size_t i) { return buffers[i].last - buffers[i].first; };
    search(sortBy(buffers.size(), [&](size_t i) { return std::pair(-getLength(i), -buffers[i].bytes); }));
    std::vector<int64_t> crowds = findCrowds(buffers, alignment);
    search(sortBy(buffers.size(), [&](size_t i) { return std::tuple(-crowds[i], -getLength(i), -buffers[i].bytes); }));
  }
  best.lowerBound = bound;
  return best;
}

} // namespace megacc

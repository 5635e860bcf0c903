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
/// A buffer that has its place. They are gone through for every buffer, so they lie one after the other.
struct Placed {
  int64_t first, last, offset, end;
};
} // namespace

/// Gives every buffer, in this order, the smallest hole it fits into among those it meets. Gives up where `limit` bytes do not do; then
/// `failed` is the place in the order of the buffer that goes beyond.
static Packing place(std::span<const Buffer> buffers, std::span<const size_t> order, int64_t alignment, int64_t limit, size_t &failed) {
  Packing packing;
  packing.offsets.assign(buffers.size(), 0);
  std::vector<Placed> placed; // by offset
  placed.reserve(buffers.size());
  for (size_t position = 0; position < order.size(); ++position) {
    size_t index = order[position];
    const Buffer &buffer = buffers[index];
    int64_t bytes = roundUp(buffer.bytes, alignment);
    if (bytes == 0)
      continue;
    int64_t end = 0, offset = -1, smallest = std::numeric_limits<int64_t>::max();
    for (const Placed &other : placed) {
      if (buffer.first > other.last || other.first > buffer.last)
        continue;
      int64_t hole = other.offset - end;
      if (hole >= bytes && hole < smallest) {
        smallest = hole;
        offset = end;
      }
      end = std::max(end, other.end);
    }
    offset = offset < 0 ? end : offset;
    packing.offsets[index] = offset;
    packing.bytes = std::max(packing.bytes, offset + bytes);
    if (packing.bytes > limit) {
      failed = position;
      return packing;
    }
    auto after = [](int64_t offset, const Placed &other) { return offset < other.offset; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), offset, after), {buffer.first, buffer.last, offset, offset + bytes});
  }
  return packing;
}

Packing packBuffers(std::span<const Buffer> buffers, int64_t alignment, int64_t enough) {
  std::vector<size_t> bySize(buffers.size()), byUse;
  std::iota(bySize.begin(), bySize.end(), size_t(0));
  byUse = bySize;
  std::sort(bySize.begin(), bySize.end(), [&](size_t a, size_t b) {
    return std::tuple(-buffers[a].bytes, buffers[a].first, a) < std::tuple(-buffers[b].bytes, buffers[b].first, b);
  });
  std::sort(byUse.begin(), byUse.end(), [&](size_t a, size_t b) {
    return std::tuple(buffers[a].first, -buffers[a].bytes, a) < std::tuple(buffers[b].first, -buffers[b].bytes, b);
  });
  int64_t lowerBound = mostAlive(buffers, alignment);
  size_t failed = 0;
  Packing best = place(buffers, bySize, alignment, std::numeric_limits<int64_t>::max(), failed);
  auto attempt = [&](std::span<const size_t> order) {
    Packing other = place(buffers, order, alignment, best.bytes - 1, failed);
    if (other.bytes < best.bytes)
      best = std::move(other);
  };
  if (best.bytes > lowerBound)
    attempt(byUse);
  // A buffer that found no place is placed before the others: in a few packings of many buffers, in many of a few.
  int64_t tries = std::min<int64_t>(400, (int64_t(1) << 24) / std::max<int64_t>(1, int64_t(buffers.size() * buffers.size())));
  for (int64_t i = 0; i < tries && best.bytes > std::max(lowerBound, enough); ++i) {
    failed = 0;
    attempt(bySize);
    std::rotate(bySize.begin(), bySize.begin() + failed, bySize.begin() + failed + 1);
  }
  best.lowerBound = lowerBound;
  return best;
}

} // namespace megacc

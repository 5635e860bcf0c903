// What mg_mod_select must give, for its tests on both targets.
#pragma once
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace megacc {

/// By sorting: the `keep` largest of each row, of equal ones the earlier; their places in the row of those that are kept, -1 elsewhere.
template <typename Position, typename Logits>
std::vector<Position> expectPositions(const Logits &logits, int64_t batch, int64_t sequence, int64_t keep) {
  std::vector<Position> position(batch * sequence, -1);
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<int64_t> order(sequence);
    std::iota(order.begin(), order.end(), b * sequence);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t c) { return logits[a] > logits[c]; });
    std::sort(order.begin(), order.begin() + keep);
    for (int64_t k = 0; k < keep; ++k)
      position[order[k]] = Position(k);
  }
  return position;
}

} // namespace megacc

// Packed rows: a document is a run of equal ids (conventions 13.1). `documents` are the ids of one row, null where the row is one document.
#pragma once
#include <cstdint>

namespace megacc::runtime::cuda {

__device__ inline bool startsDocument(const int32_t *documents, int64_t t) {
  return t == 0 || (documents && documents[t] != documents[t - 1]);
}

/// Tokens from t on, itself included, that lie in its row and document, back (direction -1) or ahead (1); at most `most`.
__device__ inline int64_t countReach(const int32_t *documents, int64_t sequence, int64_t t, int64_t direction, int64_t most) {
  int64_t count = 1;
  for (int64_t at = t + direction; count < most && at >= 0 && at < sequence; at += direction, ++count)
    if (documents && documents[at] != documents[at - direction])
      break;
  return count;
}

} // namespace megacc::runtime::cuda

// Rows and targets of tokens further ahead or back, within the row and the document (conventions 12.3, 12.4, 13.2).
#include "runtime/core/Documents.h"
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

#include <cstring>

using namespace megacc::runtime;

namespace {

/// Whether t + distance is in the row and in the same run of equal ids.
bool reaches(const int32_t *documents, int64_t sequence, int64_t t, int64_t distance) {
  int64_t wanted = (distance < 0 ? -distance : distance) + 1;
  return countReach(documents, sequence, t, distance < 0 ? -1 : 1, wanted) == wanted;
}

} // namespace

extern "C" {

int32_t mg_shift(const MgLaunch *launch) {
  MG_ENTER(mg_shift);
  int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], cols = launch->ints[number::cols];
  int64_t distance = launch->ints[number::distance];
  float *y = output(launch, at::y);
  const float *x = input(launch, at::x);
  const int32_t *documents = integers(launch, at::documents);
  parallelRanges(batch * sequence, 64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t t = row % sequence;
      if (reaches(documents ? documents + row - t : nullptr, sequence, t, distance))
        std::memcpy(y + row * cols, x + (row + distance) * cols, cols * sizeof(float));
      else
        std::memset(y + row * cols, 0, cols * sizeof(float));
    }
  });
  return 0;
}

int32_t mg_shift_targets(const MgLaunch *launch) {
  MG_ENTER(mg_shift_targets);
  int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], distance = launch->ints[number::distance];
  int32_t *shifted = static_cast<int32_t *>(launch->operands[at::shifted]);
  const int32_t *targets = integers(launch, at::targets), *documents = integers(launch, at::documents);
  for (int64_t row = 0; row < batch * sequence; ++row) {
    int64_t t = row % sequence;
    shifted[row] = reaches(documents ? documents + row - t : nullptr, sequence, t, distance) ? targets[row + distance] : -1;
  }
  return 0;
}
}

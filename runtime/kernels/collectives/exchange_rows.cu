// Rows of experts between cards. No number of rows comes to the host: every rank gives each other one a block of the most that there can
// be.
#include "runtime/cuda/Library.h"
#include "runtime/kernels/collectives/RowPlaces.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

/// Elements that are moved at a time, those of all ranks together: lib/Kernels/cuda/Collectives.cpp plans scratch for them.
constexpr int64_t exchange_elements = 1 << 24;

/// The integer parameters that both kernels have.
struct Sizes {
  int64_t given, received, cols, groups, ranks, axis;
};

/// What both kernels do: rows of this rank's tokens to the ranks of their groups (`forth`), or back.
template <bool forth, typename Word>
int32_t exchange(const MgLaunch *launch, const char *kernel, Rows<Word> tokens, Rows<Word> groups, const int32_t *offsets,
                 int32_t *own_offsets, const Sizes &sizes, int scratch_operand) {
  const cudaStream_t stream = streamOf(launch);
  const Communicators &communicators = communicatorsOf(launch->context);
  const int64_t ranks = sizes.ranks, axis = sizes.axis, block = sizes.received / ranks;
  const int64_t piece = std::clamp<int64_t>(exchange_elements / (ranks * sizes.cols), 1, block);
  Scratch scratch(launch, scratch_operand);
  int32_t *all = scratch.take<int32_t>(ranks * (sizes.groups + 1));
  Word *give = scratch.take<Word>(ranks * piece * groups.words), *taken = scratch.take<Word>(ranks * piece * groups.words);
  if (int32_t status = scratch.check(kernel))
    return status;
  if (int32_t status = communicators.allGather(kernel, axis, all, offsets, (sizes.groups + 1) * int64_t(sizeof(int32_t)), stream))
    return status;
  const RowPlaces places = {all, launch->context->axes[axis].rank, ranks, sizes.groups / ranks};
  for (int64_t begin = 0; begin < block; begin += piece) {
    const int64_t here = std::min(piece, block - begin), bytes = here * groups.words * int64_t(sizeof(Word));
    if (int32_t status = launchMove<!forth, true>(kernel, forth ? tokens : groups, give, places, begin, here, stream))
      return status;
    if (int32_t status = communicators.exchange(kernel, axis, taken, give, bytes, stream))
      return status;
    if (int32_t status = launchMove<forth, false>(kernel, forth ? groups : tokens, taken, places, begin, here, stream))
      return status;
  }
  return launchFinish<forth>(kernel, forth ? groups : tokens, own_offsets, places, stream);
}

/// Calls body(rows of tokens, rows of groups), in words of 16 bytes where their length allows.
template <typename Body>
int32_t withRows(const MgLaunch *launch, const char *kernel, int tokens, int groups, const Sizes &sizes, Body &&body) {
  return withElement(launch, kernel, {tokens, groups}, [&](auto element) {
    const int64_t bytes = sizes.cols * int64_t(sizeof element);
    auto call = [&](auto word) {
      using Word = decltype(word);
      const int64_t words = bytes / int64_t(sizeof word);
      return body(Rows<Word>{operand<Word>(launch, tokens), sizes.given, words},
                  Rows<Word>{operand<Word>(launch, groups), sizes.received, words});
    };
    return bytes % int64_t(sizeof(uint4)) ? call(element) : call(uint4());
  });
}

} // namespace

#define SIZES                                                                                                                              \
  {launch->ints[number::given],  launch->ints[number::received], launch->ints[number::cols],                                               \
   launch->ints[number::groups], launch->ints[number::ranks],    launch->ints[number::axis]}

extern "C" {

int32_t mg_exchange_rows(const MgLaunch *launch) {
  MG_ENTER(mg_exchange_rows);
  const Sizes sizes = SIZES;
  return withRows(launch, "mg_exchange_rows", at::rows, at::mine, sizes, [&](auto tokens, auto groups) {
    return exchange<true>(launch, "mg_exchange_rows", tokens, groups, integers(launch, at::offsets),
                          operand<int32_t>(launch, at::own_offsets), sizes, at::scratch);
  });
}

int32_t mg_return_rows(const MgLaunch *launch) {
  MG_ENTER(mg_return_rows);
  const Sizes sizes = SIZES;
  return withRows(launch, "mg_return_rows", at::rows, at::mine, sizes, [&](auto tokens, auto groups) {
    return exchange<false>(launch, "mg_return_rows", tokens, groups, integers(launch, at::offsets), nullptr, sizes, at::scratch);
  });
}
}

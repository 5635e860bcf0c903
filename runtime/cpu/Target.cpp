// The CPU as a target (StepABI.h): its memory is the program's own, and every call is done when it returns.
#include "megacc/StepABI.h"
#include "runtime/core/Gemm.h"
#include "runtime/core/KernelEntries.h"
#include "runtime/core/Status.h"
#include "runtime/core/ThreadPool.h"
#include "runtime/cpu/Arena.h"

#include <chrono>
#include <cstring>
#include <iterator>

namespace megacc::runtime {
namespace {

int32_t order(MgContext *, int64_t, int64_t) { return 0; }

int32_t open(MgContext *context) {
  for (void *&stream : context->streams)
    stream = nullptr;
  context->record = context->wait = order;
  context->library = nullptr;
  return 0;
}

void close(MgContext *) {}

int32_t transfer(MgContext *, void *to, const void *from, int64_t bytes) {
  std::memcpy(to, from, size_t(bytes));
  return 0;
}

int32_t fill(MgContext *, void *to, int32_t byte, int64_t bytes) {
  std::memset(to, byte, size_t(bytes));
  return 0;
}

int32_t synchronize(MgContext *) { return 0; }

using Clock = std::chrono::steady_clock;

int32_t mark(MgContext *, int64_t, void **mark) {
  *mark = new Clock::time_point(Clock::now());
  return 0;
}

int32_t elapsed(void *begin, void *end, double *seconds) {
  *seconds = std::chrono::duration<double>(*static_cast<Clock::time_point *>(end) - *static_cast<Clock::time_point *>(begin)).count();
  return 0;
}

void unmark(void *mark) { delete static_cast<Clock::time_point *>(mark); }

const MgTarget target = {
    .abi = MEGACC_ABI_VERSION,
    .name = "cpu",
    .kernels = kernel_entries,
    .kernel_count = std::size(kernel_entries),
    .reserve = reserveArena,
    .release = releaseArena,
    .open = open,
    .close = close,
    .write = transfer,
    .read = transfer,
    .copy = transfer,
    .fill = fill,
    .synchronize = synchronize,
    .begin_capture = nullptr,
    .end_capture = nullptr,
    .replay = nullptr,
    .discard = nullptr,
    .mark = mark,
    .elapsed = elapsed,
    .unmark = unmark,
    .annotate = nullptr,
    .calibrate = nullptr,
    .choices = nullptr,
    .set_choices = nullptr,
    .variant = mg_kernel_variant,
    .last_error = mg_last_error,
    .set_threads = mg_cpu_set_threads,
};

} // namespace
} // namespace megacc::runtime

const MgTarget *mg_target(void) { return &megacc::runtime::target; }

#include "test/runtime/FakeTarget.h"
#include "megacc/KernelSignatures.h"
#include "runtime/core/Bfloat16.h"
#include "runtime/core/Launch.h"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>

using namespace megacc::runtime;

namespace {

// Segments stand this far apart, so that an address says which one it belongs to.
constexpr int64_t spacing = int64_t(1) << 30;

FakeTarget fake;

int32_t fail(const char *message) {
  fake.message = message;
  return 1;
}

/// The shadow of an address; null where `bytes` from there are not inside a segment.
std::byte *shadowOf(MgContext *context, const void *address, int64_t bytes) {
  for (int segment = 0; segment < MG_SEGMENT_COUNT; ++segment) {
    int64_t offset = static_cast<const std::byte *>(address) - static_cast<std::byte *>(context->segments[segment]);
    if (offset >= 0 && offset + bytes <= int64_t(fake.shadow[segment].size()))
      return fake.shadow[segment].data() + offset;
  }
  return nullptr;
}

int32_t reserve(const int64_t *sizes, void **segments) {
  if (fake.reserve_fails)
    return fail("there is no such memory");
  void *memory = mmap(nullptr, MG_SEGMENT_COUNT * spacing, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    return fail("no addresses are left");
  for (int segment = 0; segment < MG_SEGMENT_COUNT; ++segment) {
    bool zeros = segment <= MG_GRADIENTS || segment == MG_CONSTANTS;
    fake.shadow[segment].assign(sizes[segment], std::byte(zeros ? 0 : 0x7F));
    segments[segment] = static_cast<std::byte *>(memory) + segment * spacing;
  }
  return 0;
}

void release(void **segments) {
  munmap(segments[0], MG_SEGMENT_COUNT * spacing);
  for (std::vector<std::byte> &bytes : fake.shadow)
    bytes.clear();
}

int32_t bytesInUse(int64_t *bytes) {
  *bytes = fake.bytes_in_use;
  return fake.bytes_in_use < 0 ? fail("the device does not answer") : 0;
}

int32_t order(MgContext *, int64_t, int64_t) { return 0; }

int32_t open(MgContext *context) {
  context->record = context->wait = order;
  return 0;
}

void close(MgContext *) {}

int32_t transfer(void *to, const void *from, int64_t bytes) {
  if (!to || !from)
    return fail("a range is outside the arena");
  fake.largest = std::max(fake.largest, bytes);
  std::memcpy(to, from, bytes);
  return 0;
}

int32_t write(MgContext *context, void *to, const void *host, int64_t bytes) {
  ++fake.writes;
  return transfer(shadowOf(context, to, bytes), host, bytes);
}

int32_t read(MgContext *context, void *host, const void *from, int64_t bytes) {
  ++fake.reads;
  return transfer(host, shadowOf(context, from, bytes), bytes);
}

int32_t copy(MgContext *context, void *to, const void *from, int64_t bytes) {
  return transfer(shadowOf(context, to, bytes), shadowOf(context, from, bytes), bytes);
}

int32_t fill(MgContext *context, void *to, int32_t byte, int64_t bytes) {
  std::memset(shadowOf(context, to, bytes), byte, bytes);
  return 0;
}

int32_t synchronize(MgContext *) { return 0; }
const char *variant() { return "Shadow"; }

/// A moment is the number of moments before it, in milliseconds.
int32_t mark(MgContext *, int64_t, void **mark) {
  *mark = new int(fake.marks++);
  return 0;
}
int32_t elapsed(void *begin, void *end, double *seconds) {
  *seconds = (*static_cast<int *>(end) - *static_cast<int *>(begin)) * 1e-3;
  return 0;
}
void unmark(void *mark) {
  delete static_cast<int *>(mark);
  ++fake.unmarks;
}
const char *lastError() { return fake.message.c_str(); }
int32_t setThreads(int32_t) { return 0; }

} // namespace

/// y = x, bytes.
extern "C" int32_t mg_copy(const MgLaunch *launch) {
  return copy(launch->context, launch->operands[at_mg_copy::y], launch->operands[at_mg_copy::x], launch->bytes[at_mg_copy::y]);
}

/// Element i of a parameter becomes i + 1/512, whatever the kind.
extern "C" int32_t mg_initialize(const MgLaunch *launch) {
  namespace at = at_mg_initialize;
  namespace number = number_mg_initialize;
  int64_t count = launch->ints[number::count], first = launch->ints[number::first];
  bool half = launch->types[at::y] == MG_BF16, master = launch->types[at::master] != MG_ABSENT;
  fake.initializations.push_back(
      {count, first, launch->ints[number::kind], launch->ints[number::key], launch->doubles[real_mg_initialize::a], master});
  if (launch->bytes[at::y] != count * (half ? 2 : 4) || launch->bytes[at::master] != (master ? 4 * count : 0))
    return fail("mg_initialize: the bytes of its operands are not their elements");
  std::byte *y = shadowOf(launch->context, launch->operands[at::y], launch->bytes[at::y]);
  std::byte *fp32 = master ? shadowOf(launch->context, launch->operands[at::master], launch->bytes[at::master]) : y;
  for (int64_t i = 0; i < count; ++i) {
    float value = float(first + i) + 1.0f / 512;
    uint16_t rounded = toBfloat16(value);
    if (half)
      std::memcpy(y + 2 * i, &rounded, 2);
    if (master || !half)
      std::memcpy(fp32 + 4 * i, &value, 4);
  }
  return 0;
}

FakeTarget &fakeTarget() { return fake; }

void resetFakeTarget() {
  fake = {};
  for (const megacc::KernelSignature &kernel : megacc::kernelSignatures)
    for (MgKernelEntry entry : {MgKernelEntry{"mg_copy", kernel.text, mg_copy}, {"mg_initialize", kernel.text, mg_initialize}})
      if (std::strcmp(kernel.symbol, entry.name) == 0)
        fake.kernels.push_back(entry);
  fake.table = {.abi = MEGACC_ABI_VERSION,
                .name = "fake",
                .kernels = fake.kernels.data(),
                .kernel_count = int64_t(fake.kernels.size()),
                .reserve = reserve,
                .release = release,
                .bytes_in_use = bytesInUse,
                .open = open,
                .close = close,
                .write = write,
                .read = read,
                .copy = copy,
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
                .variant = variant,
                .last_error = lastError,
                .set_threads = setThreads};
}

const MgTarget *mg_target(void) { return &fake.table; }

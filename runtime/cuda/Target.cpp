// The card as a target (StepABI.h): one allocation for the arena, two streams, a captured step as a CUDA graph.
#include "megacc/StepABI.h"
#include "runtime/core/KernelEntries.h"
#include "runtime/core/Status.h"
#include "runtime/cuda/Card.h"
#include "runtime/cuda/CublasLt.h"
#include "runtime/cuda/Library.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda_runtime.h>
#include <iterator>
#include <nvtx3/nvToolsExt.h>
#include <string>
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace megacc::runtime::cuda {
namespace {

Library *libraryOf(MgContext *context) { return static_cast<Library *>(context->library); }

int32_t check(cudaError_t status, const char *what) {
  return status == cudaSuccess ? 0 : mg_fail("%s: CUDA says \"%s\"", what, cudaGetErrorString(status));
}

cudaStream_t streamOf(MgContext *context, int64_t index) { return static_cast<cudaStream_t>(context->streams[index]); }

/// This process's place among the ranks of the machine, as its launcher says; 0 without one.
int findLocalRank() {
  for (const char *name : {"LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"})
    if (const char *value = std::getenv(name))
      return std::max(0, std::atoi(value));
  return 0;
}

/// Takes the card of this process; 0 if it can run the kernels of this library.
int32_t chooseCard() {
  CardFacts facts;
  facts.needed = CUDART_VERSION;
  facts.said = cudaGetErrorString(cudaGetDeviceCount(&facts.count));
  cudaDriverGetVersion(&facts.driver);
  facts.place = facts.count == 1 ? 0 : findLocalRank(); // a launcher may have left each rank its own card alone
  if (std::string why = refuseDriver(facts); !why.empty())
    return mg_fail("%s", why.c_str());
  if (int32_t failed = check(cudaSetDevice(facts.place), "taking the card"))
    return failed;
  cudaDeviceProp card;
  if (int32_t failed = check(cudaGetDeviceProperties(&card, facts.place), "reading the card's properties"))
    return failed;
  facts.name = card.name, facts.major = card.major, facts.minor = card.minor;
  if (std::string why = refuseCard(facts); !why.empty())
    return mg_fail("%s", why.c_str());
  return 0;
}

int32_t reserve(const int64_t *sizes, void **segments) {
  if (int32_t failed = chooseCard())
    return failed;
  int64_t total = 0;
  for (int i = 0; i < MG_SEGMENT_COUNT; ++i)
    total += sizes[i];
  size_t unused = 0, all = 0;
  if (int32_t failed = check(cudaMemGetInfo(&unused, &all), "asking the card for its memory"))
    return failed;
  if (std::string why = refuseSize(total, (long long)unused, (long long)all); !why.empty())
    return mg_fail("%s", why.c_str());
  char *base = nullptr;
  if (int32_t failed = check(cudaMalloc(&base, size_t(total)), "reserving the arena"))
    return failed;
  for (int i = 0; i < MG_SEGMENT_COUNT; ++i) {
    segments[i] = base;
    bool zero = i == MG_WEIGHTS || i == MG_OPTIMIZER || i == MG_GRADIENTS || i == MG_CONSTANTS;
    if (zero)
      if (int32_t failed = check(cudaMemset(base, 0, size_t(sizes[i])), "clearing the state"))
        return failed;
    base += sizes[i];
  }
  return 0;
}

void release(void **segments) { cudaFree(segments[0]); }

int32_t bytesInUse(int64_t *bytes) {
  size_t unused = 0, all = 0;
  int32_t failed = check(cudaMemGetInfo(&unused, &all), "asking the card for its memory");
  *bytes = int64_t(all - unused);
  return failed;
}

int32_t record(MgContext *context, int64_t event, int64_t stream) {
  auto &events = libraryOf(context)->events;
  while (int64_t(events.size()) <= event) {
    cudaEvent_t made;
    if (int32_t failed = check(cudaEventCreateWithFlags(&made, cudaEventDisableTiming), "making an event"))
      return failed;
    events.push_back(made);
  }
  return check(cudaEventRecord(events[event], streamOf(context, stream)), "recording an event");
}

int32_t wait(MgContext *context, int64_t event, int64_t stream) {
  auto &events = libraryOf(context)->events;
  if (event < 0 || event >= int64_t(events.size()))
    return mg_fail("event %lld is waited for before it is recorded", (long long)event);
  return check(cudaStreamWaitEvent(streamOf(context, stream), events[event]), "waiting for an event");
}

int32_t open(MgContext *context) {
  for (void *&stream : context->streams) {
    cudaStream_t made;
    if (int32_t failed = check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "making a stream"))
      return failed;
    stream = made;
  }
  context->record = record, context->wait = wait;
  auto *library = new Library;
  context->library = library;
  return library->communicators.connect(context->axes);
}

void close(MgContext *context) {
  Library *library = libraryOf(context);
  for (cudaEvent_t event : library->events)
    cudaEventDestroy(event);
  delete library;
  for (int i = 0; i < MG_STREAM_COUNT; ++i)
    cudaStreamDestroy(streamOf(context, i));
}

int32_t synchronize(MgContext *context) {
  const Communicators &communicators = libraryOf(context)->communicators;
  for (int i = 0; i < MG_STREAM_COUNT; ++i)
    if (int32_t failed = communicators.isConnected() ? communicators.wait(streamOf(context, i))
                                                     : check(cudaStreamSynchronize(streamOf(context, i)), "waiting for the card"))
      return failed;
  return 0;
}

/// Any direction; done when it returns.
int32_t transfer(MgContext *context, void *to, const void *from, int64_t bytes) {
  // A copy waits for the stream without looking at the other ranks.
  if (int32_t failed = libraryOf(context)->communicators.isConnected() ? synchronize(context) : 0)
    return failed;
  if (int32_t failed = check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDefault, streamOf(context, MG_COMPUTE)), "copying"))
    return failed;
  return synchronize(context);
}

int32_t fill(MgContext *context, void *to, int32_t byte, int64_t bytes) {
  if (int32_t failed = check(cudaMemsetAsync(to, byte, size_t(bytes), streamOf(context, MG_COMPUTE)), "filling"))
    return failed;
  return synchronize(context);
}

/// Relaxed: kernels may be loaded and libraries may make handles while a step is captured.
int32_t beginCapture(MgContext *context) {
  return check(cudaStreamBeginCapture(streamOf(context, MG_COMPUTE), cudaStreamCaptureModeRelaxed), "starting to capture the step");
}

int32_t endCapture(MgContext *context, void **captured) {
  cudaGraph_t graph = nullptr;
  if (int32_t failed = check(cudaStreamEndCapture(streamOf(context, MG_COMPUTE), &graph), "capturing the step"))
    return failed;
  cudaGraphExec_t executable = nullptr;
  int32_t status = check(cudaGraphInstantiate(&executable, graph, 0), "making the step's graph");
  cudaGraphDestroy(graph);
  *captured = executable;
  return status;
}

int32_t replay(MgContext *context, void *captured) {
  return check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(captured), streamOf(context, MG_COMPUTE)), "running the step's graph");
}

void discard(void *captured) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(captured)); }

int32_t mark(MgContext *context, int64_t stream, void **mark) {
  cudaEvent_t event = nullptr;
  if (int32_t failed = check(cudaEventCreate(&event), "making an event"))
    return failed;
  *mark = event;
  return check(cudaEventRecord(event, streamOf(context, stream)), "recording an event");
}

int32_t elapsed(void *begin, void *end, double *seconds) {
  float milliseconds = 0;
  for (void *mark : {begin, end})
    if (int32_t failed = check(cudaEventSynchronize(static_cast<cudaEvent_t>(mark)), "waiting for an event"))
      return failed;
  int32_t failed =
      check(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(begin), static_cast<cudaEvent_t>(end)), "timing events");
  *seconds = 1e-3 * double(milliseconds);
  return failed;
}

void unmark(void *mark) { cudaEventDestroy(static_cast<cudaEvent_t>(mark)); }

void annotate(const char *name) {
  if (name)
    nvtxRangePushA(name);
  else
    nvtxRangePop();
}

/// Hash of the choices that were set, or empty.
std::string choices_hash;

const char *choices() {
  static std::string text;
  text = describeProductChoices();
  return text.c_str();
}

int32_t setChoices(const char *text) {
  if (int32_t failed = setProductChoices(text))
    return failed;
  char hash[17];
  std::snprintf(hash, sizeof hash, "%016llx", (unsigned long long)XXH3_64bits(text, std::strlen(text)));
  choices_hash = hash;
  return 0;
}

const char *variant() {
  static std::string text;
  cudaDeviceProp card;
  int driver = 0, device = 0;
  cudaDriverGetVersion(&driver);
  if (cudaGetDevice(&device) != cudaSuccess || cudaGetDeviceProperties(&card, device) != cudaSuccess)
    return "no card";
  text = std::string(card.name) + ", CUDA " + std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10);
  if (std::string library = describeNccl(); !library.empty())
    text += ", " + library;
  if (!choices_hash.empty())
    text += ", choices " + choices_hash;
  return text.c_str();
}

/// The card's own threads do all the work.
int32_t setThreads(int32_t) { return 0; }

const MgTarget target = {
    .abi = MEGACC_ABI_VERSION,
    .name = "sm_90a",
    .kernels = kernel_entries,
    .kernel_count = std::size(kernel_entries),
    .reserve = reserve,
    .release = release,
    .bytes_in_use = bytesInUse,
    .open = open,
    .close = close,
    .write = transfer,
    .read = transfer,
    .copy = transfer,
    .fill = fill,
    .synchronize = synchronize,
    .begin_capture = beginCapture,
    .end_capture = endCapture,
    .replay = replay,
    .discard = discard,
    .mark = mark,
    .elapsed = elapsed,
    .unmark = unmark,
    .annotate = annotate,
    .calibrate = calibrateProducts,
    .choices = choices,
    .set_choices = setChoices,
    .variant = variant,
    .last_error = mg_last_error,
    .set_threads = setThreads,
};

} // namespace
} // namespace megacc::runtime::cuda

const MgTarget *mg_target(void) { return &megacc::runtime::cuda::target; }

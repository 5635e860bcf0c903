#include "runtime/cuda/Nccl.h"
#include "runtime/core/Status.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

// The part of NCCL's interface that is called here, the same in every release 2.x: building needs no nccl.h.
extern "C" {
typedef struct {
  char internal[128];
} ncclUniqueId;
typedef enum { ncclSuccess = 0, ncclInProgress = 7 } ncclResult_t;
typedef enum { ncclInt8 = 0, ncclFloat32 = 7, ncclFloat64 = 8, ncclBfloat16 = 9 } ncclDataType_t;
typedef enum { ncclSum = 0 } ncclRedOp_t;
ncclResult_t ncclGetVersion(int *version);
ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
ncclResult_t ncclCommInitRank(ncclComm **communicator, int ranks, ncclUniqueId id, int rank);
ncclResult_t ncclCommDestroy(ncclComm *communicator);
ncclResult_t ncclCommGetAsyncError(ncclComm *communicator, ncclResult_t *error);
const char *ncclGetErrorString(ncclResult_t result);
const char *ncclGetLastError(ncclComm *communicator);
ncclResult_t ncclAllReduce(const void *x, void *y, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm *communicator,
                           cudaStream_t stream);
ncclResult_t ncclReduceScatter(const void *x, void *y, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm *communicator,
                               cudaStream_t stream);
ncclResult_t ncclAllGather(const void *x, void *y, size_t count, ncclDataType_t type, ncclComm *communicator, cudaStream_t stream);
ncclResult_t ncclSend(const void *x, size_t count, ncclDataType_t type, int rank, ncclComm *communicator, cudaStream_t stream);
ncclResult_t ncclRecv(void *y, size_t count, ncclDataType_t type, int rank, ncclComm *communicator, cudaStream_t stream);
ncclResult_t ncclGroupStart();
ncclResult_t ncclGroupEnd();
}

namespace megacc::runtime::cuda {
namespace {

using Clock = std::chrono::steady_clock;

/// The functions that we call.
struct Functions {
#define FUNCTIONS(each)                                                                                                                    \
  each(ncclGetVersion) each(ncclGetUniqueId) each(ncclCommInitRank) each(ncclCommDestroy) each(ncclCommGetAsyncError)                      \
      each(ncclGetErrorString) each(ncclGetLastError) each(ncclAllReduce) each(ncclReduceScatter) each(ncclAllGather) each(ncclSend)       \
          each(ncclRecv) each(ncclGroupStart) each(ncclGroupEnd)
#define MEMBER(name) decltype(&::name) name = nullptr;
  FUNCTIONS(MEMBER)
#undef MEMBER

  /// What is missing, or "".
  std::string open() {
    void *handle = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!handle)
      return dlerror();
#define FIND(name)                                                                                                                         \
  if (name = reinterpret_cast<decltype(name)>(dlsym(handle, #name)); !name)                                                                \
    return "it lacks " #name;
    FUNCTIONS(FIND)
#undef FIND
    return "";
  }
#undef FUNCTIONS
};

Functions nccl;
std::string missing;

/// Opens NCCL once.
int32_t openLibrary() {
  static bool opened = (missing = nccl.open(), true);
  (void)opened;
  return missing.empty() ? 0
                         : mg_fail("the cards of a mesh cannot be connected, NCCL (libnccl.so.2) cannot be used: %s; fix: install NCCL for "
                                   "CUDA 13 (Debian: libnccl2, PyPI: nvidia-nccl-cu13) and name its folder in LD_LIBRARY_PATH",
                                   missing.c_str());
}

int32_t checkCall(ncclResult_t result, const char *what, ncclComm *communicator) {
  if (result == ncclSuccess || result == ncclInProgress)
    return 0;
  return mg_fail("%s: NCCL says \"%s\", %s; NCCL_DEBUG=INFO shows more", what, nccl.ncclGetErrorString(result),
                 nccl.ncclGetLastError(communicator));
}

/// What tells a card from all others.
struct Card {
  char host[256] = "";
  char identity[16] = "";

  bool operator==(const Card &other) const { return std::memcmp(this, &other, sizeof *this) == 0; }
};

/// NCCL would only say that its usage is invalid.
int32_t checkCards(MgCommunicator *host, const char *axis) {
  Card mine;
  int device = 0;
  cudaDeviceProp about;
  if (cudaError_t status = cudaGetDevice(&device);
      status != cudaSuccess || (status = cudaGetDeviceProperties(&about, device)) != cudaSuccess)
    return mg_fail("reading the card's properties: CUDA says \"%s\"", cudaGetErrorString(status));
  gethostname(mine.host, sizeof mine.host - 1);
  std::memcpy(mine.identity, &about.uuid, sizeof mine.identity);
  std::vector<Card> all(size_t(host->size));
  if (host->gather(host, &mine, all.data(), sizeof mine))
    return mg_fail("%s", host->last_error());
  for (size_t rank = 0; rank < all.size(); ++rank)
    for (size_t other = 0; other < rank; ++other)
      if (all[rank] == all[other])
        return mg_fail("ranks %zu and %zu of axis %s have the same card of %s; fix: a card for each rank, chosen by LOCAL_RANK", other,
                       rank, axis, mine.host);
  return 0;
}

const char *axisName(int axis) { return axis == MG_DP ? "dp" : axis == MG_TP ? "tp" : "ep"; }

} // namespace

std::string describeNccl() {
  int version = 0;
  if (!nccl.ncclGetVersion || nccl.ncclGetVersion(&version) != ncclSuccess)
    return "";
  return "NCCL " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
}

Communicators::~Communicators() {
  for (Axis &axis : axes)
    if (axis.card)
      nccl.ncclCommDestroy(axis.card);
}

bool Communicators::isConnected() const {
  return std::ranges::any_of(axes, [](const Axis &axis) { return axis.card != nullptr; });
}

int32_t Communicators::connect(const MgAxis (&places)[MG_AXIS_COUNT]) {
  for (int index = 0; index < MG_AXIS_COUNT; ++index) {
    auto *host = static_cast<MgCommunicator *>(places[index].communicator);
    if (!host)
      continue;
    ncclUniqueId id = {};
    if (int32_t failed = checkCards(host, axisName(index)))
      return failed;
    if (int32_t failed = openLibrary())
      return failed;
    if (int32_t failed = host->rank == 0 ? checkCall(nccl.ncclGetUniqueId(&id), "making an id for the ranks", nullptr) : 0)
      return failed;
    std::vector<ncclUniqueId> ids(size_t(host->size));
    if (host->gather(host, &id, ids.data(), sizeof id))
      return mg_fail("%s", host->last_error());
    if (int32_t failed = checkCall(nccl.ncclCommInitRank(&axes[index].card, int(host->size), ids.front(), int(host->rank)),
                                   (std::string("connecting the ranks of axis ") + axisName(index)).c_str(), nullptr))
      return failed;
    axes[index].host = host;
  }
  return 0;
}

int32_t Communicators::check() const {
  for (const Axis &axis : axes) {
    if (!axis.card)
      continue;
    ncclResult_t error = ncclSuccess;
    if (axis.host->check(axis.host))
      return mg_fail("%s", axis.host->last_error());
    if (int32_t failed = checkCall(nccl.ncclCommGetAsyncError(axis.card, &error), "asking for errors", axis.card))
      return failed;
    if (int32_t failed = checkCall(error, "a collective of this step", axis.card))
      return failed;
  }
  return 0;
}

int32_t Communicators::wait(cudaStream_t stream) const {
  Clock::time_point next = Clock::now() + std::chrono::milliseconds(100);
  for (;;) {
    cudaError_t status = cudaStreamQuery(stream);
    if (status == cudaSuccess)
      return 0;
    if (status != cudaErrorNotReady)
      return mg_fail("waiting for the card: CUDA says \"%s\"", cudaGetErrorString(status));
    std::this_thread::yield();
    if (Clock::now() < next)
      continue;
    if (int32_t failed = check())
      return failed;
    next = Clock::now() + std::chrono::milliseconds(100);
  }
}

ncclComm *Communicators::find(const char *kernel, int64_t axis) const {
  if (axis >= 0 && axis < MG_AXIS_COUNT && axes[axis].card)
    return axes[axis].card;
  mg_fail("%s: axis %lld has no other ranks; fix: run the step with as many ranks as its mesh has", kernel, (long long)axis);
  return nullptr;
}

static ncclDataType_t getElement(int type) { return type == MG_F64 ? ncclFloat64 : type == MG_BF16 ? ncclBfloat16 : ncclFloat32; }

int32_t Communicators::allReduce(const char *kernel, int64_t axis, void *y, const void *x, int64_t count, int type,
                                 cudaStream_t stream) const {
  ncclComm *ranks = find(kernel, axis);
  if (!ranks)
    return 1;
  return checkCall(nccl.ncclAllReduce(x, y, size_t(count), getElement(type), ncclSum, ranks, stream), kernel, ranks);
}

int32_t Communicators::reduceScatter(const char *kernel, int64_t axis, void *y, const void *x, int64_t count, int type,
                                     cudaStream_t stream) const {
  ncclComm *ranks = find(kernel, axis);
  if (!ranks)
    return 1;
  return checkCall(nccl.ncclReduceScatter(x, y, size_t(count), getElement(type), ncclSum, ranks, stream), kernel, ranks);
}

int32_t Communicators::allGather(const char *kernel, int64_t axis, void *y, const void *x, int64_t bytes, cudaStream_t stream) const {
  ncclComm *ranks = find(kernel, axis);
  if (!ranks)
    return 1;
  return checkCall(nccl.ncclAllGather(x, y, size_t(bytes), ncclInt8, ranks, stream), kernel, ranks);
}

int32_t Communicators::exchange(const char *kernel, int64_t axis, void *y, const void *x, int64_t bytes, cudaStream_t stream) const {
  ncclComm *ranks = find(kernel, axis);
  if (!ranks)
    return 1;
  ncclResult_t result = nccl.ncclGroupStart();
  if (int32_t failed = checkCall(result, kernel, ranks))
    return failed;
  for (int64_t rank = 0; rank < axes[axis].host->size && result == ncclSuccess; ++rank) {
    result = nccl.ncclSend(static_cast<const char *>(x) + rank * bytes, size_t(bytes), ncclInt8, int(rank), ranks, stream);
    if (result == ncclSuccess)
      result = nccl.ncclRecv(static_cast<char *>(y) + rank * bytes, size_t(bytes), ncclInt8, int(rank), ranks, stream);
  }
  ncclResult_t ended = nccl.ncclGroupEnd(); // a group that was started is always ended
  return checkCall(result == ncclSuccess ? ended : result, kernel, ranks);
}

} // namespace megacc::runtime::cuda

// Ranks connected by MPI, in memory of the host. Calls that fail end the job, with MPI's own message.
#include "megacc/MeshABI.h"

#include <algorithm>
#include <cstring>
#include <mpi.h>
#include <string>

namespace {

std::string last_error;
bool joined_here = false;

/// The most bytes of one call: MPI counts with 32 bits.
constexpr int64_t most_bytes = 1 << 30;

MPI_Comm communicatorOf(const MgCommunicator *self) { return *static_cast<MPI_Comm *>(self->handle); }

int32_t exchange(MgCommunicator *self, const void *give, void *take, int64_t bytes) {
  if (bytes > most_bytes) {
    last_error = "an exchange of " + std::to_string(bytes) + " bytes with each rank, at most " + std::to_string(most_bytes);
    return 1;
  }
  return MPI_Alltoall(give, int(bytes), MPI_BYTE, take, int(bytes), MPI_BYTE, communicatorOf(self)) != MPI_SUCCESS;
}

/// In pieces where there are many bytes, each to its place.
int32_t gather(MgCommunicator *self, const void *give, void *take, int64_t bytes) {
  if (bytes <= most_bytes)
    return MPI_Allgather(give, int(bytes), MPI_BYTE, take, int(bytes), MPI_BYTE, communicatorOf(self)) != MPI_SUCCESS;
  std::string piece;
  for (int64_t first = 0; first < bytes; first += most_bytes) {
    int64_t count = std::min(most_bytes, bytes - first);
    piece.resize(size_t(count * self->size));
    if (MPI_Allgather(static_cast<const char *>(give) + first, int(count), MPI_BYTE, piece.data(), int(count), MPI_BYTE,
                      communicatorOf(self)) != MPI_SUCCESS)
      return 1;
    for (int64_t rank = 0; rank < self->size; ++rank)
      std::memcpy(static_cast<char *>(take) + rank * bytes + first, piece.data() + rank * count, size_t(count));
  }
  return 0;
}

const char *lastError() { return last_error.c_str(); }

/// The launcher ends the others of a rank that has ended.
int32_t check(MgCommunicator *) { return 0; }

MgCommunicator *makeCommunicator(MPI_Comm communicator) {
  int rank = 0, size = 1;
  MPI_Comm_rank(communicator, &rank);
  MPI_Comm_size(communicator, &size);
  return new MgCommunicator{exchange, gather, rank, size, new MPI_Comm(communicator), check, lastError};
}

int32_t join(MgCommunicator **world) {
  int initialized = 0;
  MPI_Initialized(&initialized);
  if (!initialized) {
    int provided = 0;
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
      last_error = "MPI cannot be started; fix: start the ranks with mpirun or srun";
      return 1;
    }
    joined_here = true;
  }
  *world = makeCommunicator(MPI_COMM_WORLD);
  return 0;
}

int32_t split(const int64_t *sizes, MgAxis *axes) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  int64_t place[MG_AXIS_COUNT] = {}, rest = rank;
  for (int axis : {MG_TP, MG_EP, MG_DP})
    place[axis] = rest % sizes[axis], rest /= sizes[axis];
  for (int axis = 0; axis < MG_AXIS_COUNT; ++axis) {
    axes[axis] = {place[axis], sizes[axis], nullptr};
    int64_t others = 0; // the place on the other axes, the same for those that this axis joins
    for (int other = 0; other < MG_AXIS_COUNT; ++other)
      if (other != axis)
        others = others * sizes[other] + place[other];
    MPI_Comm communicator;
    if (MPI_Comm_split(MPI_COMM_WORLD, int(others), int(place[axis]), &communicator) != MPI_SUCCESS)
      return 1;
    if (sizes[axis] > 1)
      axes[axis].communicator = makeCommunicator(communicator);
  }
  return 0;
}

void leave() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (joined_here && !finalized)
    MPI_Finalize();
}

const MgMesh mesh = {MEGACC_ABI_VERSION, join, split, leave, lastError};

} // namespace

const MgMesh *mg_mesh(void) { return &mesh; }

// Ranks connected by NCCL, which is opened where a step has several of them.
#pragma once
#include "megacc/MeshABI.h"

#include <cstdint>
#include <cuda_runtime.h>
#include <string>

/// NCCL's own: one of the ranks that a communicator connects.
struct ncclComm;

namespace megacc::runtime::cuda {

/// What connects this rank with the others of each axis. Calls return 0, or record an error.
class Communicators {
public:
  ~Communicators();

  /// Connects the ranks of every axis that has several; all of them call it. The current card is this rank's.
  int32_t connect(const MgAxis (&axes)[MG_AXIS_COUNT]);
  bool isConnected() const;
  /// Waits for a stream, and reports what NCCL says of its work or who has ended meanwhile: then the stream may never be done.
  int32_t wait(cudaStream_t stream) const;

  /// Sums `count` elements of a type over the ranks of an axis, in an order that the number of elements and the machine decide; y may be x.
  int32_t allReduce(const char *kernel, int64_t axis, void *y, const void *x, int64_t count, int type, cudaStream_t stream) const;
  /// y = what all ranks of the axis give, `bytes` each, in their order; x may be its place in y.
  int32_t allGather(const char *kernel, int64_t axis, void *y, const void *x, int64_t bytes, cudaStream_t stream) const;
  /// Gives `bytes` of x to each rank of the axis, in their order, and takes as many of each into y, which is not x.
  int32_t exchange(const char *kernel, int64_t axis, void *y, const void *x, int64_t bytes, cudaStream_t stream) const;

  /// y = this rank's part of the sum over the ranks of the axis of x, which has a part of `count` elements for each of them.
  int32_t reduceScatter(const char *kernel, int64_t axis, void *y, const void *x, int64_t count, int type, cudaStream_t stream) const;

private:
  struct Axis {
    MgCommunicator *host = nullptr;
    ncclComm *card = nullptr;
  };
  int32_t check() const;
  /// The axis's, or null after recording an error.
  ncclComm *find(const char *kernel, int64_t axis) const;

  Axis axes[MG_AXIS_COUNT];
};

/// "NCCL 2.28.9", "" where it is not used.
std::string describeNccl();

} // namespace megacc::runtime::cuda

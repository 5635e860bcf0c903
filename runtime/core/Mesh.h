// The ranks that run a step together.
#pragma once
#include "megacc/MeshABI.h"
#include "runtime/core/Descriptor.h"
#include "runtime/core/Watchdog.h"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace megacc::runtime {

/// One rank among those of a step's mesh. Of a step of one rank it is that one, and nothing is opened.
class Mesh {
public:
  /// Joins the ranks that mpirun, srun or torchrun started, as many as the step's mesh has, and compares the hash of what each of them is
  /// to run. Throws ArtifactError where their number is another or an artifact differs, std::runtime_error where the library cannot be
  /// opened.
  Mesh(const Descriptor &descriptor, const std::string &artifact_hash);
  Mesh(const Mesh &) = delete;
  Mesh &operator=(const Mesh &) = delete;

  /// Waits for the others and parts from them. A rank that fails ends without it, and the launcher ends the others.
  void leave();

  int64_t rank() const { return world ? world->rank : 0; }
  int64_t size() const { return world ? world->size : 1; }
  /// Watches over calls that wait for other ranks, from its start on.
  Watchdog &watchdog() { return dog; }
  /// What kernels see of the axes.
  const MgAxis (&axes() const)[MG_AXIS_COUNT] { return places; }
  /// Where this rank stands among those with data of their own.
  int64_t dataRank() const { return places[MG_DP].rank * places[MG_EP].size + places[MG_EP].rank; }
  /// Where a rank stands on every axis.
  void place(int64_t rank, int64_t (&ranks)[MG_AXIS_COUNT]) const;

  /// Every rank gives as many elements; all of them get those of all, in their order. All ranks call this in the same order.
  template <typename T> std::vector<T> gather(std::span<const T> mine) const {
    std::vector<T> all(mine.size() * size_t(size()));
    gatherBytes(mine.data(), all.data(), mine.size_bytes());
    return all;
  }
  /// The largest of all ranks.
  int64_t largest(int64_t mine) const;

private:
  void gatherBytes(const void *mine, void *all, size_t bytes) const;

  const MgMesh *library = nullptr;
  MgCommunicator *world = nullptr;
  Watchdog dog;
  MgAxis places[MG_AXIS_COUNT];
};

} // namespace megacc::runtime

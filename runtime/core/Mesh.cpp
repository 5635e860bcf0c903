#include "runtime/core/Mesh.h"
#include "runtime/tcp/Tcp.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>

namespace megacc::runtime {
namespace {

/// "dp = 2, tp = 1, ep = 1".
std::string describe(const int64_t (&mesh)[MG_AXIS_COUNT]) {
  std::string text;
  for (int axis = 0; axis < MG_AXIS_COUNT; ++axis)
    text += std::string(axis ? ", " : "") + axisName(axis) + " = " + std::to_string(mesh[axis]);
  return text;
}

/// Whether every rank was told its place, as torchrun does; it goes before what a launcher of the launcher says.
bool areNumbered() { return std::getenv("RANK") && std::getenv("WORLD_SIZE"); }

/// Ranks that a launcher started, as it says in the environment; 1 without one.
int64_t countStarted() {
  if (areNumbered())
    return std::max(1LL, std::atoll(std::getenv("WORLD_SIZE")));
  for (const char *name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
    if (const char *value = std::getenv(name))
      return std::max(1LL, std::atoll(value));
  return 1;
}

/// The library that connects ranks by MPI, beside the program.
const MgMesh *openLibrary() {
  std::error_code error;
  std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "libmegacc_mpi.so";
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (!library)
    throw std::runtime_error(std::string("the ranks of a mesh cannot be connected: ") + dlerror() +
                             "; fix: install MPI (openmpi-bin, libopenmpi-dev) and build again, or start the ranks with torchrun");
  auto find = reinterpret_cast<const MgMesh *(*)()>(dlsym(library, "mg_mesh"));
  const MgMesh *table = find ? find() : nullptr;
  if (!table || table->abi != MEGACC_ABI_VERSION)
    throw std::runtime_error(path.string() + ": is of another release; fix: use the library of the same release");
  return table;
}

} // namespace

Mesh::Mesh(const Descriptor &descriptor, const std::string &artifact_hash) {
  std::fill(std::begin(places), std::end(places), MgAxis{.rank = 0, .size = 1, .communicator = nullptr});
  int64_t wanted = descriptor.rankCount(), started = countStarted();
  auto refuse = [&](int64_t found) {
    throw ArtifactError("was compiled for " + std::to_string(wanted) + (wanted == 1 ? " rank (" : " ranks (") + describe(descriptor.mesh) +
                        "), " + std::to_string(found) + (found == 1 ? " is" : " are") + " started; fix: mpirun -n " +
                        std::to_string(wanted) + " megacc-run ..., or compile it with another --mesh");
  };
  if (wanted != started)
    refuse(started);
  if (wanted == 1)
    return;
  library = areNumbered() ? tcpMesh() : openLibrary();
  if (library->join(&world))
    throw std::runtime_error(library->last_error());
  if (world->size != wanted)
    refuse(world->size);
  if (library->split(descriptor.mesh, places))
    throw std::runtime_error(library->last_error());
  world = dog.watch(world, "the mesh");
  static const char *const axes[] = {"axis dp", "axis tp", "axis ep"};
  for (int axis = 0; axis < MG_AXIS_COUNT; ++axis)
    if (places[axis].communicator)
      places[axis].communicator = dog.watch(static_cast<MgCommunicator *>(places[axis].communicator), axes[axis]);
  std::vector<char> hashes = gather(std::span<const char>(artifact_hash));
  for (int64_t other = 1; other < world->size; ++other)
    if (std::string hash(hashes.data() + other * artifact_hash.size(), artifact_hash.size());
        hash != std::string(hashes.data(), artifact_hash.size()))
      throw ArtifactError("rank " + std::to_string(other) + " has the step of hash " + hash + ", rank 0 that of " +
                          std::string(hashes.data(), artifact_hash.size()) + "; fix: give all ranks the same file");
}

void Mesh::leave() {
  if (library)
    library->leave();
}

void Mesh::place(int64_t rank, int64_t (&ranks)[MG_AXIS_COUNT]) const {
  ranks[MG_TP] = rank % places[MG_TP].size, rank /= places[MG_TP].size;
  ranks[MG_EP] = rank % places[MG_EP].size, rank /= places[MG_EP].size;
  ranks[MG_DP] = rank;
}

void Mesh::gatherBytes(const void *mine, void *all, size_t bytes) const {
  if (!world)
    std::memcpy(all, mine, bytes);
  else if (world->gather(world, mine, all, int64_t(bytes)))
    throw std::runtime_error(library->last_error());
}

int64_t Mesh::largest(int64_t mine) const { return world ? std::ranges::max(gather(std::span<const int64_t>(&mine, 1))) : mine; }

} // namespace megacc::runtime

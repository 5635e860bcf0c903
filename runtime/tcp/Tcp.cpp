#include "runtime/tcp/Tcp.h"
#include "runtime/tcp/Peers.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <deque>
#include <memory>
#include <stdexcept>

namespace megacc::runtime {
namespace {

std::string last_error;
std::unique_ptr<Peers> peers;

/// The ranks of a communicator, what its handle points to.
using Ranks = std::vector<int64_t>;
std::deque<Ranks> rank_lists;
std::deque<MgCommunicator> communicators;

/// Errors do not pass through the C ABI.
template <typename Work> int32_t attempt(Work &&work) {
  try {
    work();
    return 0;
  } catch (const std::exception &error) {
    last_error = error.what();
    return 1;
  }
}

const char *lastError() { return last_error.c_str(); }

int32_t exchange(MgCommunicator *self, const void *give, void *take, int64_t bytes) {
  return attempt([&] { peers->exchange(*static_cast<Ranks *>(self->handle), give, take, size_t(bytes), /*in_parts=*/true); });
}

int32_t gather(MgCommunicator *self, const void *give, void *take, int64_t bytes) {
  return attempt([&] { peers->exchange(*static_cast<Ranks *>(self->handle), give, take, size_t(bytes), /*in_parts=*/false); });
}

int32_t check(MgCommunicator *) {
  return attempt([] { peers->check(); });
}

MgCommunicator *makeCommunicator(Ranks ranks) {
  int64_t place = std::find(ranks.begin(), ranks.end(), peers->rank()) - ranks.begin(), size = int64_t(ranks.size());
  rank_lists.push_back(std::move(ranks));
  return &communicators.emplace_back(MgCommunicator{exchange, gather, place, size, &rank_lists.back(), check, lastError});
}

/// A whole number of the environment.
int64_t readNumber(const char *name, int64_t least, int64_t most) {
  const char *text = std::getenv(name);
  std::string value = text ? text : "";
  int64_t number = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (value.empty() || error != std::errc() || end != value.data() + value.size() || number < least || number > most)
    throw std::runtime_error(std::string(name) + " is " + (text ? "'" + value + "'" : "not set") + ", expected a number from " +
                             std::to_string(least) + " to " + std::to_string(most) +
                             "; fix: start the ranks with torchrun, mpirun or srun, or set it");
  return number;
}

int32_t join(MgCommunicator **world) {
  return attempt([&] {
    const char *address = std::getenv("MASTER_ADDR"), *store = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
    if (!address || !*address)
      throw std::runtime_error("RANK and WORLD_SIZE are set and MASTER_ADDR is not; fix: set it to the host of rank 0");
    int64_t size = readNumber("WORLD_SIZE", 1, 1 << 20), rank = readNumber("RANK", 0, size - 1);
    bool is_taken = store && std::string_view(store) == "True";
    int64_t port = readNumber("MASTER_PORT", 1, 65534) + is_taken;
    peers = std::make_unique<Peers>(Peers::Meeting{rank, size, address, int(port)}, std::chrono::minutes(2));
    Ranks all(static_cast<size_t>(size));
    for (int64_t other = 0; other < size; ++other)
      all[size_t(other)] = other;
    *world = makeCommunicator(std::move(all));
  });
}

int32_t split(const int64_t *sizes, MgAxis *axes) {
  return attempt([&] {
    int64_t stride = 1;
    for (int axis : {MG_TP, MG_EP, MG_DP}) {
      int64_t place = peers->rank() / stride % sizes[axis], first = peers->rank() - place * stride;
      axes[axis] = {place, sizes[axis], nullptr};
      Ranks ranks;
      for (int64_t other = 0; other < sizes[axis]; ++other)
        ranks.push_back(first + other * stride);
      if (sizes[axis] > 1)
        axes[axis].communicator = makeCommunicator(std::move(ranks));
      stride *= sizes[axis];
    }
  });
}

void leave() {
  // Nobody ends while another may still want something of it.
  std::vector<char> all(size_t(peers->size()));
  if (gather(&communicators.front(), "", all.data(), 1) == 0)
    peers.reset();
}

const MgMesh mesh = {MEGACC_ABI_VERSION, join, split, leave, lastError};

} // namespace

const MgMesh *tcpMesh() { return &mesh; }

} // namespace megacc::runtime

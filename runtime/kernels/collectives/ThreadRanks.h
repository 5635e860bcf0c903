// For tests: the ranks of an axis as threads, which give and take through shared memory.
#pragma once
#include "megacc/MeshABI.h"

#include <barrier>
#include <cstring>
#include <thread>
#include <vector>

namespace megacc::test {

class ThreadRanks {
public:
  explicit ThreadRanks(int64_t size) : given(size_t(size)), barrier(size) {
    for (int64_t rank = 0; rank < size; ++rank)
      communicators.push_back({exchange, gather, rank, size, this, check, lastError});
  }

  /// Runs body(rank, its place on the axis) on a thread for each rank.
  template <typename Body> void run(Body &&body) {
    std::vector<std::thread> threads;
    for (MgCommunicator &self : communicators)
      threads.emplace_back([&] { body(self.rank, MgAxis{self.rank, self.size, &self}); });
    for (std::thread &thread : threads)
      thread.join();
  }

private:
  static int32_t move(MgCommunicator *self, const void *give, void *take, int64_t bytes, bool parts) {
    ThreadRanks &ranks = *static_cast<ThreadRanks *>(self->handle);
    ranks.given[size_t(self->rank)] = static_cast<const char *>(give);
    ranks.barrier.arrive_and_wait();
    for (int64_t rank = 0; rank < self->size; ++rank)
      std::memcpy(static_cast<char *>(take) + rank * bytes, ranks.given[size_t(rank)] + (parts ? self->rank * bytes : 0), size_t(bytes));
    ranks.barrier.arrive_and_wait();
    return 0;
  }
  static int32_t exchange(MgCommunicator *self, const void *give, void *take, int64_t bytes) { return move(self, give, take, bytes, true); }
  static int32_t gather(MgCommunicator *self, const void *give, void *take, int64_t bytes) { return move(self, give, take, bytes, false); }
  static int32_t check(MgCommunicator *) { return 0; }
  static const char *lastError() { return ""; }

  std::vector<const char *> given;
  std::vector<MgCommunicator> communicators;
  std::barrier<> barrier;
};

} // namespace megacc::test

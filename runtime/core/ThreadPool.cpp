#include "runtime/core/ThreadPool.h"
#include "runtime/core/Status.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace megacc::runtime {
namespace {

/// Signals are for the first thread, which has a stack for their handlers (runtime/train/Signals.h).
void blockSignals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

class ThreadPool {
public:
  static ThreadPool &get() {
    static ThreadPool pool;
    return pool;
  }

  /// Returns the error of the first thread that could not be started; the others run.
  std::error_code resize(int count) {
    stop();
    try {
      for (int i = 1; i < count; ++i)
        threads.emplace_back([this, seen = generation]() mutable { work(seen); });
    } catch (const std::system_error &error) {
      return error.code();
    }
    return {};
  }

  int size() const { return static_cast<int>(threads.size()) + 1; }

  void run(int64_t count, TileFunction body, void *state) {
    if (threads.empty() || count == 1) {
      for (int64_t tile = 0; tile < count; ++tile)
        body(state, tile);
      return;
    }
    {
      std::lock_guard lock(mutex);
      function = body, capture = state, tiles = count;
      next.store(0, std::memory_order_relaxed);
      busy = static_cast<int>(threads.size());
      ++generation;
    }
    wake.notify_all();
    drain();
    std::unique_lock lock(mutex);
    done.wait(lock, [this] { return busy == 0; });
  }

private:
  // A thread a core, or as many as the system has: nobody asked for a number yet.
  ThreadPool() { resize(static_cast<int>(std::thread::hardware_concurrency())); }
  ~ThreadPool() { stop(); }

  void stop() {
    {
      std::lock_guard lock(mutex);
      stopping = true;
    }
    wake.notify_all();
    for (std::thread &thread : threads)
      thread.join();
    threads.clear();
    stopping = false;
  }

  void drain() {
    for (int64_t tile; (tile = next.fetch_add(1, std::memory_order_relaxed)) < tiles;)
      function(capture, tile);
  }

  void work(uint64_t &seen) {
    blockSignals();
    while (true) {
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return stopping || generation != seen; });
        if (stopping)
          return;
        seen = generation;
      }
      drain();
      std::lock_guard lock(mutex);
      if (--busy == 0)
        done.notify_one();
    }
  }

  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable wake, done;
  TileFunction function = nullptr;
  void *capture = nullptr;
  int64_t tiles = 0;
  std::atomic<int64_t> next{0};
  uint64_t generation = 0;
  int busy = 0;
  bool stopping = false;
};

} // namespace

void runTiles(int64_t tiles, TileFunction function, void *capture) { ThreadPool::get().run(tiles, function, capture); }

} // namespace megacc::runtime

int32_t mg_cpu_set_threads(int32_t count) {
  auto &pool = megacc::runtime::ThreadPool::get();
  if (std::error_code error = pool.resize(count))
    return mg_fail("cannot start %d threads, only %d: %s; fix: --threads %d, or allow the process more memory (ulimit -v) and threads "
                   "(ulimit -u)",
                   int(count), pool.size(), error.message().c_str(), pool.size());
  return 0;
}

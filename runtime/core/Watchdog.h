// Watches how long ranks wait for one another: a call that waits for a rank that hangs would never say anything.
#pragma once
#include "megacc/MeshABI.h"
#include "runtime/core/Descriptor.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace megacc::runtime {

class Watchdog {
public:
  /// What it does when something is to be said; called from its own thread.
  struct Owner {
    std::function<void(const std::string &)> fail; // a call waited for longer than `patience`: says it and ends the program
    std::function<void(const std::string &)> note; // a signal came meanwhile, as a launcher's does where a rank has died: says it
    std::function<int()> signal;                   // the one that came; 0: none
  };

  Watchdog() = default;
  ~Watchdog();
  Watchdog(const Watchdog &) = delete;
  Watchdog &operator=(const Watchdog &) = delete;

  void start(std::chrono::seconds patience, Owner owner);
  /// A communicator whose calls are watched, of the ranks of `axis`, a text that stays.
  MgCommunicator *watch(MgCommunicator *inner, const char *axis);
  /// The launch whose calls follow; null: none.
  void enter(const LaunchRecord *launch);
  /// Waits for other ranks while it lives, beside calls of communicators: for a card whose work waits for them.
  class Wait {
  public:
    Wait(Watchdog &dog, const char *axis) : dog(dog) { dog.begin(axis); }
    ~Wait() { dog.end(); }
    Wait(const Wait &) = delete;
    Wait &operator=(const Wait &) = delete;

  private:
    Watchdog &dog;
  };
  /// Steps that are done.
  void noteStep(int64_t done);

private:
  using Clock = std::chrono::steady_clock;
  struct Watched {
    MgCommunicator self, *inner;
    const char *axis;
    Watchdog *dog;
  };

  template <typename Call> static int32_t call(MgCommunicator *self, Call &&call);
  static int32_t exchange(MgCommunicator *self, const void *give, void *take, int64_t bytes);
  static int32_t gather(MgCommunicator *self, const void *give, void *take, int64_t bytes);
  static int32_t check(MgCommunicator *self);
  void begin(const char *axis);
  void end();
  void run();
  /// "after step 3: waiting for the ranks of axis tp for 600 s in mg_all_reduce at blocks.0.mixer"; the mutex is held.
  std::string describe() const;

  std::deque<Watched> watched; // whose addresses stay
  std::chrono::seconds patience{0};
  Owner owner;
  std::thread thread;
  mutable std::mutex mutex;
  std::condition_variable changed;
  bool is_ending = false, is_noted = false;
  const char *waits_for = nullptr; // null: it waits for nobody
  Clock::time_point since;
  const LaunchRecord *launch = nullptr;
  int64_t steps = 0;
};

/// How long a rank waits for others: MEGACC_PATIENCE, in whole seconds from 1, or 600 s. Throws std::runtime_error.
std::chrono::seconds readPatience();

} // namespace megacc::runtime

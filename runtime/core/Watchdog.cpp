#include "runtime/core/Watchdog.h"

#include <charconv>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

namespace megacc::runtime {

using namespace std::chrono_literals;

Watchdog::~Watchdog() {
  if (!thread.joinable())
    return;
  {
    std::lock_guard lock(mutex);
    is_ending = true;
  }
  changed.notify_all();
  thread.join();
}

void Watchdog::start(std::chrono::seconds given, Owner given_owner) {
  patience = given, owner = std::move(given_owner);
  // Signals are for the first thread (Signals.h): a thread starts with the mask of the one that makes it.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

MgCommunicator *Watchdog::watch(MgCommunicator *inner, const char *axis) {
  Watched &made =
      watched.emplace_back(Watched{{exchange, gather, inner->rank, inner->size, nullptr, check, inner->last_error}, inner, axis, this});
  made.self.handle = &made;
  return &made.self;
}

template <typename Call> int32_t Watchdog::call(MgCommunicator *self, Call &&inner) {
  Watched &about = *static_cast<Watched *>(self->handle);
  Wait wait(*about.dog, about.axis);
  return inner(about.inner);
}

int32_t Watchdog::exchange(MgCommunicator *self, const void *give, void *take, int64_t bytes) {
  return call(self, [&](MgCommunicator *inner) { return inner->exchange(inner, give, take, bytes); });
}

int32_t Watchdog::gather(MgCommunicator *self, const void *give, void *take, int64_t bytes) {
  return call(self, [&](MgCommunicator *inner) { return inner->gather(inner, give, take, bytes); });
}

int32_t Watchdog::check(MgCommunicator *self) {
  MgCommunicator *inner = static_cast<Watched *>(self->handle)->inner;
  return inner->check(inner);
}

void Watchdog::begin(const char *axis) {
  std::lock_guard lock(mutex);
  waits_for = axis, since = Clock::now(), is_noted = false;
}

void Watchdog::end() {
  std::lock_guard lock(mutex);
  waits_for = nullptr;
}

void Watchdog::enter(const LaunchRecord *entered) {
  std::lock_guard lock(mutex);
  launch = entered;
}

void Watchdog::noteStep(int64_t done) {
  std::lock_guard lock(mutex);
  steps = done;
}

std::string Watchdog::describe() const {
  auto waited = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - since).count();
  return "after step " + std::to_string(steps) + ": waiting for the ranks of " + waits_for + " for " + std::to_string(waited) + " s " +
         (launch ? "in " + launch->kernel + " at \"" + launch->path + "\"" : "between launches");
}

void Watchdog::run() {
  std::unique_lock lock(mutex);
  while (!changed.wait_for(lock, 100ms, [this] { return is_ending; })) {
    if (!waits_for)
      continue;
    auto waited = Clock::now() - since;
    std::string said;
    if (waited > patience) {
      said = describe() + "; fix: see what the other ranks do, or let ranks wait longer by MEGACC_PATIENCE, in seconds (" +
             std::to_string(patience.count()) + ")";
      lock.unlock(); // the program ends; who is at work must not wait for this
      owner.fail(said);
      return;
    }
    if (int signal = is_noted || waited < 200ms ? 0 : owner.signal()) {
      owner.note("signal " + std::to_string(signal) + " " + describe());
      is_noted = true;
    }
  }
}

std::chrono::seconds readPatience() {
  const char *text = std::getenv("MEGACC_PATIENCE");
  if (!text)
    return 600s;
  std::string_view value = text;
  int64_t seconds = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (error != std::errc() || end != value.data() + value.size() || seconds < 1 || seconds > 1'000'000)
    throw std::runtime_error("MEGACC_PATIENCE is '" + std::string(value) +
                             "', expected a number of seconds from 1 to 1000000; fix: set it so, or leave it unset for 600");
  return std::chrono::seconds(seconds);
}

} // namespace megacc::runtime

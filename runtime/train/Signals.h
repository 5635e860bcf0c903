// Signals that end a run after the step that is being done.
#pragma once
#include <csignal>
#include <cstddef>
#include <iterator>
#include <memory>

namespace megacc::runtime {

/// SIGHUP, SIGINT and SIGTERM are noted while this lives; a second one ends the program at once. A pipe that nobody reads any more ends
/// nothing. Handlers run on a stack of their own: products of oneDNN point the stack pointer into the heap, and what the system saves of
/// the registers would be written over what lies before. For the thread that signals of a process go to: the first.
class SignalGuard {
public:
  SignalGuard();
  ~SignalGuard();
  SignalGuard(const SignalGuard &) = delete;
  SignalGuard &operator=(const SignalGuard &) = delete;

  /// The signal that was caught; 0: none.
  static int caught();

private:
  static constexpr int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE};
  struct sigaction old[std::size(signals)];
  stack_t old_stack;
  std::unique_ptr<std::byte[]> stack;
};

} // namespace megacc::runtime

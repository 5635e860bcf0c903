// Signals that end a run after the step that is being done.
#pragma once
#include <csignal>
#include <iterator>

namespace megacc::runtime {

/// SIGHUP, SIGINT and SIGTERM are noted while this lives; a second one ends the program at once. A pipe that nobody reads any more ends
/// nothing.
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
};

} // namespace megacc::runtime

#include "runtime/train/Signals.h"

namespace megacc::runtime {

static volatile std::sig_atomic_t caught_signal = 0;

SignalGuard::SignalGuard() {
  caught_signal = 0;
  for (size_t i = 0; i < std::size(signals); ++i) {
    struct sigaction action = {};
    action.sa_handler = [](int number) { caught_signal = number; };
    action.sa_flags = int(SA_RESETHAND);
    if (signals[i] == SIGPIPE)
      action.sa_handler = SIG_IGN, action.sa_flags = 0;
    sigaction(signals[i], &action, &old[i]);
  }
}

SignalGuard::~SignalGuard() {
  for (size_t i = 0; i < std::size(signals); ++i)
    sigaction(signals[i], &old[i], nullptr);
}

int SignalGuard::caught() { return caught_signal; }

} // namespace megacc::runtime

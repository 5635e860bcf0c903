#include "runtime/train/Signals.h"

#include <algorithm>
#include <unistd.h>

namespace megacc::runtime {

static volatile std::sig_atomic_t caught_signal = 0;

SignalGuard::SignalGuard() {
  caught_signal = 0;
  const size_t bytes = std::max<long>(sysconf(_SC_SIGSTKSZ), 64 << 10);
  stack = std::make_unique<std::byte[]>(bytes);
  stack_t own = {.ss_sp = stack.get(), .ss_flags = 0, .ss_size = bytes};
  sigaltstack(&own, &old_stack);
  for (size_t i = 0; i < std::size(signals); ++i) {
    struct sigaction action = {};
    action.sa_handler = [](int number) { caught_signal = number; };
    action.sa_flags = int(SA_RESETHAND) | SA_ONSTACK;
    if (signals[i] == SIGPIPE)
      action.sa_handler = SIG_IGN, action.sa_flags = 0;
    sigaction(signals[i], &action, &old[i]);
  }
}

SignalGuard::~SignalGuard() {
  for (size_t i = 0; i < std::size(signals); ++i)
    sigaction(signals[i], &old[i], nullptr);
  sigaltstack(&old_stack, nullptr);
}

int SignalGuard::caught() { return caught_signal; }

} // namespace megacc::runtime

#include "runtime/train/Signals.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <pthread.h>
#include <thread>
#include <ucontext.h>
#include <vector>

using namespace megacc::runtime;

namespace {

void waitForSignal() {
  while (!SignalGuard::caught())
    ;
}

} // namespace

TEST(SignalGuard, NotesASignal) {
  SignalGuard guard;
  EXPECT_EQ(SignalGuard::caught(), 0);
  raise(SIGTERM);
  EXPECT_EQ(SignalGuard::caught(), SIGTERM);
}

TEST(SignalGuard, ClosedPipesEndNothing) {
  SignalGuard guard;
  raise(SIGPIPE);
  EXPECT_EQ(SignalGuard::caught(), 0);
}

TEST(SignalGuard, PutsBackWhatWasThere) {
  struct sigaction action;
  stack_t before, after; // a sanitizer has a stack of its own
  sigaltstack(nullptr, &before);
  {
    SignalGuard guard;
    sigaltstack(nullptr, &after);
    EXPECT_NE(after.ss_sp, before.ss_sp);
  }
  sigaction(SIGINT, nullptr, &action);
  sigaltstack(nullptr, &after);
  EXPECT_EQ(action.sa_handler, SIG_DFL);
  EXPECT_EQ(after.ss_flags, before.ss_flags);
  EXPECT_EQ(after.ss_sp, before.ss_sp);
}

// As in a product of oneDNN, whose stack pointer lies in a block of the heap.
TEST(SignalGuard, WritesNothingBelowTheStackPointer) {
  SignalGuard guard;
  constexpr size_t bytes = 64 << 10, frames = 1024; // of waitForSignal() and what calls it
  std::vector<unsigned char> stack(bytes, 0xA5);
  ucontext_t here, there;
  getcontext(&there);
  there.uc_stack.ss_sp = stack.data(), there.uc_stack.ss_size = bytes, there.uc_link = &here;
  makecontext(&there, waitForSignal, 0);
  std::thread sender([main = pthread_self()] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    pthread_kill(main, SIGINT);
  });
  swapcontext(&here, &there);
  sender.join();
  EXPECT_EQ(SignalGuard::caught(), SIGINT);
  EXPECT_EQ(std::count(stack.begin(), stack.end() - frames, 0xA5), long(bytes - frames));
}

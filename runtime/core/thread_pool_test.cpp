#include "runtime/core/Status.h"
#include "runtime/core/ThreadPool.h"

#include <atomic>
#include <gtest/gtest.h>
#include <string>
#include <sys/resource.h>

using namespace megacc::runtime;

// The stacks of 4096 threads do not fit in 2 GiB: the error has both numbers, and the threads that started run every tile.
TEST(ThreadPool, ThreadsThatCannotStartAreAnError) {
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "a sanitizer needs the addresses";
#endif
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  rlimit small = before;
  small.rlim_cur = 2ull << 30;
  ASSERT_EQ(setrlimit(RLIMIT_AS, &small), 0);
  int32_t status = mg_cpu_set_threads(4096);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  EXPECT_EQ(status, 1);
  EXPECT_TRUE(std::string(mg_last_error()).starts_with("cannot start 4096 threads, only ")) << mg_last_error();
  std::atomic<int64_t> sum = 0;
  parallelFor(1000, [&](int64_t tile) { sum += tile; });
  EXPECT_EQ(sum, 499500);
  EXPECT_EQ(mg_cpu_set_threads(2), 0);
}

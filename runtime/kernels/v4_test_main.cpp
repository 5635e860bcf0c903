// The kernel tests with the library for x86-64-v4; skipped, with the exit status 77, where the processor has no AVX-512.
#include <cstdio>
#include <gtest/gtest.h>

int main(int count, char **arguments) {
  testing::InitGoogleTest(&count, arguments);
  if (!__builtin_cpu_supports("x86-64-v4")) {
    std::puts("skipped: this processor lacks x86-64-v4 (AVX-512)");
    return 77;
  }
  return RUN_ALL_TESTS();
}

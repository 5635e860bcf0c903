// Every kernel of kernels.def is exported by the library this test links.
#include <dlfcn.h>
#include <gtest/gtest.h>

TEST(Kernels, EveryListedSymbolIsExported) {
  const char *symbols[] = {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) #symbol,
#include "megacc/kernels.def"
#undef MEGACC_KERNEL
  };
  for (const char *symbol : symbols)
    EXPECT_NE(dlsym(RTLD_DEFAULT, symbol), nullptr) << symbol;
}

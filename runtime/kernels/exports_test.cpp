// Every kernel of kernels.def is exported by the library this test links.
#include "megacc/KernelSignatures.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

TEST(Kernels, EveryListedSymbolIsExported) {
  for (const megacc::KernelSignature &signature : megacc::kernelSignatures)
    EXPECT_NE(dlsym(RTLD_DEFAULT, signature.symbol), nullptr) << signature.symbol;
}

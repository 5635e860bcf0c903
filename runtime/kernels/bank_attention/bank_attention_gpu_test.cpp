#include "runtime/kernels/GpuTestSupport.h"
#include "runtime/kernels/NumericGradient.h"
#include "runtime/kernels/bank_attention/BankReference.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;
using megacc::test::BankShape;

TEST(BankAttentionGpu, Sizes) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (const BankShape &s :
         {BankShape{1, 1, 1, 1, 1.0}, BankShape{1, 5, 2, 3, 0.5}, BankShape{67, 10, 2, 4, 0.7}, BankShape{7, 300, 1, 2, 0.3}}) {
      size_t rows = size_t(s.rows * s.heads * s.dim), keys = size_t(s.bank * s.heads * s.dim);
      Values packed = randomValues(rows + 2 * keys, 1, 1, type), d_y = randomValues(rows, 2, 1, type);
      auto part = [&](size_t begin, size_t count) { return Values(packed.begin() + begin, packed.begin() + begin + count); };
      Call forward = MG_CALL(mg_bank_attention), backward = MG_CALL(mg_bank_attention_grad);
      for (Call *call : {&forward, &backward}) {
        call->give("q", type, part(0, rows)).give("k", type, part(rows, keys)).give("v", type, part(rows + keys, keys));
        call->set("rows", s.rows).set("bank", s.bank).set("heads", s.heads).set("dim", s.dim).setReal("scale", s.scale);
      }
      forward.poisoned("y", type, rows);
      ASSERT_EQ(forward.run(), "");
      auto f = [&](const Values &x) { return megacc::test::attendBank(s, x); };
      EXPECT_LT(relativeError(forward.read("y"), f(packed)), forwardLimit(type));
      backward.give("d_y", type, d_y).poisoned("d_q", type, rows).poisoned("d_k", type, keys).poisoned("d_v", type, keys);
      ASSERT_EQ(backward.run(), "");
      Values gradient = backward.read("d_q");
      for (const char *name : {"d_k", "d_v"}) {
        Values more = backward.read(name);
        gradient.insert(gradient.end(), more.begin(), more.end());
      }
      EXPECT_LT(relativeError(gradient, megacc::test::numericGradient(f, packed, d_y)), gradientLimit(type)) << s.rows << " " << s.bank;
    }
}

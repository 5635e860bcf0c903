#include "runtime/kernels/TestSupport.h"
#include "runtime/kernels/bank_attention/BankReference.h"

using namespace megacc::test;

TEST(BankAttention, MatchesFiniteDifferences) {
  for (const BankShape &s : {BankShape{1, 1, 1, 1, 1.0}, BankShape{1, 5, 2, 3, 0.5}, BankShape{3, 17, 3, 8, 0.4},
                             BankShape{67, 10, 2, 4, 0.7}, BankShape{7, 300, 1, 2, 0.3}}) {
    int64_t cols = s.heads * s.dim, rows = s.rows * cols, keys = s.bank * cols;
    Values packed = randomValues(rows + 2 * keys, 1), y(rows, NAN), d_y = randomValues(rows, 2), gradient(packed.size(), NAN);
    Operand q("q", packed.data(), rows), k("k", packed.data() + rows, keys), v("v", packed.data() + rows + keys, keys);
    Ints sizes = {{"rows", s.rows}, {"bank", s.bank}, {"heads", s.heads}, {"dim", s.dim}};
    auto f = [&](const Doubles &x) { return attendBank(s, x); };
    ASSERT_EQ(call("mg_bank_attention", {{"y", y}, q, k, v}, sizes, {{"scale", s.scale}}), 0);
    EXPECT_LT(relativeError(y, f(widen(packed))), 2e-6);
    Operand d_q("d_q", gradient.data(), rows), d_k("d_k", gradient.data() + rows, keys), d_v("d_v", gradient.data() + rows + keys, keys);
    ASSERT_EQ(call("mg_bank_attention_grad", {d_q, d_k, d_v, {"d_y", d_y}, q, k, v}, sizes, {{"scale", s.scale}}), 0);
    EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), d_y)), 1e-5) << s.rows << " " << s.bank;
  }
}

TEST(BankAttention, SameBitsAtAnyNumberOfThreads) {
  const BankShape s = {1500, 12, 2, 8, 0.4};
  int64_t cols = s.heads * s.dim;
  Values q = randomValues(s.rows * cols, 1), k = randomValues(s.bank * cols, 2), v = randomValues(s.bank * cols, 3);
  Values d_y = randomValues(s.rows * cols, 4);
  std::vector<Values> results;
  for (int32_t threads : {1, 3}) {
    ASSERT_EQ(mg_cpu_set_threads(threads), 0);
    Values d_q(q.size(), NAN), d_k(k.size(), NAN), d_v(v.size(), NAN);
    ASSERT_EQ(call("mg_bank_attention_grad", {{"d_q", d_q}, {"d_k", d_k}, {"d_v", d_v}, {"d_y", d_y}, {"q", q}, {"k", k}, {"v", v}},
                   {{"rows", s.rows}, {"bank", s.bank}, {"heads", s.heads}, {"dim", s.dim}}, {{"scale", s.scale}}),
              0);
    for (Values *part : {&d_k, &d_v})
      d_q.insert(d_q.end(), part->begin(), part->end());
    results.push_back(d_q);
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(BankAttention, LargeScoresStayFinite) {
  Values q(4, 100.0f), k = {100, 100, -100, -100}, v = {1, 2, 3, 4}, y(4, NAN);
  ASSERT_EQ(call("mg_bank_attention", {{"y", y}, {"q", q}, {"k", k}, {"v", v}}, {{"rows", 2}, {"bank", 2}, {"heads", 1}, {"dim", 2}},
                 {{"scale", 1.0}}),
            0);
  EXPECT_EQ(y, (Values{1, 2, 1, 2}));
}

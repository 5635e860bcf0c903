#include "runtime/kernels/TestSupport.h"
#include "runtime/kernels/engram/EngramReference.h"

using namespace megacc::test;

TEST(WindowSum, StopsAtTheRowAndTheDocument) {
  std::vector<int32_t> documents = {0, 0, 1, 0, 3, 3, 3, 3}; // the same id later is another document
  for (bool packed : {false, true})
    for (int64_t window : {1, 2, 3, 9})
      for (int64_t sequence : {1, 4, 8})
        for (int64_t ahead : {0, 1}) {
          const int64_t cols = 5;
          Values x = randomValues(8 * cols, 1), y(x.size(), NAN);
          std::vector<int32_t> ids = packed ? documents : std::vector<int32_t>();
          ASSERT_EQ(call("mg_window_sum", {{"y", y}, {"x", x}, Operand::documents(ids)},
                         {{"batch", 8 / sequence}, {"sequence", sequence}, {"cols", cols}, {"window", window}, {"ahead", ahead}},
                         {{"scale", 0.25}}),
                    0);
          EXPECT_LT(relativeError(y, windowSum(widen(x), ids, sequence, cols, window, ahead, 0.25)), 1e-6) << window << " " << sequence;
        }
}

TEST(WindowSum, LookingAheadIsItsGradient) {
  const int64_t cols = 3, sequence = 70;
  std::vector<int32_t> documents(2 * sequence);
  for (size_t i = 0; i < documents.size(); ++i)
    documents[i] = int32_t(i / 11);
  Values x = randomValues(documents.size() * cols, 1), d_y = randomValues(x.size(), 2), d_x(x.size(), NAN);
  ASSERT_EQ(call("mg_window_sum", {{"y", d_x}, {"x", d_y}, {"documents", documents}},
                 {{"batch", 2}, {"sequence", sequence}, {"cols", cols}, {"window", 4}, {"ahead", 1}}, {{"scale", 0.5}}),
            0);
  auto f = [&](const Doubles &v) { return windowSum(v, documents, sequence, cols, 4, false, 0.5); };
  EXPECT_LT(relativeError(d_x, numericGradient(f, widen(x), d_y)), 1e-6);
}

TEST(UnitNorm, MatchesFiniteDifferences) {
  for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {3, 13}, {67, 8}}) {
    Values x = randomValues(rows * cols, 1, 0.01f), d_y = randomValues(x.size(), 2), y(x.size(), NAN), d_x(x.size(), NAN); // eps shows
    auto f = [c = cols](const Doubles &v) { return unitNorm(v, c, 1e-5); };
    Ints sizes = {{"rows", rows}, {"cols", cols}};
    ASSERT_EQ(call("mg_unit_norm", {{"y", y}, {"x", x}}, sizes, {{"eps", 1e-5}}), 0);
    EXPECT_LT(relativeError(y, f(widen(x))), 1e-6);
    ASSERT_EQ(call("mg_unit_norm_grad", {{"d_x", d_x}, {"d_y", d_y}, {"x", x}}, sizes, {{"eps", 1e-5}}), 0);
    EXPECT_LT(relativeError(d_x, numericGradient(f, widen(x), d_y)), 1e-5);
  }
}

TEST(Alignment, MatchesFiniteDifferences) {
  for (bool root : {false, true})
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {3, 13}, {67, 8}}) {
      float scale = cols > 1 ? 1.0f : 0.01f; // a single column has a slope only where eps shows
      Values packed = randomValues(2 * rows * cols, 1, scale), gate(rows, NAN), d_gate = randomValues(rows, 2),
             gradient(packed.size(), NAN);
      Operand a("a", packed.data(), rows * cols), b("b", packed.data() + rows * cols, rows * cols);
      auto f = [c = cols, root](const Doubles &v) { return alignment(v, c, 1e-5, root); };
      Ints sizes = {{"rows", rows}, {"cols", cols}, {"root", root}};
      ASSERT_EQ(call("mg_alignment", {{"gate", gate}, a, b}, sizes, {{"eps", 1e-5}}), 0);
      EXPECT_LT(relativeError(gate, f(widen(packed))), 1e-6);
      Operand d_a("d_a", gradient.data(), rows * cols), d_b("d_b", gradient.data() + rows * cols, rows * cols);
      ASSERT_EQ(call("mg_alignment_grad", {d_a, d_b, {"d_gate", d_gate}, a, b}, sizes, {{"eps", 1e-5}}), 0);
      EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), d_gate)), 1e-5) << rows << " " << root;
    }
}

TEST(Alignment, RootIsFlatNearZero) {
  // Orthogonal rows, equal but for less than the bound, and a row of zeros.
  Values a = {1, 0, 1, 0, 0, 0}, b = {0, 1, 1e-7f, 1, 1, 1}, gate(3, NAN), d_gate = {1, 1, 1}, d_a(6, NAN), d_b(6, NAN);
  Ints sizes = {{"rows", 3}, {"cols", 2}, {"root", 1}};
  ASSERT_EQ(call("mg_alignment", {{"gate", gate}, {"a", a}, {"b", b}}, sizes, {{"eps", 1e-5}}), 0);
  EXPECT_EQ(gate[0], 0);
  EXPECT_FLOAT_EQ(gate[1], 1e-3f);
  EXPECT_EQ(gate[2], 0);
  ASSERT_EQ(call("mg_alignment_grad", {{"d_a", d_a}, {"d_b", d_b}, {"d_gate", d_gate}, {"a", a}, {"b", b}}, sizes, {{"eps", 1e-5}}), 0);
  EXPECT_EQ(d_a, Values(6, 0));
  EXPECT_EQ(d_b, Values(6, 0));
}

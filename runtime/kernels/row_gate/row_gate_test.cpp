#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

TEST(RowGate, MatchesFiniteDifferences) {
  for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {100, 1}, {3, 13}, {67, 8}}) {
    Values packed = randomValues(rows * cols + rows, 1), y(rows * cols, NAN), d_y = randomValues(y.size(), 2), gradient(packed.size(), NAN);
    float *x = packed.data(), *gate = x + rows * cols;
    auto f = [r = rows, c = cols](const Doubles &v) {
      Doubles result(r * c);
      for (int64_t i = 0; i < r * c; ++i)
        result[i] = v[i] / (1 + std::exp(-v[r * c + i / c]));
      return result;
    };
    Operand given_x("x", x, rows * cols), given_gate("gate", gate, rows);
    Ints sizes = {{"rows", rows}, {"cols", cols}};
    ASSERT_EQ(call("mg_row_gate", {{"y", y}, given_x, given_gate}, sizes), 0);
    EXPECT_LT(relativeError(y, f(widen(packed))), 1e-6);
    ASSERT_EQ(
        call("mg_row_gate_grad",
             {{"d_x", gradient.data(), rows * cols}, {"d_gate", gradient.data() + rows * cols, rows}, {"d_y", d_y}, given_x, given_gate},
             sizes),
        0);
    EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), d_y)), 1e-6);
  }
}

TEST(RowScale, MatchesFiniteDifferences) {
  for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {3, 13}, {67, 8}}) {
    Values packed = randomValues(rows * cols + rows, 1), y(rows * cols, NAN), d_y = randomValues(y.size(), 2), gradient(packed.size(), NAN);
    packed[rows * cols] = 0; // a row without a pick
    float *x = packed.data(), *scale = x + rows * cols;
    auto f = [r = rows, c = cols](const Doubles &v) {
      Doubles result(r * c);
      for (int64_t i = 0; i < r * c; ++i)
        result[i] = v[i] * v[r * c + i / c];
      return result;
    };
    Operand given_x("x", x, rows * cols), given_scale("scale", scale, rows);
    Ints sizes = {{"rows", rows}, {"cols", cols}};
    ASSERT_EQ(call("mg_row_scale", {{"y", y}, given_x, given_scale}, sizes), 0);
    EXPECT_LT(relativeError(y, f(widen(packed))), 1e-6);
    Operand d_x("d_x", gradient.data(), rows * cols), d_scale("d_scale", gradient.data() + rows * cols, rows);
    ASSERT_EQ(call("mg_row_scale_grad", {d_x, d_scale, {"d_y", d_y}, given_x, given_scale}, sizes), 0);
    EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), d_y)), 1e-6);
  }
}

#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

struct Gate {
  int64_t rows, cols;

  /// y of x, v, gate and skip, one after the other.
  Doubles operator()(const Doubles &all) const {
    const double *x = all.data(), *v = x + rows * cols, *gate = v + rows * cols, *skip = gate + rows * cols;
    Doubles y(rows * cols);
    for (int64_t i = 0; i < rows * cols; ++i)
      y[i] = (x[i] + skip[i % cols] * v[i]) * gate[i] / (1 + std::exp(-gate[i]));
    return y;
  }
};

void check(int64_t rows, int64_t cols) {
  int64_t count = rows * cols;
  Values all = randomValues(3 * count + cols, 1), d_y = randomValues(count, 2), y(count, NAN), d_all(all.size(), NAN);
  Values partial((rows + 63) / 64 * cols, NAN);
  Gate reference{rows, cols};
  float *x = all.data(), *v = x + count, *gate = v + count, *skip = gate + count, *d = d_all.data();
  ASSERT_EQ(call(mg_skip_gate, {y.data(), x, v, gate, skip}, {rows, cols}), 0);
  EXPECT_LT(relativeError(y, reference(widen(all))), 1e-5);
  std::vector<void *> operands = {d, d + count, d + 2 * count, d + 3 * count, d_y.data(), x, v, gate, skip, partial.data()};
  ASSERT_EQ(call(mg_skip_gate_grad, operands, {rows, cols, 1}), 0);
  EXPECT_LT(relativeError(d_all, numericGradient(reference, widen(all), d_y)), 1e-4);
  Values once(d + 3 * count, d + 3 * count + cols);
  ASSERT_EQ(call(mg_skip_gate_grad, operands, {rows, cols, 1}, {}, 1), 0);
  for (int64_t j = 0; j < cols; ++j) {
    EXPECT_NE(once[j], 0.0f);
    EXPECT_NEAR(d[3 * count + j], 2 * once[j], 1e-4 * std::abs(once[j]));
  }
}

} // namespace

TEST(SkipGate, OneToken) { check(1, 3); }
TEST(SkipGate, CrossesATile) { check(70, 5); }

TEST(SkipGate, SameBitsAtAnyNumberOfThreads) {
  const int64_t rows = 300, cols = 130, count = rows * cols;
  Values all = randomValues(3 * count + cols, 1), d_y = randomValues(count, 2), first;
  for (int threads : {1, 2, 3}) {
    mg_cpu_set_threads(threads);
    Values d(all.size(), NAN), partial(5 * cols, NAN);
    float *x = all.data();
    ASSERT_EQ(call(mg_skip_gate_grad, {d.data(), d.data() + count, d.data() + 2 * count, d.data() + 3 * count, d_y.data(), x, x + count,
                                       x + 2 * count, x + 3 * count, partial.data()}, {rows, cols, 1}), 0);
    if (first.empty())
      first = d;
    EXPECT_EQ(d, first);
  }
}

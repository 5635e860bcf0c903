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
  Gate reference{rows, cols};
  float *x = all.data(), *v = x + count, *gate = v + count, *skip = gate + count, *d = d_all.data();
  std::vector<Operand> inputs = {{"x", x, count}, {"v", v, count}, {"gate", gate, count}, {"skip", skip, cols}}, operands = inputs;
  operands.push_back({"y", y});
  ASSERT_EQ(call("mg_skip_gate", operands, {{"rows", rows}, {"cols", cols}}), 0);
  EXPECT_LT(relativeError(y, reference(widen(all))), 1e-5);
  operands = inputs;
  operands.insert(
      operands.end(),
      {{"d_x", d, count}, {"d_v", d + count, count}, {"d_gate", d + 2 * count, count}, {"d_skip", d + 3 * count, cols}, {"d_y", d_y}});
  ASSERT_EQ(call("mg_skip_gate_grad", operands, {{"rows", rows}, {"cols", cols}, {"accumulate", 1}}), 0);
  EXPECT_LT(relativeError(d_all, numericGradient(reference, widen(all), d_y)), 1e-4);
  Values once(d + 3 * count, d + 3 * count + cols);
  ASSERT_EQ(call("mg_skip_gate_grad", operands, {{"rows", rows}, {"cols", cols}, {"accumulate", 1}}, {}, 1), 0);
  for (int64_t j = 0; j < cols; ++j) {
    EXPECT_NE(once[j], 0.0f);
    EXPECT_NEAR(d[3 * count + j], 2 * once[j], 1e-4 * std::abs(once[j]));
  }
  ASSERT_EQ(call("mg_skip_gate_grad", operands, {{"rows", rows}, {"cols", cols}, {"accumulate", 2}}), 0);
  for (int64_t j = 0; j < cols; ++j)
    EXPECT_NEAR(d[3 * count + j], 3 * once[j], 1e-4 * std::abs(once[j]));
}

} // namespace

TEST(SkipGate, OneToken) { check(1, 3); }
TEST(SkipGate, CrossesATile) { check(70, 5); }

TEST(SkipGate, SameBitsAtAnyNumberOfThreads) {
  const int64_t rows = 300, cols = 130, count = rows * cols;
  Values all = randomValues(3 * count + cols, 1), d_y = randomValues(count, 2), first;
  for (int threads : {1, 2, 3}) {
    mg_cpu_set_threads(threads);
    Values d(all.size(), NAN);
    std::vector<Operand> operands = {{"d_y", d_y}};
    const char *names[] = {"x", "v", "gate", "skip"};
    for (int i = 0; i < 4; ++i) {
      operands.push_back({names[i], all.data() + i * count, i < 3 ? count : cols});
      operands.push_back({std::string("d_") + names[i], d.data() + i * count, i < 3 ? count : cols});
    }
    ASSERT_EQ(call("mg_skip_gate_grad", operands, {{"rows", rows}, {"cols", cols}, {"accumulate", 1}}), 0);
    if (first.empty())
      first = d;
    EXPECT_EQ(d, first);
  }
}

#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

constexpr double eps = 1e-5;

struct Norm {
  int64_t rows, cols;

  /// y of x, gate and weight, one after the other.
  Doubles operator()(const Doubles &all) const {
    const double *x = all.data(), *gate = x + rows * cols, *weight = gate + rows * cols;
    Doubles y(rows * cols);
    for (int64_t row = 0; row < rows; ++row) {
      double square = 0;
      for (int64_t j = 0; j < cols; ++j)
        square += x[row * cols + j] * x[row * cols + j];
      for (int64_t j = 0; j < cols; ++j) {
        int64_t i = row * cols + j;
        y[i] = x[i] / std::sqrt(square / double(cols) + eps) * weight[j] * gate[i] / (1 + std::exp(-gate[i]));
      }
    }
    return y;
  }
};

/// Small rows show eps.
void check(int64_t rows, int64_t cols, float scale) {
  int64_t count = rows * cols;
  Values all = randomValues(2 * count + cols, 1), d_y = randomValues(count, 2), y(count, NAN), d_all(all.size(), NAN);
  for (int64_t i = 0; i < count; ++i)
    all[i] *= scale;
  Norm reference{rows, cols};
  float *x = all.data(), *d = d_all.data();
  std::vector<Operand> inputs = {{"x", x, count}, {"gate", x + count, count}, {"weight", x + 2 * count, cols}}, operands = inputs;
  operands.push_back({"y", y});
  ASSERT_EQ(call("mg_gated_norm", operands, {{"rows", rows}, {"cols", cols}}, {{"eps", eps}}), 0);
  EXPECT_LT(relativeError(y, reference(widen(all))), 1e-5);
  operands = inputs;
  operands.insert(operands.end(), {{"d_x", d, count}, {"d_gate", d + count, count}, {"d_weight", d + 2 * count, cols}, {"d_y", d_y}});
  ASSERT_EQ(call("mg_gated_norm_grad", operands, {{"rows", rows}, {"cols", cols}, {"accumulate", 1}}, {{"eps", eps}}), 0);
  Doubles expected = numericGradient(reference, widen(all), d_y);
  for (auto [begin, size] : {std::pair<int64_t, int64_t>(0, count), {count, count}, {2 * count, cols}})
    EXPECT_LT(relativeError(Values(d + begin, d + begin + size), Doubles(expected.begin() + begin, expected.begin() + begin + size)), 1e-4)
        << "operand at " << begin;
  Values once(d + 2 * count, d + 2 * count + cols);
  ASSERT_EQ(call("mg_gated_norm_grad", operands, {{"rows", rows}, {"cols", cols}, {"accumulate", 1}}, {{"eps", eps}}, 1), 0);
  for (int64_t j = 0; j < cols; ++j) {
    EXPECT_NE(once[j], 0.0f);
    EXPECT_NEAR(d[2 * count + j], 2 * once[j], 1e-4 * std::abs(once[j]));
  }
}

} // namespace

TEST(GatedNorm, OneRow) { check(1, 3, 1); }
TEST(GatedNorm, CrossesATile) { check(70, 5, 1); }
TEST(GatedNorm, SmallRows) { check(9, 16, 3e-3f); }

TEST(GatedNorm, SameBitsAtAnyNumberOfThreads) {
  const int64_t rows = 300, cols = 130, count = rows * cols;
  Values all = randomValues(2 * count + cols, 1), d_y = randomValues(count, 2), first;
  for (int threads : {1, 2, 3}) {
    mg_cpu_set_threads(threads);
    Values d(all.size(), NAN);
    std::vector<Operand> operands = {{"d_y", d_y}};
    const char *names[] = {"x", "gate", "weight"};
    for (int i = 0; i < 3; ++i) {
      operands.push_back({names[i], all.data() + i * count, i < 2 ? count : cols});
      operands.push_back({std::string("d_") + names[i], d.data() + i * count, i < 2 ? count : cols});
    }
    ASSERT_EQ(call("mg_gated_norm_grad", operands, {{"rows", rows}, {"cols", cols}, {"accumulate", 1}}, {{"eps", eps}}), 0);
    if (first.empty())
      first = d;
    EXPECT_EQ(d, first);
  }
}

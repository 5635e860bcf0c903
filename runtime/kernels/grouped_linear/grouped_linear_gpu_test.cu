#include "runtime/cuda/TestSupport.cuh"

using namespace megacc::test;

namespace {

/// The matrix units drop low bits of long sums: 1.6e-5 was seen for 11,000 terms.
constexpr double fp32_tolerance = 4e-5;

struct Shape {
  std::vector<int32_t> offsets;
  int64_t rows, in, out;
};

/// Expert sizes without and with rows at the start, inside and at the end; sizes for all widths of tiles and for the plain kernel.
const Shape shapes[] = {
    {{0, 1}, 1, 8, 8},
    {{0, 1}, 1, 1, 1},
    {{0, 0, 3, 3, 8, 8}, 11, 5, 3},
    {{0, 0, 0}, 4, 16, 24},
    {{0, 0, 300, 301, 301, 900}, 1000, 200, 328},
    {{0, 5, 260, 260, 900}, 950, 448, 224},
    {{0, 129, 129, 700}, 700, 224, 896},
    {{0, 64, 320, 449}, 600, 256, 512},
    {{0, 255, 511, 513, 1100}, 1111, 520, 264},
    {{0, 7, 9000, 9001, 20000, 24000}, 24100, 72, 128},           // more tiles than blocks
    {{0, 3, 3, 70, 71, 200, 203, 300, 310, 400, 404, 405, 500, 600, 650, 700}, 701, 512, 1280},
};

struct Data {
  Shape s;
  int64_t experts;
  Bf16 x, weight, d_y;

  explicit Data(const Shape &shape)
      : s(shape), experts(int64_t(s.offsets.size()) - 1), x(randomBf16(s.rows * s.in, 1)), weight(randomBf16(experts * s.out * s.in, 2)),
        d_y(randomBf16(s.rows * s.out, 3)) {
    std::fill(x.begin() + tail() * s.in, x.end(), __float2bfloat16(NAN)); // nobody reads the tail
    std::fill(d_y.begin() + tail() * s.out, d_y.end(), __float2bfloat16(NAN));
  }

  int64_t tail() const { return s.offsets.back(); }
  std::vector<int64_t> ints() const { return {s.rows, s.in, s.out, experts}; }

  /// y, d_x and d_weight in float64.
  void reference(Doubles &y, Doubles &d_x, Doubles &d_weight) const {
    Doubles x64 = widen(x), w64 = widen(weight), g64 = widen(d_y);
    y.assign(s.rows * s.out, 0), d_x.assign(s.rows * s.in, 0), d_weight.assign(w64.size(), 0);
    for (int64_t e = 0; e < experts; ++e)
      for (int64_t t = s.offsets[e]; t < s.offsets[e + 1]; ++t)
        for (int64_t o = 0; o < s.out; ++o) {
          const double *w = &w64[(e * s.out + o) * s.in], *row = &x64[t * s.in], g = g64[t * s.out + o];
          double *dw = &d_weight[(e * s.out + o) * s.in], *dx = &d_x[t * s.in], sum = 0;
          for (int64_t i = 0; i < s.in; ++i) {
            sum += row[i] * w[i];
            dx[i] += g * w[i];
            dw[i] += g * row[i];
          }
          y[t * s.out + o] = sum;
        }
  }
};

class GroupedLinearOnDevice : public OnDevice, public testing::WithParamInterface<Shape> {};

} // namespace

TEST_P(GroupedLinearOnDevice, MatchesTheReference) {
  Data data(GetParam());
  Doubles y, d_x, d_weight;
  data.reference(y, d_x, d_weight);
  Device<__nv_bfloat16> x(data.x), weight(data.weight), gradient(data.d_y), result(y.size()), input(d_x.size());
  Device<float> sum(d_weight.size());
  Device<int32_t> offsets(data.s.offsets);
  Device<char> scratch(0);
  ASSERT_EQ(run(mg_grouped_linear, {result, x, weight, offsets, scratch}, data.ints()), 0) << mg_last_error();
  Bf16 first = result.get();
  EXPECT_LT(relativeError(first, y), 4e-3);
  ASSERT_EQ(run(mg_grouped_linear_grad_input, {input, gradient, weight, offsets, scratch}, data.ints()), 0) << mg_last_error();
  Bf16 first_input = input.get();
  EXPECT_LT(relativeError(first_input, d_x), 4e-3);
  for (int64_t i = data.tail() * data.s.out; i < int64_t(y.size()); ++i)
    ASSERT_EQ(toDouble(first[i]), 0.0) << i;
  for (int64_t i = data.tail() * data.s.in; i < int64_t(d_x.size()); ++i)
    ASSERT_EQ(toDouble(first_input[i]), 0.0) << i;

  std::vector<int64_t> ints = data.ints();
  ints.push_back(1);
  ASSERT_EQ(run(mg_grouped_linear_grad_weight, {sum, gradient, x, offsets, scratch}, ints), 0) << mg_last_error();
  Values first_sum = sum.get();
  EXPECT_LT(relativeError(first_sum, d_weight), fp32_tolerance);
  // A later micro-batch adds, and leaves alone what no row reaches.
  ASSERT_EQ(run(mg_grouped_linear_grad_weight, {sum, gradient, x, offsets, scratch}, ints, {}, 1), 0) << mg_last_error();
  Doubles twice = d_weight;
  for (double &value : twice)
    value *= 2;
  EXPECT_LT(relativeError(sum.get(), twice), fp32_tolerance);

  // The same bits again.
  Device<__nv_bfloat16> result_again(y.size()), input_again(d_x.size());
  Device<float> sum_again(d_weight.size());
  ASSERT_EQ(run(mg_grouped_linear, {result_again, x, weight, offsets, scratch}, data.ints()), 0);
  ASSERT_EQ(run(mg_grouped_linear_grad_input, {input_again, gradient, weight, offsets, scratch}, data.ints()), 0);
  ASSERT_EQ(run(mg_grouped_linear_grad_weight, {sum_again, gradient, x, offsets, scratch}, ints), 0);
  EXPECT_TRUE(sameBits(result_again.get(), first));
  EXPECT_TRUE(sameBits(input_again.get(), first_input));
  EXPECT_TRUE(sameBits(sum_again.get(), first_sum));
}

INSTANTIATE_TEST_SUITE_P(Shapes, GroupedLinearOnDevice, testing::ValuesIn(shapes));

TEST_F(OnDevice, GroupedLinearRefusesOtherTypes) {
  Device<float> y(64), x(64), weight(64);
  Device<int32_t> offsets(std::vector<int32_t>{0, 8});
  EXPECT_NE(run(mg_grouped_linear, {y, x, weight, offsets, {}}, {8, 8, 8, 1}), 0);
  EXPECT_STREQ(mg_last_error(), "mg_grouped_linear: y is f32, this kernel takes bf16; fix: compile the declaration again");
}

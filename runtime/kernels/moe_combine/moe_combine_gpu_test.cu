#include "runtime/cuda/TestSupport.cuh"

#include <algorithm>

using namespace megacc::test;

namespace {

struct Shape {
  int64_t tokens, cols, kept, experts;
};

/// Picks of random experts, about a quarter of them none; rows sorted by expert, then token.
struct Picks {
  std::vector<int32_t> position, offsets;

  explicit Picks(const Shape &s) : position(s.tokens * s.kept, -1), offsets(s.experts + 1) {
    std::mt19937 generator(7);
    std::vector<int32_t> expert(position.size(), -1);
    for (int64_t t = 0; t < s.tokens; ++t)
      for (int64_t k = 0, count = generator() % 4 ? s.kept : generator() % (s.kept + 1); k < count; ++k)
        expert[t * s.kept + k] = int32_t((t * 5 + k + generator() % 2 * s.kept) % s.experts);
    int32_t row = 0;
    for (int32_t e = 0; e < s.experts; ++e) {
      offsets[e] = row;
      for (size_t pick = 0; pick < expert.size(); ++pick)
        if (expert[pick] == e)
          position[pick] = row++;
    }
    offsets[s.experts] = row;
  }
};

class MoeCombineOnDevice : public OnDevice, public testing::WithParamInterface<Shape> {};

} // namespace

TEST_P(MoeCombineOnDevice, MatchesTheReference) {
  const Shape s = GetParam();
  const Picks picks(s);
  const int64_t count = s.tokens * s.kept, used = picks.offsets.back();
  std::vector<int64_t> ints = {s.tokens, s.cols, s.kept, s.experts};
  Device<int32_t> position(picks.position), offsets(picks.offsets);

  Bf16 x = randomBf16(s.tokens * s.cols, 1), expected(count * s.cols, __float2bfloat16(0.0f));
  for (int64_t pick = 0; pick < count; ++pick)
    if (picks.position[pick] >= 0)
      std::copy_n(&x[pick / s.kept * s.cols], s.cols, &expected[picks.position[pick] * s.cols]);
  Device<__nv_bfloat16> x_device(x), rows(count * s.cols);
  ASSERT_EQ(run(mg_moe_dispatch, {rows, x_device, position, offsets}, ints), 0) << mg_last_error();
  EXPECT_TRUE(sameBits(rows.get(), expected));

  Bf16 out = randomBf16(count * s.cols, 2), d_y = randomBf16(s.tokens * s.cols, 4);
  std::fill(out.begin() + used * s.cols, out.end(), __float2bfloat16(NAN)); // nobody reads an empty row
  Values weights = randomValues(count, 3);
  Doubles y(s.tokens * s.cols), plain(y.size()), d_rows(out.size()), d_weights(count);
  for (int64_t pick = 0; pick < count; ++pick)
    for (int64_t j = 0; j < s.cols && picks.position[pick] >= 0; ++j) {
      int64_t from = picks.position[pick] * s.cols + j, to = pick / s.kept * s.cols + j;
      double value = toDouble(out[from]), g = toDouble(d_y[to]);
      y[to] += weights[pick] * value, plain[to] += value;
      d_rows[from] = weights[pick] * g, d_weights[pick] += g * value;
    }
  Device<__nv_bfloat16> out_device(out), d_y_device(d_y), y_device(y.size()), d_rows_device(out.size());
  Device<float> weights_device(weights), d_weights_device(count), in_place(count);
  ASSERT_EQ(run(mg_moe_combine, {y_device, out_device, weights_device, position}, {s.tokens, s.cols, s.kept}), 0) << mg_last_error();
  EXPECT_LT(relativeError(y_device.get(), y), 4e-3);
  ASSERT_EQ(run(mg_moe_combine, {y_device, out_device, {}, position}, {s.tokens, s.cols, s.kept}), 0) << mg_last_error();
  EXPECT_LT(relativeError(y_device.get(), plain), 4e-3);
  ASSERT_EQ(run(mg_moe_combine_grad, {d_rows_device, d_weights_device, d_y_device, out_device, weights_device, position, offsets}, ints), 0)
      << mg_last_error();
  EXPECT_LT(relativeError(d_rows_device.get(), d_rows), 4e-3);
  EXPECT_LT(relativeError(d_weights_device.get(), d_weights), 2e-6);
  Bf16 got = d_rows_device.get();
  for (int64_t i = used * s.cols; i < count * s.cols; ++i)
    ASSERT_EQ(toDouble(got[i]), 0.0) << i;
  ASSERT_EQ(run(mg_moe_combine_grad, {out_device, in_place, d_y_device, out_device, weights_device, position, offsets}, ints), 0);
  EXPECT_TRUE(sameBits(out_device.get(), d_rows_device.get()));
  EXPECT_TRUE(sameBits(in_place.get(), d_weights_device.get()));
}

INSTANTIATE_TEST_SUITE_P(Shapes, MoeCombineOnDevice,
                         testing::Values(Shape{1, 1, 1, 1}, Shape{3, 11, 2, 2}, Shape{67, 40, 3, 5}, Shape{300, 1096, 4, 16}, Shape{50, 3584, 6, 9}));

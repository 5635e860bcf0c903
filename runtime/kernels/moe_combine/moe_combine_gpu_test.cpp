#include "runtime/kernels/GpuTestSupport.h"

#include <algorithm>
#include <gtest/gtest.h>

using namespace megacc::gpu;

namespace {

struct Shape {
  int64_t tokens, cols, kept, experts;
};

/// Picks of random experts, about a quarter of them none; rows sorted by expert, then token.
struct Picks {
  Values position, offsets;

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

class MoeCombineGpu : public testing::TestWithParam<Shape> {};

} // namespace

TEST_P(MoeCombineGpu, MatchesTheReference) {
  MG_NEEDS_CARD();
  const Shape s = GetParam();
  const Picks picks(s);
  const int64_t count = s.tokens * s.kept, used = int64_t(picks.offsets.back());
  auto setSizes = [&](Call &call) {
    call.give("position", MG_I32, picks.position).set("tokens", s.tokens).set("cols", s.cols).set("kept", s.kept).set("experts", s.experts);
  };

  Values x = randomValues(s.tokens * s.cols, 1), moved(count * s.cols);
  for (int64_t pick = 0; pick < count; ++pick)
    if (picks.position[pick] >= 0)
      std::copy_n(&x[pick / s.kept * s.cols], s.cols, &moved[int64_t(picks.position[pick]) * s.cols]);
  Call dispatch = MG_CALL(mg_moe_dispatch);
  dispatch.poisoned("rows", MG_BF16, count * s.cols).give("x", MG_BF16, x).give("offsets", MG_I32, picks.offsets);
  setSizes(dispatch);
  ASSERT_EQ(dispatch.run(), "");
  EXPECT_EQ(dispatch.read("rows"), moved); // zeros where no pick is

  Values out = randomValues(count * s.cols, 2), d_y = randomValues(s.tokens * s.cols, 4), weights = randomValues(count, 3, 1, MG_F32);
  std::fill(out.begin() + used * s.cols, out.end(), NAN); // nobody reads an empty row
  Values y(s.tokens * s.cols), plain(y.size()), d_rows(out.size()), d_weights(count);
  for (int64_t pick = 0; pick < count; ++pick)
    for (int64_t j = 0; j < s.cols && picks.position[pick] >= 0; ++j) {
      int64_t from = int64_t(picks.position[pick]) * s.cols + j, to = pick / s.kept * s.cols + j;
      y[to] += weights[pick] * out[from], plain[to] += out[from];
      d_rows[from] = weights[pick] * d_y[to], d_weights[pick] += d_y[to] * out[from];
    }
  for (bool weighted : {true, false}) {
    Call combine = MG_CALL(mg_moe_combine);
    combine.poisoned("y", MG_BF16, y.size()).give("rows", MG_BF16, out);
    if (weighted)
      combine.give("weights", MG_F32, weights);
    setSizes(combine);
    ASSERT_EQ(combine.run(), "");
    EXPECT_LT(relativeError(combine.read("y"), weighted ? y : plain), 4e-3);
    // An addend at the place of the result.
    Call more = MG_CALL(mg_moe_combine);
    more.give("y", MG_BF16, x).give("rows", MG_BF16, out).share("addend", "y");
    if (weighted)
      more.give("weights", MG_F32, weights);
    setSizes(more);
    ASSERT_EQ(more.run(), "");
    Values sum = weighted ? y : plain;
    for (size_t i = 0; i < sum.size(); ++i)
      sum[i] += x[i];
    EXPECT_LT(relativeError(more.read("y"), sum), 4e-3);
  }
  Call gradient = MG_CALL(mg_moe_combine_grad);
  gradient.poisoned("d_rows", MG_BF16, out.size())
      .poisoned("d_weights", MG_F32, count)
      .give("d_y", MG_BF16, d_y)
      .give("rows", MG_BF16, out);
  gradient.give("weights", MG_F32, weights).give("offsets", MG_I32, picks.offsets);
  setSizes(gradient);
  ASSERT_EQ(gradient.run(), "");
  Values got = gradient.read("d_rows");
  EXPECT_LT(relativeError(got, d_rows), 4e-3);
  EXPECT_EQ(std::count_if(got.begin() + used * s.cols, got.end(), [](double value) { return value != 0; }), 0);
  EXPECT_LT(relativeError(gradient.read("d_weights"), d_weights), 2e-6);

  // d_rows may take the place of rows.
  Call in_place = MG_CALL(mg_moe_combine_grad);
  in_place.give("d_rows", MG_BF16, out).poisoned("d_weights", MG_F32, count).give("d_y", MG_BF16, d_y).share("rows", "d_rows");
  in_place.give("weights", MG_F32, weights).give("offsets", MG_I32, picks.offsets);
  setSizes(in_place);
  ASSERT_EQ(in_place.run(), "");
  EXPECT_EQ(in_place.readBytes("d_rows"), gradient.readBytes("d_rows"));
  EXPECT_EQ(in_place.readBytes("d_weights"), gradient.readBytes("d_weights"));
}

INSTANTIATE_TEST_SUITE_P(Shapes, MoeCombineGpu,
                         testing::Values(Shape{1, 1, 1, 1}, Shape{3, 11, 2, 2}, Shape{67, 40, 3, 5}, Shape{300, 1096, 4, 16},
                                         Shape{50, 3584, 6, 9}));

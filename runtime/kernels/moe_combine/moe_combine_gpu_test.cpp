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

  Values out = randomValues(count * s.cols, 2), y(s.tokens * s.cols);
  std::fill(out.begin() + used * s.cols, out.end(), NAN); // nobody reads an empty row
  for (int64_t pick = 0; pick < count; ++pick)
    for (int64_t j = 0; j < s.cols && picks.position[pick] >= 0; ++j)
      y[pick / s.kept * s.cols + j] += out[int64_t(picks.position[pick]) * s.cols + j];
  Call combine = MG_CALL(mg_moe_combine);
  combine.poisoned("y", MG_BF16, y.size()).give("rows", MG_BF16, out);
  setSizes(combine);
  ASSERT_EQ(combine.run(), "");
  EXPECT_LT(relativeError(combine.read("y"), y), 4e-3);
  // An addend at the place of the result.
  Call more = MG_CALL(mg_moe_combine);
  more.give("y", MG_BF16, x).give("rows", MG_BF16, out).share("addend", "y");
  setSizes(more);
  ASSERT_EQ(more.run(), "");
  for (size_t i = 0; i < y.size(); ++i)
    y[i] += x[i];
  EXPECT_LT(relativeError(more.read("y"), y), 4e-3);

  Values weights = randomValues(count, 3, 1, MG_F32), rows(count), d_rows = randomValues(count, 4, 1, MG_F32), d_weights(count);
  std::fill(d_rows.begin() + used, d_rows.end(), NAN);
  for (int64_t pick = 0; pick < count; ++pick)
    if (picks.position[pick] >= 0)
      rows[int64_t(picks.position[pick])] = weights[pick], d_weights[pick] = d_rows[int64_t(picks.position[pick])];
  Call moveWeights = MG_CALL(mg_moe_dispatch_weights);
  moveWeights.poisoned("rows", MG_F32, count).give("weights", MG_F32, weights).give("offsets", MG_I32, picks.offsets);
  moveWeights.give("position", MG_I32, picks.position).set("picks", count).set("experts", s.experts);
  ASSERT_EQ(moveWeights.run(), "");
  EXPECT_EQ(moveWeights.read("rows"), rows);
  Call back = MG_CALL(mg_moe_dispatch_weights_grad);
  back.poisoned("d_weights", MG_F32, count).give("d_rows", MG_F32, d_rows).give("position", MG_I32, picks.position).set("picks", count);
  ASSERT_EQ(back.run(), "");
  EXPECT_EQ(back.read("d_weights"), d_weights);
}

INSTANTIATE_TEST_SUITE_P(Shapes, MoeCombineGpu,
                         testing::Values(Shape{1, 1, 1, 1}, Shape{3, 11, 2, 2}, Shape{67, 40, 3, 5}, Shape{300, 1096, 4, 16},
                                         Shape{50, 3584, 6, 9}));

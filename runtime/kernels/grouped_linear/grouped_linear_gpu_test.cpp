#include "runtime/kernels/GpuTestSupport.h"

#include <algorithm>
#include <gtest/gtest.h>

using namespace megacc::gpu;

namespace {

/// The matrix units drop low bits of long sums: 1.6e-5 was seen for 11,000 terms.
constexpr double fp32_limit = 4e-5;

struct Shape {
  Values offsets;
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
    {{0, 7, 9000, 9001, 20000, 24000}, 24100, 72, 128}, // more tiles than blocks
    {{0, 3, 3, 70, 71, 200, 203, 300, 310, 400, 404, 405, 500, 600, 650, 700}, 701, 512, 1280},
};

struct Data {
  Shape s;
  int64_t experts, tail;
  Values x, weight, d_y, y, d_x, d_weight; // the last three in float64

  explicit Data(const Shape &shape)
      : s(shape), experts(int64_t(s.offsets.size()) - 1), tail(int64_t(s.offsets.back())), x(randomValues(s.rows * s.in, 1)),
        weight(randomValues(experts * s.out * s.in, 2)), d_y(randomValues(s.rows * s.out, 3)), y(d_y.size()), d_x(x.size()),
        d_weight(weight.size()) {
    std::fill(x.begin() + tail * s.in, x.end(), NAN); // nobody reads the tail
    std::fill(d_y.begin() + tail * s.out, d_y.end(), NAN);
    for (int64_t e = 0; e < experts; ++e)
      for (int64_t t = int64_t(s.offsets[e]); t < int64_t(s.offsets[e + 1]); ++t)
        for (int64_t o = 0; o < s.out; ++o) {
          const double *w = &weight[(e * s.out + o) * s.in], *row = &x[t * s.in], g = d_y[t * s.out + o];
          double *dw = &d_weight[(e * s.out + o) * s.in], *dx = &d_x[t * s.in], sum = 0;
          for (int64_t i = 0; i < s.in; ++i) {
            sum += row[i] * w[i];
            dx[i] += g * w[i];
            dw[i] += g * row[i];
          }
          y[t * s.out + o] = sum;
        }
  }

  void setSizes(Call &call) const {
    call.give("offsets", MG_I32, s.offsets).set("rows", s.rows).set("in", s.in).set("out", s.out).set("experts", experts);
  }
};

int64_t countNonzero(const Values &values, int64_t begin) {
  return std::count_if(values.begin() + begin, values.end(), [](double value) { return value != 0; });
}

class GroupedLinearGpu : public testing::TestWithParam<Shape> {};

} // namespace

TEST_P(GroupedLinearGpu, MatchesTheReference) {
  MG_NEEDS_CARD();
  const Data data(GetParam());
  Call forward = MG_CALL(mg_grouped_linear);
  data.setSizes(forward.poisoned("y", MG_BF16, data.y.size()).give("x", MG_BF16, data.x).give("weight", MG_BF16, data.weight));
  ASSERT_EQ(forward.run(), "");
  EXPECT_LT(relativeError(forward.read("y"), data.y), 4e-3);
  EXPECT_EQ(countNonzero(forward.read("y"), data.tail * data.s.out), 0);

  Call input = MG_CALL(mg_grouped_linear_grad_input);
  data.setSizes(input.poisoned("d_x", MG_BF16, data.d_x.size()).give("d_y", MG_BF16, data.d_y).give("weight", MG_BF16, data.weight));
  ASSERT_EQ(input.run(), "");
  EXPECT_LT(relativeError(input.read("d_x"), data.d_x), 4e-3);
  EXPECT_EQ(countNonzero(input.read("d_x"), data.tail * data.s.in), 0);

  // A later micro-batch adds, and leaves alone what no row reaches.
  Values ones(data.d_weight.size(), 1), added = data.d_weight;
  for (double &value : added)
    value += 1;
  for (auto [accumulate, micro_batch] : {std::pair(0, 1), {1, 0}, {1, 1}, {2, 0}}) {
    bool adds = accumulate == 2 || (accumulate == 1 && micro_batch > 0);
    Call sums = MG_CALL(mg_grouped_linear_grad_weight);
    adds ? sums.give("d_weight", MG_F32, ones) : sums.poisoned("d_weight", MG_F32, ones.size());
    data.setSizes(sums.give("d_y", MG_BF16, data.d_y).give("x", MG_BF16, data.x).set("accumulate", accumulate).at(micro_batch));
    ASSERT_EQ(sums.run(), "");
    EXPECT_LT(relativeError(sums.read("d_weight"), adds ? added : data.d_weight), fp32_limit);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, GroupedLinearGpu, testing::ValuesIn(shapes));

TEST(GroupedLinearOnGpu, RefusesOtherTypes) {
  MG_NEEDS_CARD();
  Call call = MG_CALL(mg_grouped_linear);
  call.poisoned("y", MG_F32, 64).poisoned("x", MG_F32, 64).poisoned("weight", MG_F32, 64).give("offsets", MG_I32, {0, 8});
  call.set("rows", 8).set("in", 8).set("out", 8).set("experts", 1);
  EXPECT_EQ(call.run(), "mg_grouped_linear: y is f32, this kernel takes bf16; fix: compile the declaration again");
}

#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

namespace {

constexpr double eps = 1e-5;

void check(int64_t rows, int64_t cols, MgType type) {
  SCOPED_TRACE(testing::Message() << rows << " x " << cols << " type " << type);
  Values x = randomValues(rows * cols, 1, 1, type), weight = randomValues(cols, 2, 1, type), d_y = randomValues(rows * cols, 3, 1, type);
  Values y(x.size()), rstd(rows), d_x(x.size()), d_weight(cols);
  for (int64_t t = 0; t < rows; ++t) {
    double squares = 0, product = 0;
    for (int64_t j = 0; j < cols; ++j)
      squares += x[t * cols + j] * x[t * cols + j], product += d_y[t * cols + j] * weight[j] * x[t * cols + j];
    double r = rstd[t] = 1 / std::sqrt(squares / cols + eps);
    for (int64_t j = 0; j < cols; ++j) {
      int64_t at = t * cols + j;
      y[at] = x[at] * r * weight[j];
      d_x[at] = r * (d_y[at] * weight[j] - x[at] * r * r * product / cols);
      d_weight[j] += d_y[at] * x[at] * r;
    }
  }
  Call forward = MG_CALL(mg_rms_norm);
  forward.give("x", type, x).give("weight", type, weight).poisoned("y", type, x.size()).poisoned("rstd", MG_F32, rows);
  forward.poisoned("nonfinite", MG_F32, 1).set("rows", rows).set("cols", cols).setReal("eps", eps);
  ASSERT_EQ(forward.run(), "");
  EXPECT_LT(relativeError(forward.read("y"), y), forwardLimit(type));
  EXPECT_LT(relativeError(forward.read("rstd"), rstd), 1e-5);
  EXPECT_EQ(forward.read("nonfinite")[0], 0);

  // With an addend the forward is that of the rounded sum, to the bit, and the backward adds it.
  Values addend = randomValues(x.size(), 4, 1, type);
  Call whole = MG_CALL(mg_rms_norm);
  whole.give("x", type, x).give("weight", type, weight).give("addend", type, addend).poisoned("y", type, x.size());
  whole.poisoned("sum", type, x.size()).poisoned("rstd", MG_F32, rows).set("rows", rows).set("cols", cols).setReal("eps", eps);
  ASSERT_EQ(whole.run(), "");
  Values sum = x, added = d_x;
  for (size_t i = 0; i < sum.size(); ++i)
    sum[i] += addend[i], added[i] += addend[i];
  EXPECT_LT(relativeError(whole.read("sum"), sum), forwardLimit(type));
  Call plain = MG_CALL(mg_rms_norm);
  plain.give("x", type, whole.read("sum")).give("weight", type, weight).poisoned("y", type, x.size()).poisoned("rstd", MG_F32, rows);
  plain.set("rows", rows).set("cols", cols).setReal("eps", eps);
  ASSERT_EQ(plain.run(), "");
  EXPECT_EQ(whole.readBytes("y"), plain.readBytes("y"));
  EXPECT_EQ(whole.readBytes("rstd"), plain.readBytes("rstd"));
  Call grad = MG_CALL(mg_rms_norm_grad);
  grad.give("d_y", type, d_y).give("x", type, x).give("weight", type, weight).give("d_x", type, addend).share("addend", "d_x");
  grad.poisoned("d_weight", MG_F32, cols).set("rows", rows).set("cols", cols).set("accumulate", 0).setReal("eps", eps);
  ASSERT_EQ(grad.run(), "");
  EXPECT_LT(relativeError(grad.read("d_x"), added), gradientLimit(type));

  std::vector<char> bits;
  for (bool has_rstd : {true, false}) {
    Call backward = MG_CALL(mg_rms_norm_grad);
    backward.give("d_y", type, d_y).give("x", type, x).give("weight", type, weight).poisoned("d_x", type, x.size());
    backward.give("d_weight", MG_F32, Values(cols, 1)).set("rows", rows).set("cols", cols).set("accumulate", 1).setReal("eps", eps).at(1);
    if (has_rstd)
      backward.give("rstd", MG_F32, forward.read("rstd"));
    ASSERT_EQ(backward.run(), "");
    Values sums = backward.read("d_weight");
    for (double &sum : sums)
      sum -= 1;
    EXPECT_LT(relativeError(backward.read("d_x"), d_x), gradientLimit(type));
    EXPECT_LT(relativeError(sums, d_weight), gradientLimit(type));
    if (has_rstd)
      bits = backward.readBytes("d_x");
    else
      EXPECT_EQ(backward.readBytes("d_x"), bits);
  }
}

} // namespace

TEST(RmsNormGpu, Sizes) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32}) {
    for (int64_t cols : {1, 14, 45, 64, 300, 512, 704, 2048, 3584, 5000, 16384})
      check(cols > 4000 ? 5 : 77, cols, type);
    check(1, 64, type);
    check(1500, 704, type);
  }
}

TEST(RmsNormGpu, RaisesItsFlag) {
  MG_NEEDS_CARD();
  for (double bad : {double(INFINITY), double(NAN), 1e30}) {
    Values x(3 * 64, 1.0);
    x[100] = bad;
    Call forward = MG_CALL(mg_rms_norm);
    forward.give("x", MG_BF16, x)
        .give("weight", MG_BF16, Values(64, 1.0))
        .poisoned("y", MG_BF16, x.size())
        .poisoned("nonfinite", MG_F32, 1);
    forward.set("rows", 3).set("cols", 64).setReal("eps", eps);
    ASSERT_EQ(forward.run(), "");
    EXPECT_EQ(forward.read("nonfinite")[0], 1) << bad;
  }
  Call later = MG_CALL(mg_rms_norm);
  later.give("x", MG_BF16, Values(64, 1.0))
      .give("weight", MG_BF16, Values(64, 1.0))
      .poisoned("y", MG_BF16, 64)
      .give("nonfinite", MG_F32, {1});
  later.set("rows", 1).set("cols", 64).setReal("eps", eps).at(1);
  ASSERT_EQ(later.run(), "");
  EXPECT_EQ(later.read("nonfinite")[0], 1);
}

TEST(RmsNormGpu, RefusesWideRows) {
  MG_NEEDS_CARD();
  Call forward = MG_CALL(mg_rms_norm);
  forward.give("x", MG_BF16, {1})
      .give("weight", MG_BF16, {1})
      .poisoned("y", MG_BF16, 1)
      .set("rows", 1)
      .set("cols", 16385)
      .setReal("eps", eps);
  EXPECT_NE(forward.run().find("cols is 16385, at most 16384"), std::string::npos);
}

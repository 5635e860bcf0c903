#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

int32_t shift(Values &y, const Values &x, const std::vector<int32_t> &documents, int64_t batch, int64_t sequence, int64_t cols,
              int64_t distance) {
  return call("mg_shift", {{"y", y}, {"x", x}, Operand::documents(documents)},
              {{"batch", batch}, {"sequence", sequence}, {"cols", cols}, {"distance", distance}});
}

/// One row.
int32_t shiftTargets(std::vector<int32_t> &shifted, const std::vector<int32_t> &targets, const std::vector<int32_t> &documents,
                     int64_t distance) {
  return call("mg_shift_targets", {{"shifted", shifted}, {"targets", targets}, Operand::documents(documents)},
              {{"batch", 1}, {"sequence", int64_t(targets.size())}, {"distance", distance}});
}

} // namespace

TEST(Shift, StaysInTheRowAndTheDocument) {
  Values x = {1, 2, 3, 4, 5, 6, 7, 8}, y(8, NAN);
  std::vector<int32_t> documents = {0, 0, 1, 0, 3, 3, 3, 3};
  ASSERT_EQ(shift(y, x, {}, 2, 4, 1, 1), 0);
  EXPECT_EQ(y, (Values{2, 3, 4, 0, 6, 7, 8, 0}));
  ASSERT_EQ(shift(y, x, {}, 2, 4, 1, -3), 0);
  EXPECT_EQ(y, (Values{0, 0, 0, 1, 0, 0, 0, 5}));
  ASSERT_EQ(shift(y, x, documents, 2, 4, 1, 1), 0);
  EXPECT_EQ(y, (Values{2, 0, 0, 0, 6, 7, 8, 0}));
  ASSERT_EQ(shift(y, x, documents, 2, 4, 1, 3), 0); // the same id later is another document
  EXPECT_EQ(y, (Values{0, 0, 0, 0, 8, 0, 0, 0}));
}

TEST(Shift, BackIsItsGradient) {
  const int64_t cols = 3, rows = 2 * 70;
  Values x = randomValues(rows * cols, 1), d_y = randomValues(rows * cols, 2), y(x.size(), NAN), d_x(x.size(), NAN);
  ASSERT_EQ(shift(y, x, {}, 2, 70, cols, 2), 0);
  ASSERT_EQ(shift(d_x, d_y, {}, 2, 70, cols, -2), 0);
  double forward = 0, backward = 0;
  for (size_t i = 0; i < x.size(); ++i)
    forward += double(y[i]) * d_y[i], backward += double(x[i]) * d_x[i];
  EXPECT_NEAR(forward, backward, 1e-5);
}

TEST(Shift, TargetsOutsideAreIgnored) {
  std::vector<int32_t> targets = {5, -100, 7, 8}, shifted(4), documents = {1, 1, 2, 2};
  ASSERT_EQ(shiftTargets(shifted, targets, {}, 1), 0);
  EXPECT_EQ(shifted, (std::vector<int32_t>{-100, 7, 8, -1}));
  ASSERT_EQ(shiftTargets(shifted, targets, documents, 1), 0);
  EXPECT_EQ(shifted, (std::vector<int32_t>{-100, -1, 8, -1}));
  ASSERT_EQ(shiftTargets(shifted, targets, {}, 4), 0);
  EXPECT_EQ(shifted, (std::vector<int32_t>{-1, -1, -1, -1}));
}

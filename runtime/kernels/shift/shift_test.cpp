#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

TEST(Shift, StaysInTheRowAndTheDocument) {
  Values x = {1, 2, 3, 4, 5, 6, 7, 8}, y(8, NAN);
  std::vector<int32_t> documents = {0, 0, 1, 0, 3, 3, 3, 3};
  ASSERT_EQ(call(mg_shift, {y.data(), x.data(), nullptr}, {2, 4, 1, 1}), 0);
  EXPECT_EQ(y, (Values{2, 3, 4, 0, 6, 7, 8, 0}));
  ASSERT_EQ(call(mg_shift, {y.data(), x.data(), nullptr}, {2, 4, 1, -3}), 0);
  EXPECT_EQ(y, (Values{0, 0, 0, 1, 0, 0, 0, 5}));
  ASSERT_EQ(call(mg_shift, {y.data(), x.data(), documents.data()}, {2, 4, 1, 1}), 0);
  EXPECT_EQ(y, (Values{2, 0, 0, 0, 6, 7, 8, 0}));
  ASSERT_EQ(call(mg_shift, {y.data(), x.data(), documents.data()}, {2, 4, 1, 3}), 0); // the same id later is another document
  EXPECT_EQ(y, (Values{0, 0, 0, 0, 8, 0, 0, 0}));
}

TEST(Shift, BackIsItsGradient) {
  const int64_t cols = 3, rows = 2 * 70;
  Values x = randomValues(rows * cols, 1), d_y = randomValues(rows * cols, 2), y(x.size(), NAN), d_x(x.size(), NAN);
  ASSERT_EQ(call(mg_shift, {y.data(), x.data(), nullptr}, {2, 70, cols, 2}), 0);
  ASSERT_EQ(call(mg_shift, {d_x.data(), d_y.data(), nullptr}, {2, 70, cols, -2}), 0);
  double forward = 0, backward = 0;
  for (size_t i = 0; i < x.size(); ++i)
    forward += double(y[i]) * d_y[i], backward += double(x[i]) * d_x[i];
  EXPECT_NEAR(forward, backward, 1e-5);
}

TEST(Shift, TargetsOutsideAreIgnored) {
  std::vector<int32_t> targets = {5, -100, 7, 8}, shifted(4), documents = {1, 1, 2, 2};
  ASSERT_EQ(call(mg_shift_targets, {shifted.data(), targets.data(), nullptr}, {1, 4, 1}), 0);
  EXPECT_EQ(shifted, (std::vector<int32_t>{-100, 7, 8, -1}));
  ASSERT_EQ(call(mg_shift_targets, {shifted.data(), targets.data(), documents.data()}, {1, 4, 1}), 0);
  EXPECT_EQ(shifted, (std::vector<int32_t>{-100, -1, 8, -1}));
  ASSERT_EQ(call(mg_shift_targets, {shifted.data(), targets.data(), nullptr}, {1, 4, 4}), 0);
  EXPECT_EQ(shifted, (std::vector<int32_t>{-1, -1, -1, -1}));
}

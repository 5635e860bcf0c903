#include "megacc/Random.h"
#include "runtime/kernels/TestSupport.h"

#include <cmath>

using namespace megacc::test;

namespace {

/// Whole matrices of `experts`, as one piece each.
struct Shape {
  int64_t experts = 1, rows = 0, cols = 0;
  size_t count() const { return size_t(experts * rows * cols); }

  /// The integers of a launch, with those that are its own.
  Ints with(Ints own) const {
    own.insert(own.end(), {{"experts", experts}, {"rows", rows}, {"cols", cols}, {"first", 0}, {"run", rows}, {"stride", rows}});
    own.insert(own.end(), {{"piece_rows", rows}, {"pieces", 1}, {"spacing", 0}, {"accumulate", 0}});
    return own;
  }
};

int32_t fire(Values &weight, Values *m, Values &report, const Shape &s, bool shape) {
  return call("mg_fire", {{"weight", weight}, m ? Operand("m", *m) : Operand("m", nullptr), {"v", nullptr}, {"report", report}},
              s.with({{"iterations", 10}, {"shape", shape}}));
}

int32_t dash(Values &weight, Values &m, Values &report, const Shape &s, bool gentle, bool resets) {
  return call("mg_dash", {{"weight", weight}, {"m", m}, {"v", nullptr}, {"gradient", nullptr}, {"report", report}},
              s.with({{"gentle", gentle}, {"resets", resets}}), {{"floor", 0.3}, {"rate", 0.2}, {"margin", 0.05}});
}

double norm(const float *x, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += double(x[i]) * x[i];
  return std::sqrt(sum);
}

} // namespace

TEST(Fire, MakesIsometriesOfTheSameNorm) {
  for (const Shape &s : {Shape{2, 5, 12}, Shape{1, 17, 6}, Shape{1, 1, 9}, Shape{3, 8, 8}}) {
    Values weight = randomValues(s.count(), 1), before = weight, m = randomValues(s.count(), 2), report(4);
    ASSERT_EQ(fire(weight, &m, report, s, false), 0);
    int64_t side = std::min(s.rows, s.cols), longer = std::max(s.rows, s.cols), size = s.rows * s.cols;
    for (int64_t expert = 0; expert < s.experts; ++expert) {
      const float *w = weight.data() + expert * size;
      double scale = norm(before.data() + expert * size, size) / std::sqrt(double(side));
      EXPECT_NEAR(norm(w, size), scale * std::sqrt(double(side)), 1e-4);
      for (int64_t i = 0; i < side; ++i)
        for (int64_t j = 0; j < side; ++j) {
          double dot = 0;
          for (int64_t k = 0; k < longer; ++k)
            dot += s.rows <= s.cols ? double(w[i * s.cols + k]) * w[j * s.cols + k] : double(w[k * s.cols + i]) * w[k * s.cols + j];
          EXPECT_NEAR(dot / (scale * scale), i == j, 1e-4);
        }
    }
    EXPECT_EQ(report[0], float(s.experts));
    EXPECT_LT(report[3], 1e-4f);
    EXPECT_EQ(m, Values(s.count()));
  }
}

TEST(Fire, LeavesZerosAndMomentsThatItWasNotGiven) {
  Shape s{2, 4, 6};
  Values weight(s.count()), report(4);
  std::fill(weight.begin() + 24, weight.end(), 0.5f);
  ASSERT_EQ(fire(weight, nullptr, report, s, true), 0);
  for (int64_t i = 0; i < 24; ++i)
    EXPECT_EQ(weight[i], 0.0f);
  EXPECT_GT(std::abs(weight[24]), 0.0f);
}

TEST(Dash, ShrinksByTheCosineOfEveryRow) {
  Shape s{2, 7, 9};
  for (bool gentle : {false, true}) {
    Values weight = randomValues(s.count(), 3), m = randomValues(s.count(), 4), report(3);
    std::fill_n(weight.begin() + 9, 9, 0.0f); // a zero row, a row without a direction, one against and one along its own
    std::fill_n(m.begin() + 18, 9, 0.0f);
    for (int i = 0; i < 9; ++i)
      m[27 + i] = 2 * weight[27 + i], m[36 + i] = -3 * weight[36 + i];
    Values before = weight, moments = m;
    ASSERT_EQ(dash(weight, m, report, s, gentle, gentle), 0);
    double sum = 0, shrunk = 0;
    for (int64_t row = 0; row < 14; ++row) {
      const float *w = before.data() + row * 9, *d = moments.data() + row * 9;
      double dot = 0, factor = 1;
      for (int i = 0; i < 9; ++i)
        dot -= double(w[i]) * d[i];
      if (double lengths = norm(w, 9) * norm(d, 9); lengths > 0) {
        double cosine = dot / lengths;
        factor = gentle ? 1 - 0.2 * std::max(-cosine - 0.05, 0.0) : std::min(std::max(cosine, 0.3), 1.0);
      }
      sum += factor, shrunk += factor < 1;
      for (int i = 0; i < 9; ++i)
        EXPECT_NEAR(weight[row * 9 + i], factor * w[i], 1e-6);
    }
    EXPECT_EQ(report[0], 14.0f);
    EXPECT_NEAR(report[1], shrunk, 1.0); // the row along its own may round below 1
    EXPECT_NEAR(report[2], sum, 1e-5);
    EXPECT_EQ(m, gentle ? Values(s.count()) : moments);
  }
}

TEST(Redo, DrawsTheNumbersOfTheSpecification) {
  const int64_t width = 6, cols = 4;
  Values up(width * cols, 1.0f), down(cols * width, 2.0f), up_m(width * cols, 3.0f), down_m(cols * width, 4.0f), report(1);
  Values activity = {0.1f, 5, 5, 5, 5, 5};
  std::vector<int32_t> step = {1000};
  std::vector<int64_t> table = {int64_t(megacc::streamKey(0, "redo.blocks.1.mixer.up.weight")), 0};
  EXPECT_EQ(uint64_t(table[0]), 0x7161DAC113967DBBu);
  auto run = [&](int64_t seen) {
    return call("mg_redo",
                {{"up", up},
                 {"up_m", up_m},
                 {"up_v", nullptr},
                 {"down", down},
                 {"down_m", down_m},
                 {"down_v", nullptr},
                 {"activity", activity},
                 {"picks", nullptr},
                 {"step", step},
                 {"table", table},
                 {"report", report}},
                {{"experts", 1}, {"width", width}, {"cols", cols}, {"halves", 1}, {"seen", seen}, {"least", 20}, {"numbers", 2}},
                {{"tau", 0.1}, {"deviation", 0.02}});
  };
  ASSERT_EQ(run(19), 0);
  EXPECT_EQ(report[0], -1.0f);
  EXPECT_EQ(up, Values(width * cols, 1.0f));
  ASSERT_EQ(run(20), 0);
  EXPECT_EQ(report[0], 1.0f);
  const float expected[] = {0.01661138f, -0.01592158f, -0.02387074f, -0.02030537f};
  for (int64_t i = 0; i < width * cols; ++i) {
    EXPECT_NEAR(up[i], i < cols ? expected[i] : 1.0f, 1e-8);
    EXPECT_EQ(up_m[i], i < cols ? 0.0f : 3.0f);
    EXPECT_EQ(down[i], i % width ? 2.0f : 0.0f);
    EXPECT_EQ(down_m[i], i % width ? 4.0f : 0.0f);
  }
}

TEST(AbsColumnSum, AddsTheRowsOfEveryExpert) {
  const int64_t rows = 11, cols = 70;
  Values x = randomValues(rows * cols, 5), sum(2 * cols, 9.0f);
  std::vector<int32_t> offsets = {0, 4, 9}; // two rows hold nothing
  ASSERT_EQ(call("mg_abs_column_sum", {{"sum", sum}, {"x", x}, {"offsets", offsets}},
                 {{"rows", rows}, {"cols", cols}, {"experts", 2}, {"accumulate", 0}}),
            0);
  for (int64_t expert = 0; expert < 2; ++expert)
    for (int64_t column = 0; column < cols; ++column) {
      double expected = 0;
      for (int64_t row = offsets[expert]; row < offsets[expert + 1]; ++row)
        expected += std::abs(double(x[row * cols + column]));
      EXPECT_NEAR(sum[expert * cols + column], expected, 1e-5);
    }
}

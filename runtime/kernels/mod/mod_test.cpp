#include "runtime/kernels/TestSupport.h"
#include "runtime/kernels/mod/ModReference.h"

#include <algorithm>
#include <array>

using namespace megacc;
using namespace megacc::test;

namespace {

using Positions = std::vector<int32_t>;

Positions select(const Values &logits, int64_t batch, int64_t sequence, int64_t keep) {
  Positions position(batch * sequence, 77);
  EXPECT_EQ(call("mg_mod_select", {{"position", position}, {"logits", logits}}, {{"batch", batch}, {"sequence", sequence}, {"keep", keep}}),
            0);
  return position;
}

} // namespace

TEST(Mod, SelectsTheLargest) {
  for (auto [batch, sequence, keep] : {std::array<int64_t, 3>{1, 1, 1}, {3, 7, 1}, {2, 130, 65}, {2, 40, 40}, {1, 1000, 10}}) {
    Values logits = randomValues(batch * sequence, 1);
    EXPECT_EQ(select(logits, batch, sequence, keep), expectPositions<int32_t>(logits, batch, sequence, keep));
    for (float &logit : logits) // many of them equal
      logit = std::round(logit);
    EXPECT_EQ(select(logits, batch, sequence, keep), expectPositions<int32_t>(logits, batch, sequence, keep));
  }
}

TEST(Mod, OfEqualLogitsTheEarlierIsKept) {
  EXPECT_EQ(select(Values(6, 0.25f), 2, 3, 2), (Positions{0, 1, -1, 0, 1, -1}));
  EXPECT_EQ(select({-0.0f, 0.0f, -0.0f, 0.0f}, 1, 4, 2), (Positions{0, 1, -1, -1}));
  EXPECT_EQ(select({-1, -INFINITY, INFINITY, -1, 1e-40f, -1e-40f}, 1, 6, 3), (Positions{-1, -1, 0, -1, 1, 2}));
  // Numbers that are not: as many are kept all the same, and later kernels stay in their bounds.
  EXPECT_EQ(select({NAN, -1, NAN, NAN}, 1, 4, 2), (Positions{0, 1, -1, -1}));
}

TEST(Mod, RowsGoThereAndBack) {
  for (auto [batch, sequence, keep, cols] : {std::array<int64_t, 4>{1, 1, 1, 1}, {2, 7, 3, 5}, {3, 50, 49, 9}}) {
    int64_t rows = batch * sequence, kept = batch * keep;
    Values packed = randomValues(kept * cols + rows, 1), y(rows * cols, NAN), d_y = randomValues(y.size(), 2), gradient(packed.size(), NAN);
    float *x = packed.data(), *logits = x + kept * cols;
    Positions position = expectPositions<int32_t>(Values(logits, logits + rows), batch, sequence, keep);
    auto f = [=, &position, sequence = sequence, keep = keep, cols = cols](const Doubles &v) {
      Doubles result(rows * cols);
      for (int64_t i = 0; i < rows * cols; ++i)
        if (int64_t t = i / cols; position[t] >= 0)
          result[i] = v[(t / sequence * keep + position[t]) * cols + i % cols] / (1 + std::exp(-v[kept * cols + t]));
      return result;
    };
    Ints ints = {{"batch", batch}, {"sequence", sequence}, {"keep", keep}, {"cols", cols}};
    Operand given_x("x", x, kept * cols), given_logits("logits", logits, rows), given_position("position", position);
    ASSERT_EQ(call("mg_mod_put", {{"y", y}, given_x, given_logits, given_position}, ints), 0);
    EXPECT_LT(relativeError(y, f(widen(packed))), 1e-6);
    ASSERT_EQ(call("mg_mod_put_grad",
                   {{"d_x", gradient.data(), kept * cols},
                    {"d_logits", gradient.data() + kept * cols, rows},
                    {"d_y", d_y},
                    given_x,
                    given_logits,
                    given_position},
                   ints),
              0);
    EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), d_y)), 1e-5);
    // Without gates the kept rows come back as they were.
    Values taken(kept * cols, NAN);
    ASSERT_EQ(call("mg_mod_put", {{"y", y}, given_x, given_position}, ints), 0);
    ASSERT_EQ(call("mg_mod_take", {{"y", taken}, {"x", y}, given_position}, ints), 0);
    EXPECT_EQ(taken, Values(x, x + kept * cols));
  }
}

TEST(Mod, LossMatchesFiniteDifferences) {
  for (int64_t rows : {1, 3, 300}) {
    Values logits = randomValues(rows, 1, 3), loss(1, NAN), gradient(rows, NAN);
    logits[0] = 200; // far beyond what exp holds
    Positions position(rows);
    for (int64_t t = 0; t < rows; ++t)
      position[t] = t % 3 ? int32_t(t) : -1;
    int64_t tokens = 2 * rows;
    auto f = [&](const Doubles &r) {
      double sum = 0;
      for (int64_t t = 0; t < rows; ++t)
        sum += std::max(r[t], 0.0) + std::log1p(std::exp(-std::abs(r[t]))) - (position[t] < 0 ? 0 : r[t]);
      return Doubles{0.25 / double(tokens) * sum};
    };
    ASSERT_EQ(call("mg_mod_loss", {{"loss", loss}, {"logits", logits}, {"position", position}}, {{"rows", rows}, {"tokens", tokens}},
                   {{"aux", 0.25}}),
              0);
    EXPECT_LT(relativeError(loss, f(widen(logits))), 1e-6);
    ASSERT_EQ(call("mg_mod_loss_grad", {{"d_logits", gradient}, {"logits", logits}, {"position", position}}, {{"rows", rows}},
                   {{"scale", 0.25 / double(tokens)}}),
              0);
    EXPECT_LT(relativeError(gradient, numericGradient(f, widen(logits), Values{1})), 1e-5);
  }
}

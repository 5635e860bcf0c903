#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

TEST(Rope, RotatesPairsAndTurnsBack) {
  const int64_t batch = 2, sequence = 35, heads = 3, head_dim = 7, offset = 1, width = 4;
  Values x = randomValues(batch * sequence * heads * head_dim, 1), y(x.size()), back(x.size());
  Doubles expected = widen(x);
  for (int64_t t = 0; t < batch * sequence; ++t)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t j = 0; j < width / 2; ++j) {
        double *pair = expected.data() + (t * heads + h) * head_dim + offset + j, a = pair[0], b = pair[width / 2];
        double angle = double(t % sequence) * std::pow(500.0, -2.0 * j / width);
        pair[0] = a * std::cos(angle) - b * std::sin(angle);
        pair[width / 2] = a * std::sin(angle) + b * std::cos(angle);
      }
  Ints ints = {{"rows", batch * sequence}, {"sequence", sequence}, {"heads", heads}, {"head_dim", head_dim},
               {"offset", offset},         {"width", width},       {"inverse", 0}};
  ASSERT_EQ(call("mg_rope", {{"y", y}, {"x", x}}, ints, {{"theta", 500.0}}), 0);
  EXPECT_LT(relativeError(y, expected), 1e-6);
  // The inverse is the gradient, since a rotation is orthogonal.
  ints.back().second = 1;
  ASSERT_EQ(call("mg_rope", {{"y", back}, {"x", y}}, ints, {{"theta", 500.0}}), 0);
  EXPECT_LT(relativeError(back, widen(x)), 1e-6);
}

TEST(Rope, TurnsTheFirstPairsAlone) {
  const int64_t sequence = 9, heads = 2, head_dim = 11, offset = 2, width = 8;
  Values x = randomValues(sequence * heads * head_dim, 1), whole(x.size()), some(x.size()), back(x.size());
  Ints ints = {{"rows", sequence}, {"sequence", sequence}, {"heads", heads}, {"head_dim", head_dim},
               {"offset", offset}, {"width", width},       {"inverse", 0}};
  ASSERT_EQ(call("mg_rope", {{"y", whole}, {"x", x}}, ints, {{"theta", 500.0}}), 0);
  for (int64_t pairs : {1, 3}) {
    Ints with = ints;
    with.emplace_back("pairs", pairs);
    ASSERT_EQ(call("mg_partial_rope", {{"y", some}, {"x", x}}, with, {{"theta", 500.0}}), 0);
    for (size_t i = 0; i < x.size(); ++i) {
      int64_t channel = int64_t(i) % head_dim - offset;
      bool turns = channel >= 0 && channel < width && channel % (width / 2) < pairs;
      ASSERT_EQ(some[i], turns ? whole[i] : x[i]) << i;
    }
    with[6].second = 1;
    ASSERT_EQ(call("mg_partial_rope", {{"y", back}, {"x", some}}, with, {{"theta", 500.0}}), 0);
    EXPECT_LT(relativeError(back, widen(x)), 1e-6);
  }
}

#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

TEST(Components, IdsAreClampedToTheirTables) {
  std::vector<int32_t> first = {-5, 0, 2, 3}, second = {1, 7, 4, 5}, ids(8, -1);
  std::vector<int64_t> sizes = {3, 5};
  ASSERT_EQ(
      call("mg_component_rows", {{"ids", ids}, {"table", sizes}, {"component", first}, {"component", second}}, {{"rows", 4}, {"parts", 2}}),
      0);
  EXPECT_EQ(ids, (std::vector<int32_t>{0, 4, 0, 7, 2, 7, 2, 7}));
}

TEST(Components, WeightedPartsMatchFiniteDifferences) {
  for (auto [rows, parts, cols] : {std::array<int64_t, 3>{1, 1, 1}, {3, 5, 13}, {130, 2, 8}}) {
    int64_t count = rows * parts * cols;
    Values packed = randomValues(count + parts, 1), y(rows * cols, NAN), d_y = randomValues(y.size(), 2), d_x(count, NAN);
    Operand x("x", packed.data(), count), weight("weight", packed.data() + count, parts);
    auto f = [=, r = rows, p = parts, c = cols](const Doubles &v) {
      Doubles result(r * c);
      for (int64_t i = 0; i < r * p * c; ++i)
        result[i / (p * c) * c + i % c] += v[i] * v[count + i / c % p];
      return result;
    };
    Ints sizes = {{"rows", rows}, {"parts", parts}, {"cols", cols}};
    ASSERT_EQ(call("mg_weighted_parts", {{"y", y}, x, weight}, sizes), 0);
    EXPECT_LT(relativeError(y, f(widen(packed))), 1e-6);
    Doubles expected = numericGradient(f, widen(packed), d_y);
    sizes.push_back({"accumulate", 2});
    Values d_weight(parts, 1.0f); // added to
    ASSERT_EQ(call("mg_weighted_parts_grad", {{"d_x", d_x}, {"d_weight", d_weight}, {"d_y", d_y}, x, weight}, sizes), 0);
    EXPECT_LT(relativeError(d_x, Doubles(expected.begin(), expected.begin() + count)), 1e-6);
    for (int64_t part = 0; part < parts; ++part)
      d_weight[part] -= 1.0f;
    EXPECT_LT(relativeError(d_weight, Doubles(expected.begin() + count, expected.end())), 1e-5);
  }
}

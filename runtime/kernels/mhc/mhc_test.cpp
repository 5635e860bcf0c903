#include "runtime/kernels/TestSupport.h"
#include "runtime/kernels/mhc/MhcReference.h"

using namespace megacc::test;

static const MhcSizes sizes[] = {{1, 1, 1, 1}, {3, 2, 5, 1}, {67, 4, 3, 5}, {2, 5, 66, 3}, {18, 2, 9, 12}};

TEST(Mhc, ReadMatchesFiniteDifferences) {
  for (const MhcSizes &s : sizes) {
    auto [rows, n, cols, iterations] = s;
    int64_t all = n * (n + 2), kept = n * (n + 1), width = n * cols;
    Values packed = randomValues(rows * width + rows * all + all, 1), u(rows * cols, NAN), maps(rows * kept, NAN);
    float *x = packed.data(), *logits = x + rows * width, *bias = logits + rows * all;
    auto f = [&](const Doubles &v) { return readStreams(v, s); };
    Operand given_x("x", x, rows * width), given_logits("logits", logits, rows * all), given_bias("bias", bias, all);
    Ints ints = {{"rows", rows}, {"streams", n}, {"cols", cols}, {"iterations", iterations}};
    ASSERT_EQ(call("mg_mhc_read", {{"u", u}, {"maps", maps}, given_x, given_logits, given_bias}, ints, {{"eps", 1e-5}}), 0);
    Values both = u;
    both.insert(both.end(), maps.begin(), maps.end());
    EXPECT_LT(relativeError(both, f(widen(packed))), 1e-6);
    for (int64_t j = 0; j < n; ++j) { // rows sum to 1
      float sum = 0;
      for (int64_t i = 0; i < n; ++i)
        sum += maps[n + j * n + i];
      EXPECT_NEAR(sum, 1, 1e-6);
    }
    Values d = randomValues(both.size(), 2), gradient(packed.size(), NAN), added(packed.size(), NAN),
           addend = randomValues(rows * width, 3);
    ints.emplace_back("accumulate", 0);
    auto grad = [&](Values &to, const Operand &plus) {
      return call("mg_mhc_read_grad",
                  {{"d_x", to.data(), rows * width},
                   {"d_logits", to.data() + rows * width, rows * all},
                   {"d_bias", to.data() + rows * (width + all), all},
                   {"d_u", d.data(), rows * cols},
                   {"d_maps", d.data() + rows * cols, rows * kept},
                   given_x,
                   given_logits,
                   given_bias,
                   plus},
                  ints, {{"eps", 1e-5}});
    };
    ASSERT_EQ(grad(gradient, {"addend", nullptr}), 0);
    Doubles expected = numericGradient(f, widen(packed), d);
    EXPECT_LT(relativeError(gradient, expected), 1e-5);
    // An addend at the place of the result.
    std::copy(addend.begin(), addend.end(), added.begin());
    ASSERT_EQ(grad(added, {"addend", added.data(), rows * width}), 0);
    for (int64_t i = 0; i < rows * width; ++i)
      expected[i] += addend[i];
    EXPECT_LT(relativeError(added, expected), 1e-5);
    // Added to in the first micro-batch too.
    ints.back().second = 2;
    Values twice = gradient;
    ASSERT_EQ(grad(twice, {"addend", nullptr}), 0);
    for (size_t i = rows * (width + all); i < twice.size(); ++i)
      EXPECT_NEAR(twice[i], 2 * gradient[i], 1e-5 * std::abs(gradient[i]));
  }
}

TEST(Mhc, LargeLogitsLoseNoColumn) {
  const int64_t n = 3, all = n * (n + 2);
  Values x = {1, -2, 0.5f}, logits(all, 0.0f), bias(all, 0.0f), u(1, NAN), maps(n * (n + 1), NAN);
  for (int64_t j = 0; j < n; ++j)
    for (int64_t i = 0; i < n; ++i)
      bias[2 * n + j * n + i] = float(i == 0 ? 400 : i == 1 ? 0 : -400) + float(j == i);
  ASSERT_EQ(call("mg_mhc_read", {{"u", u}, {"maps", maps}, {"x", x}, {"logits", logits}, {"bias", bias}},
                 {{"rows", 1}, {"streams", n}, {"cols", 1}, {"iterations", 5}}, {{"eps", 1e-5}}),
            0);
  for (float value : maps) // e / (e + 2) on the diagonal, whatever a column adds to all its logits
    EXPECT_TRUE(std::isfinite(value));
  EXPECT_NEAR(maps[n], std::exp(1.0) / (std::exp(1.0) + 2), 1e-6);
}

TEST(Mhc, WriteMatchesFiniteDifferences) {
  for (const MhcSizes &s : sizes) {
    auto [rows, n, cols, unused] = s;
    int64_t kept = n * (n + 1), width = n * cols;
    Values packed = randomValues(rows * (width + cols + kept), 1), y(rows * width, NAN), d_y = randomValues(y.size(), 2);
    float *x = packed.data(), *v = x + rows * width, *maps = v + rows * cols;
    auto f = [&](const Doubles &v) { return writeStreams(v, s); };
    Operand given_x("x", x, rows * width), given_v("v", v, rows * cols), given_maps("maps", maps, rows * kept);
    Ints ints = {{"rows", rows}, {"streams", n}, {"cols", cols}};
    ASSERT_EQ(call("mg_mhc_write", {{"y", y}, given_x, given_v, given_maps}, ints), 0);
    EXPECT_LT(relativeError(y, f(widen(packed))), 1e-6);
    Doubles expected = numericGradient(f, widen(packed), d_y);
    Values gradient(packed.size(), NAN), inPlace(packed.size(), NAN);
    std::copy(d_y.begin(), d_y.end(), inPlace.begin());
    for (Values *to : {&gradient, &inPlace}) { // d_x may take the place of d_y
      ASSERT_EQ(call("mg_mhc_write_grad",
                     {{"d_x", to->data(), rows * width},
                      {"d_v", to->data() + rows * width, rows * cols},
                      {"d_maps", to->data() + rows * (width + cols), rows * kept},
                      {"d_y", to == &inPlace ? inPlace.data() : d_y.data(), rows * width},
                      given_x,
                      given_v,
                      given_maps},
                     ints),
                0);
      EXPECT_LT(relativeError(*to, expected), 1e-5);
    }
    EXPECT_EQ(gradient, inPlace);
  }
}

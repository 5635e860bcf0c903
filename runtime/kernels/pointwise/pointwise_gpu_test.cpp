#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(PointwiseGpu, Add) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (int64_t count : {1, 45, 4096, 100003}) {
      Values a = randomValues(count, 1, 1, type), b = randomValues(count, 2, 1, type), y(count);
      for (int64_t i = 0; i < count; ++i)
        y[i] = rounded(a[i] + b[i], type);
      Call call = MG_CALL(mg_add);
      call.give("a", type, a).give("b", type, b).poisoned("y", type, count).set("count", count);
      ASSERT_EQ(call.run(), "");
      EXPECT_EQ(call.read("y"), y) << count;
    }
}

TEST(PointwiseGpu, CopyChangesTypes) {
  MG_NEEDS_CARD();
  for (MgType to : {MG_BF16, MG_F32})
    for (MgType from : {MG_BF16, MG_F32}) {
      Values x = randomValues(1001, 1, 1, from), y = x;
      for (double &value : y)
        value = rounded(value, to);
      Call call = MG_CALL(mg_copy);
      call.give("x", from, x).poisoned("y", to, x.size()).set("count", 1001);
      ASSERT_EQ(call.run(), "");
      EXPECT_EQ(call.read("y"), y);
    }
}

TEST(PointwiseGpu, AccumulateAndZero) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (int64_t accumulate : {0, 1, 2})
      for (int64_t micro_batch : {0, 1}) {
        constexpr int64_t count = 1013;
        bool adds = accumulate == 2 || (accumulate == 1 && micro_batch);
        Values x = randomValues(count, 1, 1, type), sum = randomValues(count, 2, 1, MG_F32), expected(count), zero(count);
        for (int64_t i = 0; i < count; ++i) {
          expected[i] = (adds ? sum[i] : 0) + 0.25 * x[i];
          zero[i] = adds ? sum[i] : 0;
        }
        Call call = MG_CALL(mg_accumulate);
        call.give("x", type, x)
            .give("sum", MG_F32, sum)
            .set("count", count)
            .set("accumulate", accumulate)
            .setReal("scale", 0.25)
            .at(micro_batch);
        ASSERT_EQ(call.run(), "");
        EXPECT_LT(relativeError(call.read("sum"), expected), 1e-6);
        Call fill = MG_CALL(mg_fill_zero);
        fill.give("y", MG_F32, sum).set("count", count).set("accumulate", accumulate).at(micro_batch);
        ASSERT_EQ(fill.run(), "");
        EXPECT_EQ(fill.read("y"), zero);
      }
}

TEST(PointwiseGpu, AccumulateTerms) {
  MG_NEEDS_CARD();
  for (int64_t parts : {0, 1, 5, 300}) {
    Values terms = randomValues(parts, 1, 1, MG_F32);
    double total = 3;
    Call call = MG_CALL(mg_accumulate_terms);
    call.give("sum", MG_F32, {3}).set("accumulate", 2).set("parts", parts).setReal("scale", 0.5);
    for (double term : terms) {
      call.give("part", MG_F32, {term});
      total += 0.5 * term;
    }
    ASSERT_EQ(call.run(), "");
    EXPECT_NEAR(call.read("sum")[0], total, 1e-4) << parts;
  }
}

namespace {

double activate(int64_t kind, double x) {
  if (kind == 0)
    return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  if (kind == 1)
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  return x > 0 ? x * x : 0;
}

double slope(int64_t kind, double x) {
  double h = 1e-6;
  return (activate(kind, x + h) - activate(kind, x - h)) / (2 * h);
}

} // namespace

TEST(PointwiseGpu, Activations) {
  MG_NEEDS_CARD();
  for (bool scaled : {false, true})
    for (MgType type : {MG_BF16, MG_F32})
      for (int64_t kind : {0, 1, 2, 3})
        for (int64_t width : {1, 45, 64, 896}) {
          int64_t rows = 37, count = rows * width;
          Values x = randomValues(count * (kind == 3 ? 2 : 1), 1, 2, type), d_y = randomValues(count, 2, 1, type), y(count), d_x(x.size());
          Values scale = randomValues(rows, 3, 1, MG_F32), d_scale(rows);
          for (int64_t t = 0; t < rows; ++t)
            for (int64_t j = 0; j < width; ++j) {
              int64_t at = t * width + j, gate = 2 * t * width + j;
              double factor = scaled ? scale[t] : 1, value;
              if (kind < 3) {
                value = activate(kind, x[at]);
                d_x[at] = factor * d_y[at] * slope(kind, x[at]);
              } else {
                double s = sigmoid(x[gate]);
                value = x[gate] * s * x[gate + width];
                d_x[gate] = factor * d_y[at] * x[gate + width] * (s + x[gate] * s * (1 - s));
                d_x[gate + width] = factor * d_y[at] * x[gate] * s;
              }
              y[at] = factor * value;
              d_scale[t] += d_y[at] * value;
            }
          Call forward = MG_CALL(mg_activation), backward = MG_CALL(mg_activation_grad);
          forward.give("x", type, x).poisoned("y", type, count);
          backward.give("x", type, x).give("d_y", type, d_y).poisoned("d_x", type, x.size());
          if (scaled) {
            forward.give("scale", MG_F32, scale);
            backward.give("scale", MG_F32, scale).poisoned("d_scale", MG_F32, rows);
          }
          for (Call *call : {&forward, &backward}) {
            call->set("rows", rows).set("width", width).set("kind", kind);
            ASSERT_EQ(call->run(), "");
          }
          EXPECT_LT(relativeError(forward.read("y"), y), forwardLimit(type)) << kind;
          EXPECT_LT(relativeError(backward.read("d_x"), d_x), gradientLimit(type)) << kind;
          if (scaled)
            EXPECT_LT(relativeError(backward.read("d_scale"), d_scale), 1e-5) << kind;
        }
}

TEST(PointwiseGpu, RefusesMixedTypes) {
  MG_NEEDS_CARD();
  Call call = MG_CALL(mg_add);
  call.give("a", MG_BF16, {1}).give("b", MG_F32, {1}).poisoned("y", MG_BF16, 1).set("count", 1);
  EXPECT_NE(call.run().find("operand 2 has type 0 and operand 0 type 1"), std::string::npos);
}

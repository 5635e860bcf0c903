#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

namespace {

struct Shape {
  int64_t batch, sequence, channels, taps;
  bool silu, bias, documents;
  MgType type = MG_BF16;
};

void check(const Shape &shape) {
  auto [batch, sequence, channels, taps, silu, has_bias, has_documents, type] = shape;
  SCOPED_TRACE(testing::Message() << batch << " x " << sequence << " x " << channels << ", taps " << taps);
  int64_t rows = batch * sequence;
  Values x = randomValues(rows * channels, 1, 1, type), weight = randomValues(channels * taps, 2, 0.5, type), documents;
  Values bias = has_bias ? randomValues(channels, 3, 0.5, type) : Values(), d_y = randomValues(rows * channels, 4, 1, type);
  for (int64_t row = 0; row < rows; ++row)
    documents.push_back(double((row * row / 23 + row / 3) % 5));
  Values y(x.size()), d_x(x.size()), d_weight(weight.size()), d_bias(channels);
  for (int64_t row = 0; row < rows; ++row) {
    int64_t t = row % sequence, count = 1;
    while (count < taps && count <= t && !(has_documents && documents[row - count] != documents[row - count + 1]))
      ++count;
    for (int64_t c = 0; c < channels; ++c) {
      double sum = has_bias ? bias[c] : 0;
      for (int64_t j = 0; j < count; ++j)
        sum += weight[c * taps + taps - 1 - j] * x[(row - j) * channels + c];
      double s = sigmoid(sum), d = d_y[row * channels + c] * (silu ? s + sum * s * (1 - s) : 1);
      y[row * channels + c] = silu ? sum * s : sum;
      d_bias[c] += d;
      for (int64_t j = 0; j < count; ++j) {
        d_x[(row - j) * channels + c] += d * weight[c * taps + taps - 1 - j];
        d_weight[c * taps + taps - 1 - j] += d * x[(row - j) * channels + c];
      }
    }
  }
  auto setup = [&](Call &call) {
    call.give("x", type, x).give("weight", type, weight).set("batch", batch).set("sequence", sequence).set("channels", channels);
    call.set("taps", taps).set("silu", silu);
    if (has_bias)
      call.give("bias", type, bias);
    if (has_documents)
      call.give("documents", MG_I32, documents);
  };
  Call forward = MG_CALL(mg_causal_conv);
  setup(forward);
  forward.poisoned("y", type, y.size());
  ASSERT_EQ(forward.run(), "");
  EXPECT_LT(relativeError(forward.read("y"), y), forwardLimit(type));
  Call backward = MG_CALL(mg_causal_conv_grad);
  setup(backward);
  backward.give("d_y", type, d_y).poisoned("d_x", type, x.size()).give("d_weight", MG_F32, Values(weight.size(), 2));
  backward.poisoned("d_bias", MG_F32, channels).set("accumulate", 2);
  ASSERT_EQ(backward.run(), "");
  Values sums = backward.read("d_weight");
  for (double &sum : sums)
    sum -= 2;
  EXPECT_LT(relativeError(backward.read("d_x"), d_x), gradientLimit(type));
  EXPECT_LT(relativeError(sums, d_weight), gradientLimit(type));
  EXPECT_LT(relativeError(backward.read("d_bias"), d_bias), gradientLimit(type));
}

} // namespace

TEST(CausalConvGpu, Shapes) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (bool documents : {false, true}) {
      check({2, 70, 64, 4, true, true, documents, type});
      check({2, 33, 45, 4, true, false, documents, type});
      check({1, 1, 8, 4, true, true, documents, type});
      check({3, 2, 8, 4, false, true, documents, type});
      check({2, 50, 12, 1, false, true, documents, type});
      check({1, 40, 7, 9, true, true, documents, type});
      check({2, 35, 24, 3, false, false, documents, type});
      check({1, 100, 832, 4, true, true, documents, type});
    }
}

TEST(CausalConvGpu, RefusesLongFilters) {
  MG_NEEDS_CARD();
  Call call = MG_CALL(mg_causal_conv);
  call.give("x", MG_BF16, {1}).give("weight", MG_BF16, Values(17, 1)).poisoned("y", MG_BF16, 1).set("batch", 1).set("sequence", 1);
  call.set("channels", 1).set("taps", 17).set("silu", 0);
  EXPECT_NE(call.run().find("taps is 17, at most 16"), std::string::npos);
}

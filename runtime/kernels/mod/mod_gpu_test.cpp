#include "runtime/kernels/GpuTestSupport.h"
#include "runtime/kernels/mod/ModReference.h"

#include <algorithm>
#include <array>
#include <gtest/gtest.h>

using namespace megacc;
using namespace megacc::gpu;

TEST(ModGpu, SelectsTheLargestAndOfEqualOnesTheEarlier) {
  MG_NEEDS_CARD();
  for (auto [batch, sequence, keep] : {std::array<int64_t, 3>{1, 1, 1}, {3, 7, 1}, {2, 130, 65}, {2, 40, 40}, {1, 4096, 2048}})
    for (bool ties : {false, true}) {
      Values logits = randomValues(batch * sequence, 1, 1, MG_F32);
      if (ties)
        for (double &logit : logits)
          logit = std::round(logit);
      Call call = MG_CALL(mg_mod_select);
      call.give("logits", MG_F32, logits).poisoned("position", MG_I32, logits.size());
      ASSERT_EQ(call.set("batch", batch).set("sequence", sequence).set("keep", keep).run(), "");
      EXPECT_EQ(call.read("position"), expectPositions<double>(logits, batch, sequence, keep));
    }
  Call zeros = MG_CALL(mg_mod_select);
  zeros.give("logits", MG_F32, {-0.0, 0.0, NAN, 0.0}).poisoned("position", MG_I32, 4);
  ASSERT_EQ(zeros.set("batch", 1).set("sequence", 4).set("keep", 2).run(), "");
  EXPECT_EQ(zeros.read("position"), (Values{0, 1, -1, -1}));
}

TEST(ModGpu, RowsGoThereAndBack) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_F32, MG_BF16})
    for (auto [batch, sequence, keep, cols] : {std::array<int64_t, 4>{1, 1, 1, 1}, {2, 7, 3, 5}, {3, 50, 49, 300}}) {
      int64_t rows = batch * sequence, kept = batch * keep;
      Values x = randomValues(kept * cols, 1, 1, type), logits = randomValues(rows, 2, 1, MG_F32),
             d_y = randomValues(rows * cols, 3, 1, type);
      Values position = expectPositions<double>(logits, batch, sequence, keep), y(rows * cols), plain(rows * cols), d_x(x.size()),
             d_logits(rows);
      for (int64_t i = 0; i < rows * cols; ++i) {
        int64_t t = i / cols, from = (t / sequence * keep + int64_t(position[t])) * cols + i % cols;
        if (position[t] < 0)
          continue;
        double s = sigmoid(logits[t]);
        y[i] = x[from] * s, plain[i] = x[from], d_x[from] = d_y[i] * s;
        d_logits[t] += d_y[i] * x[from] * s * (1 - s);
      }
      auto give = [&, batch = batch, sequence = sequence, keep = keep, cols = cols](Call &call) {
        call.give("position", MG_I32, position).set("batch", batch).set("sequence", sequence).set("keep", keep).set("cols", cols);
      };
      Call put = MG_CALL(mg_mod_put), grad = MG_CALL(mg_mod_put_grad), without = MG_CALL(mg_mod_put), take = MG_CALL(mg_mod_take);
      for (Call *call : {&put, &grad, &without, &take})
        give(*call);
      ASSERT_EQ(put.give("x", type, x).give("logits", MG_F32, logits).poisoned("y", type, y.size()).run(), "");
      EXPECT_LT(relativeError(put.read("y"), y), forwardLimit(type));
      grad.give("x", type, x).give("logits", MG_F32, logits).give("d_y", type, d_y);
      ASSERT_EQ(grad.poisoned("d_x", type, x.size()).poisoned("d_logits", MG_F32, rows).run(), "");
      EXPECT_LT(relativeError(grad.read("d_x"), d_x), gradientLimit(type));
      EXPECT_LT(relativeError(grad.read("d_logits"), d_logits), gradientLimit(MG_F32));
      ASSERT_EQ(without.give("x", type, x).poisoned("y", type, y.size()).run(), "");
      EXPECT_EQ(without.read("y"), plain);
      ASSERT_EQ(take.give("x", type, plain).poisoned("y", type, x.size()).run(), "");
      EXPECT_EQ(take.read("y"), x);
    }
}

TEST(ModGpu, LossAndItsGradient) {
  MG_NEEDS_CARD();
  for (int64_t rows : {1, 3, 3000}) {
    Values logits = randomValues(rows, 1, 3, MG_F32), position(rows), d_logits(rows);
    logits[0] = 200; // far beyond what exp holds
    double sum = 0;
    for (int64_t t = 0; t < rows; ++t) {
      position[t] = t % 3 ? double(t) : -1;
      sum += std::max(logits[t], 0.0) + std::log1p(std::exp(-std::abs(logits[t]))) - (position[t] < 0 ? 0 : logits[t]);
      d_logits[t] = 0.25 * (sigmoid(logits[t]) - (position[t] >= 0));
    }
    Call loss = MG_CALL(mg_mod_loss), grad = MG_CALL(mg_mod_loss_grad);
    loss.give("logits", MG_F32, logits).give("position", MG_I32, position).poisoned("loss", MG_F32, 1).set("rows", rows);
    ASSERT_EQ(loss.set("tokens", 2 * rows).setReal("aux", 0.5).run(), "");
    EXPECT_LT(relativeError(loss.read("loss"), {0.5 / double(2 * rows) * sum}), 1e-5);
    grad.give("logits", MG_F32, logits).give("position", MG_I32, position).poisoned("d_logits", MG_F32, rows).set("rows", rows);
    ASSERT_EQ(grad.setReal("scale", 0.25).run(), "");
    EXPECT_LT(relativeError(grad.read("d_logits"), d_logits), 1e-5);
  }
}

#include "runtime/kernels/GpuTestSupport.h"
#include "runtime/kernels/NumericGradient.h"
#include "runtime/kernels/mhc/MhcReference.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;
using megacc::test::MhcSizes;
using megacc::test::numericGradient;

namespace {

const MhcSizes sizes[] = {{1, 1, 1, 1}, {3, 2, 5, 1}, {37, 4, 3, 5}, {2, 5, 66, 3}, {9, 2, 9, 12}, {2, 16, 3, 2}};

Values slice(const Values &values, int64_t begin, int64_t count) { return Values(values.begin() + begin, values.begin() + begin + count); }

/// Random numbers one behind the other, each part rounded to its type.
Values randomParts(std::initializer_list<std::pair<int64_t, MgType>> parts) {
  Values all;
  for (auto [count, type] : parts) {
    Values part = randomValues(count, unsigned(all.size()) + 1, 1, type);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

} // namespace

TEST(MhcGpu, Reads) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_F32, MG_BF16})
    for (const MhcSizes &s : sizes) {
      int64_t in_x = s.rows * s.width(), in_logits = s.rows * s.countLogits(), out_u = s.rows * s.cols, out_maps = s.rows * s.countMaps();
      Values packed = randomParts({{in_x, type}, {in_logits, type}, {s.countLogits(), MG_F32}});
      Values d = randomParts({{out_u, type}, {out_maps, MG_F32}}), addend = randomValues(in_x, 7, 1, type);
      auto f = [&](const Values &v) { return megacc::test::readStreams(v, s); };
      Values expected = f(packed), gradient = numericGradient(f, packed, d);
      auto give = [&](Call &call) {
        call.give("x", type, slice(packed, 0, in_x)).give("logits", type, slice(packed, in_x, in_logits));
        call.give("bias", MG_F32, slice(packed, in_x + in_logits, s.countLogits())).set("rows", s.rows).set("streams", s.n);
        call.set("cols", s.cols).set("iterations", s.iterations).setReal("eps", 1e-5);
      };
      Call forward = MG_CALL(mg_mhc_read);
      give(forward);
      ASSERT_EQ(forward.poisoned("u", type, out_u).poisoned("maps", MG_F32, out_maps).run(), "");
      EXPECT_LT(relativeError(forward.read("u"), slice(expected, 0, out_u)), forwardLimit(type));
      EXPECT_LT(relativeError(forward.read("maps"), slice(expected, out_u, out_maps)), forwardLimit(MG_F32));
      for (bool adds : {false, true}) {
        Call backward = MG_CALL(mg_mhc_read_grad);
        give(backward);
        backward.give("d_u", type, slice(d, 0, out_u)).give("d_maps", MG_F32, slice(d, out_u, out_maps)).set("accumulate", 0);
        backward.poisoned("d_x", type, in_x).poisoned("d_logits", type, in_logits).poisoned("d_bias", MG_F32, s.countLogits());
        Values d_x = slice(gradient, 0, in_x);
        if (adds) {
          backward.give("addend", type, addend);
          for (int64_t i = 0; i < in_x; ++i)
            d_x[i] += addend[i];
        }
        ASSERT_EQ(backward.run(), "");
        EXPECT_LT(relativeError(backward.read("d_x"), d_x), gradientLimit(type));
        EXPECT_LT(relativeError(backward.read("d_logits"), slice(gradient, in_x, in_logits)), gradientLimit(type));
        EXPECT_LT(relativeError(backward.read("d_bias"), slice(gradient, in_x + in_logits, s.countLogits())), gradientLimit(MG_F32));
      }
    }
}

TEST(MhcGpu, Writes) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_F32, MG_BF16})
    for (const MhcSizes &s : sizes) {
      int64_t in_x = s.rows * s.width(), in_v = s.rows * s.cols, in_maps = s.rows * s.countMaps();
      Values packed = randomParts({{in_x, type}, {in_v, type}, {in_maps, MG_F32}}), d_y = randomValues(in_x, 5, 1, type);
      auto f = [&](const Values &v) { return megacc::test::writeStreams(v, s); };
      Values gradient = numericGradient(f, packed, d_y);
      auto give = [&](Call &call) {
        call.give("x", type, slice(packed, 0, in_x)).give("v", type, slice(packed, in_x, in_v));
        call.give("maps", MG_F32, slice(packed, in_x + in_v, in_maps)).set("rows", s.rows).set("streams", s.n).set("cols", s.cols);
      };
      Call forward = MG_CALL(mg_mhc_write);
      give(forward);
      ASSERT_EQ(forward.poisoned("y", type, in_x).run(), "");
      EXPECT_LT(relativeError(forward.read("y"), f(packed)), forwardLimit(type));
      for (bool in_place : {false, true}) {
        Call backward = MG_CALL(mg_mhc_write_grad);
        give(backward);
        backward.give("d_y", type, d_y).poisoned("d_v", type, in_v).poisoned("d_maps", MG_F32, in_maps);
        if (in_place)
          backward.share("d_x", "d_y");
        else
          backward.poisoned("d_x", type, in_x);
        ASSERT_EQ(backward.run(), "");
        EXPECT_LT(relativeError(backward.read(in_place ? "d_y" : "d_x"), slice(gradient, 0, in_x)), gradientLimit(type));
        EXPECT_LT(relativeError(backward.read("d_v"), slice(gradient, in_x, in_v)), gradientLimit(type));
        EXPECT_LT(relativeError(backward.read("d_maps"), slice(gradient, in_x + in_v, in_maps)), gradientLimit(MG_F32));
      }
    }
}

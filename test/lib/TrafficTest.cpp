#include "lib/Plan/Traffic.h"
#include "dialects/Rt/Rt.h"
#include "mlir/Parser/Parser.h"

#include "gtest/gtest.h"

using namespace megacc;

/// The backward reads values 0 and 1 of the forward, value 2 is its own.
static constexpr const char *text = R"(
rt.segment "weights" bytes 256
rt.segment "optimizer" bytes 512
rt.segment "gradients" bytes 768
rt.segment "temporaries" bytes 1024
rt.segment "io" bytes 4096
rt.func @micro_batch {
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in weights[0 : 64]) {count = 16} block 0 cost 0 128
  rt.call @mg_copy(out temporaries[256 : 32] value 1, in temporaries[0 : 32] value 0) {count = 8} block 0 cost 0 64
  rt.call @mg_copy(out gradients[0 : 32], in temporaries[256 : 32] value 1) {count = 8} block 0 cost 0 64
  rt.call @mg_copy(out temporaries[512 : 64] value 2, in temporaries[0 : 64] value 0) {count = 16} block 0 cost 0 128
  rt.call @mg_add(out gradients[64 : 64], in temporaries[512 : 64] value 2, in temporaries[512 : 64] value 2)
      {count = 16} block 0 cost 0 192
}
rt.func @update {
  rt.call @mg_copy(out weights[0 : 64], in gradients[0 : 64]) {count = 16} block -1 cost 0 100
}
rt.func @evaluate {
  rt.call @mg_copy(out io[0 : 64], in weights[0 : 64]) {count = 16} block -1 cost 0 7000
}
)";

TEST(Traffic, IsThatOfAStep) {
  mlir::MLIRContext context;
  context.loadDialect<rt::RtDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  ASSERT_TRUE(module);
  Traffic traffic = measureTraffic(*module, 3);
  EXPECT_EQ(traffic.moved, 3 * (128 + 64 + 64 + 128 + 192) + 100); // not the evaluation
  EXPECT_EQ(traffic.state, 256 + 512 + 768);
  EXPECT_EQ(traffic.saved, 3 * (64 + 32)); // values 0 and 1: the first launch that writes a gradient reads value 1
}

// Matrix-to-matrix recurrence (conventions section 9).
#include "passes/train/ForwardBuilder.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace megacc::step {

Value buildM2rnn(ForwardBuilder &builder, const mega::KeyValues &keys, Value n) {
  int64_t heads = keys.getInt("heads"), key = keys.getInt("key"), value = keys.getInt("value"), sequence = builder.getLength(n);
  SmallVector<Value> parts = builder.split(builder.linear(n, "in_proj"), 1, {2 * key + heads * value, heads, heads * value}, "qkv_f_g");
  Value convolved = builder.causalConv(parts[0], "conv", /*bias=*/true, /*silu=*/true);
  SmallVector<Value> qkv = builder.split(convolved, 1, {key, key, heads * value}, "qkv");
  Value aLog = builder.read("A_log", "scan"), dtBias = builder.read("dt_bias", "scan"), weight = builder.read("state_weight", "scan");
  OpBuilder &ops = builder.getBuilder();
  auto scan = M2rnnScanOp::create(ops, builder.getLoc("scan"), qkv[2].getType(), TypeRange(), qkv[0], qkv[1], qkv[2], parts[1], aLog,
                                  dtBias, weight, builder.getDocuments(), ops.getI64IntegerAttr(builder.getBatch()),
                                  ops.getI64IntegerAttr(sequence), ArrayAttr());
  Value skip = builder.read("D", "gate");
  Value gated = SkipGateOp::create(ops, builder.getLoc("gate"), qkv[2].getType(), scan.getY(), qkv[2], parts[2], skip);
  return builder.linear(builder.rmsNorm(gated, "norm"), "out_proj");
}

} // namespace megacc::step

// The gated delta rule (conventions section 19).
#include "passes/train/ForwardBuilder.h"

using namespace mlir;

namespace megacc::step {

Value buildGatedDeltanet(ForwardBuilder &builder, const mega::KeyValues &keys, Value n) {
  int64_t heads = keys.getInt("heads"), keyHeads = keys.getInt("key_heads"), key = keyHeads * keys.getInt("key");
  int64_t value = heads * keys.getInt("value");
  SmallVector<Value> parts = builder.split(builder.linear(n, "in_proj"), 1, {2 * key + value, value, heads, heads}, "qkv_z_b_a");
  Value convolved = builder.causalConv(parts[0], "conv", /*bias=*/false, /*silu=*/true);
  SmallVector<Value> qkv = builder.split(convolved, 1, {key, key, value}, "qkv");
  Value aLog = builder.read("A_log", "delta"), dtBias = builder.read("dt_bias", "delta"), weight = builder.read("norm.weight", "norm");
  OpBuilder &ops = builder.getBuilder();
  auto number = [&](int64_t value) { return ops.getI64IntegerAttr(value); };
  auto delta =
      GatedDeltaOp::create(ops, builder.getLoc("delta"), qkv[2].getType(), TypeRange(), qkv[0], qkv[1], qkv[2], parts[2], parts[3], aLog,
                           dtBias, builder.getDocuments(), number(builder.getBatch()), number(builder.getLength(n)), number(keyHeads),
                           number(keys.getInt("chunk")), keys.getBool("neg_eigval") ? ops.getUnitAttr() : UnitAttr(), ArrayAttr());
  Value y = GatedNormOp::create(ops, builder.getLoc("norm"), parts[1].getType(), delta.getY(), parts[1], weight,
                                ops.getF64FloatAttr(kNormEpsilon));
  return builder.linear(y, "out_proj");
}

} // namespace megacc::step

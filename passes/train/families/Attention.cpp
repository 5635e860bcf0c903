// Grouped-query attention (conventions 6.2).
#include "passes/train/ForwardBuilder.h"

using namespace mlir;

namespace megacc::step {

Value buildAttention(ForwardBuilder &builder, const mega::KeyValues &keys, Value n) {
  int64_t heads = keys.getInt("heads"), kvHeads = keys.getInt("kv_heads"), dim = keys.getInt("head_dim"), rope = keys.getInt("rope");
  double theta = keys.getFloat("theta");
  SmallVector<Value> qkv = builder.split(builder.linear(n, "qkv_proj"), 1, {heads * dim, kvHeads * dim, kvHeads * dim}, "qkv");
  Value q = builder.rope(qkv[0], heads, dim, 0, rope, theta, "q_rope");
  Value k = builder.rope(qkv[1], kvHeads, dim, 0, rope, theta, "k_rope");
  Value y = builder.attention(q, k, qkv[2], heads, kvHeads, dim, dim);
  return builder.linear(builder.outputGate(n, y, keys), "out_proj");
}

} // namespace megacc::step

// Multi-head latent attention (conventions 6.1).
#include "passes/train/ForwardBuilder.h"

using namespace mlir;

namespace megacc::step {

Value buildMla(ForwardBuilder &builder, const mega::KeyValues &keys, Value n) {
  int64_t heads = keys.getInt("heads"), nope = keys.getInt("nope"), rope = keys.getInt("rope"), value = keys.getInt("value");
  int64_t kvRank = keys.getInt("kv_rank"), dim = nope + rope;
  double theta = keys.getFloat("theta");

  Value latent = builder.rmsNorm(builder.linear(n, "q_down"), "q_norm");
  Value q = builder.linear(latent, "q_up");
  q = builder.rope(q, heads, dim, nope, rope, theta, "q_rope");

  // One rotated key part, shared by all heads; it bypasses the norm.
  SmallVector<Value> kv = builder.split(builder.linear(n, "kv_down"), 1, {kvRank, rope}, "kv");
  Value shared = builder.repeatGroups(builder.rope(kv[1], 1, rope, 0, rope, theta, "k_rope"), heads, "k_shared");
  SmallVector<Value> up = builder.split(builder.linear(builder.rmsNorm(kv[0], "kv_norm"), "kv_up"), heads, {nope, value}, "k_v");
  Value k = builder.concat({up[0], shared}, heads, {nope, rope}, "k");

  Value y = builder.inside("attention", {n, latent, q, k, up[1]});
  if (!y)
    y = builder.attention(q, k, up[1], heads, heads, dim, value);
  return builder.linear(builder.outputGate(n, y, keys), "out_proj");
}

} // namespace megacc::step

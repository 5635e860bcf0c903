// Attention of every token to learned concepts (conventions 10.1).
#include "passes/train/ForwardBuilder.h"

#include <cmath>

using namespace mlir;

namespace megacc::step {

Value buildConcept(ForwardBuilder &builder, const mega::KeyValues &keys, Value n) {
  OpBuilder &ops = builder.getBuilder();
  int64_t heads = keys.getInt("heads");
  double scale = 1.0 / std::sqrt(double(getDim(n, 1) / heads));
  Value concepts = builder.read("concepts", "concepts");
  Value q = builder.linear(n, "q_proj"), k = builder.linear(concepts, "k_proj"), v = builder.linear(concepts, "v_proj");
  Value y = BankAttentionOp::create(ops, builder.getLoc("attention"), q.getType(), q, k, v, ops.getI64IntegerAttr(heads),
                                    ops.getF64FloatAttr(scale));
  return builder.linear(y, "out_proj");
}

} // namespace megacc::step

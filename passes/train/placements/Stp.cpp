// Straightness of the residual stream between tokens (conventions 12.6).
#include "passes/train/Builders.h"

using namespace mlir;

namespace megacc::step {

void buildStp(ForwardBuilder &builder, const mega::Feature &feature, const Forward &forward) {
  const mega::KeyValues &keys = feature.keys;
  OpBuilder &ops = builder.getBuilder();
  const std::vector<int64_t> &layers = keys.getInts("layers");
  builder.setScope("stp", -1);
  auto number = [&](int64_t value) { return ops.getI64IntegerAttr(value); };
  // The host draws them (conventions 12.6), and gives none before `start`.
  Value spans = builder.input("stp.spans", {keys.getInt("spans"), 3});
  Value count = CountSpansOp::create(ops, builder.getLoc("count"), builder.getF32Type({1}), spans, builder.getDocuments(),
                                     number(builder.getBatch()));
  for (int64_t layer : layers) {
    Value x = builder.getKept("blocks." + std::to_string(layer)).front(); // of several streams their mean
    Value loss = StraightnessOp::create(ops, builder.getLoc("layer." + std::to_string(layer)), builder.getF32Type({1}), x, spans, count,
                                        builder.getDocuments(), number(builder.getBatch()), number(builder.getLength(x)),
                                        number(layers.size()), ops.getF64FloatAttr(keys.getFloat("weight")));
    builder.addLossTerm("stp", loss);
  }
}

} // namespace megacc::step

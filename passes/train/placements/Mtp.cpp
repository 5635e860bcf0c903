// Multi-token prediction (conventions 12.3 to 12.5).
#include "dialects/Mega/Spec.h"
#include "passes/train/Builders.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::step {

void buildMtp(ForwardBuilder &builder, const mega::Feature &feature, const Forward &forward) {
  const mega::KeyValues &keys = feature.keys;
  OpBuilder &ops = builder.getBuilder();
  int64_t depth = keys.getInt("depth"), hidden = builder.getModel().hidden;
  double weight = keys.getFloat("weight") / depth;
  Value h = forward.hidden;
  for (int64_t ahead = 1; ahead <= depth; ++ahead) {
    std::string scope = "mtp." + std::to_string(ahead - 1);
    builder.setScope(scope, -1);
    Value e = builder.norm(builder.shift(forward.embedding, ahead, "embedding"), "embed_norm");
    Value x = builder.linear(builder.concat({e, builder.norm(h, "hidden_norm")}, 1, {hidden, hidden}, "embedding_hidden"), "eh_proj");
    Stream stream = {x};
    for (const auto &[index, block] : llvm::enumerate(mega::findPlacement(feature.kind)->blocks(builder.getModel(), keys))) {
      stream = buildBlock(builder, block, scope + ".blocks." + std::to_string(index), stream);
      stream.source.clear(); // only the stack is watched
    }
    builder.setScope(scope, -1);
    h = builder.norm(stream.value, "final_norm");
    Value targets = ShiftTargetsOp::create(ops, builder.getLoc("targets"), forward.targets.getType(), forward.targets,
                                           builder.getDocuments(), ops.getI64IntegerAttr(ahead));
    builder.setScope("", -1);
    Value loss = builder.crossEntropy(h, targets, weight);
    builder.addLossTerm("mtp", loss, weight);
    builder.recordLossPart("mtp", std::to_string(ahead), loss);
  }
}

} // namespace megacc::step

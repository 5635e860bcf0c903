// Dense feed-forward block.
#include "passes/train/ForwardBuilder.h"

using namespace mlir;

namespace megacc::step {

Value buildMlp(ForwardBuilder &builder, const mega::KeyValues &keys, Value n) {
  return builder.linear(builder.activation(builder.linear(n, "up"), keys.getText("activation")), "down");
}

} // namespace megacc::step

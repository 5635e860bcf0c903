// Dense feed-forward block.
#include "passes/train/ForwardBuilder.h"

using namespace mlir;

namespace megacc::step {

Value buildMlp(ForwardBuilder &builder, const mega::KeyValues &keys, Value n) {
  return builder.linear(builder.hiddenUnits(builder.linear(n, "up"), keys.getText("activation"), "up"), "down");
}

} // namespace megacc::step

// mhc: hyper-connections, a residual of several streams (conventions 10.4 to 10.6).
#include "dialects/Mega/Spec.h"

namespace megacc::mega {
namespace {

void addParameters(ParameterList &list, const Block &, const Feature &feature) {
  Size streams = feature.keys.getInt("streams"), rows = 2 * streams + streams * streams;
  list.constant("mhc.proj.weight", {rows, streams * list.getModel().hidden}, 0);
  list.add("mhc.bias", {rows}, "mhc", double(feature.order % streams.get())).fp32 = true;
}

double flops(const Model &model, const Block &, const Feature &feature, double flops) {
  double streams = feature.keys.getInt("streams"), rows = 2 * streams + streams * streams, hidden = model.hidden;
  return flops + 2 * streams * hidden * rows + 2 * hidden * rows;
}

} // namespace

PlacementSpec mhcPlacement() {
  return {.word = "mhc",
          .keys = {keys::integer("streams", 4), keys::integer("sinkhorn", 5)},
          .part = BlockPart::before,
          .addBlockParameters = addParameters,
          .blockFlops = flops};
}

} // namespace megacc::mega

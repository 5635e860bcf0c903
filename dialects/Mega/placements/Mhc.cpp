// mhc: hyper-connections, a residual of several streams (conventions 10.4 to 10.6).
#include "dialects/Mega/Spec.h"

namespace megacc::mega {
namespace {

/// Earlier placements of the model stand on its blocks.
void complete(KeyValues &keys, const Model &model, const KeyValues &, ErrorAt error) {
  for (const Block &block : model.blocks)
    if (const Feature *other = block.find("mhc");
        other && keys.has("streams") && other->keys.getInt("streams") != keys.getInt("streams")) { // mega.mhc.c1
      error("streams") << "streams = " << keys.getInt("streams") << ", but block " << block.slot << " has " << other->keys.getInt("streams")
                       << "; fix: one number for the model, whose streams pass from block to block";
      return;
    }
}

void addParameters(ParameterList &list, const Block &, const Feature &feature) {
  Size streams = feature.keys.getInt("streams"), rows = 2 * streams + streams * streams;
  list.constant("mhc.proj.weight", {rows, streams * list.getModel().hidden}, 0);
  double own = double(feature.order % streams.get()) / 64; // both in one number; there are at most 16 streams
  list.add("mhc.bias", {rows}, "mhc", double(streams.get()) + own).fp32 = true;
}

double flops(const Model &model, const Block &, const Feature &feature, double flops) {
  double streams = feature.keys.getInt("streams"), rows = 2 * streams + streams * streams, hidden = model.hidden;
  return flops + 2 * streams * hidden * rows + 2 * hidden * rows;
}

} // namespace

PlacementSpec mhcPlacement() {
  KeySpec streams = keys::integer("streams", 4), sinkhorn = keys::integer("sinkhorn", 5);
  streams.most = 16, sinkhorn.most = 64; // kernels keep all maps of a token at hand
  return {.word = "mhc",
          .keys = {streams, sinkhorn},
          .complete = complete,
          .part = BlockPart::before,
          .addBlockParameters = addParameters,
          .blockFlops = flops};
}

} // namespace megacc::mega

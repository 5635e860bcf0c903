// engram: averages over the last tokens, beside the mixer (conventions 10.2 and 10.3).
#include "dialects/Mega/Spec.h"

#include <cmath>

namespace megacc::mega {
namespace {

void check(const KeyValues &keys, const Model &, ErrorAt error) {
  if (keys.getBool("gated") && keys.getInt("conv") && !keys.getBool("conv_residual")) // mega.engram.c1
    error("conv_residual")
        << "a gated engram with a convolution and without its residual cannot learn its gate; fix: write conv_residual = true";
}

void complete(KeyValues &keys, const Model &model, const KeyValues &, ErrorAt) {
  if (!keys.has("dim"))
    keys.set("dim", model.hidden / 4);
}

void addParameters(ParameterList &list, const Block &, const Feature &feature) {
  const KeyValues &keys = feature.keys;
  int64_t dim = keys.getInt("dim"), hidden = list.getModel().hidden;
  list.normal("engram.in_proj.weight", {dim, hidden}).matrix({{"in", dim}});
  for (int64_t order : keys.getInts("orders"))
    list.normal("engram.order." + std::to_string(order) + ".weight", {dim, dim}).matrix({{"order", dim}});
  if (keys.getBool("gated")) {
    list.normal("engram.key.weight", {hidden, dim}).matrix({{"key", hidden}});
    list.constant("engram.value.weight", {hidden, dim}, 0).matrix({{"value", hidden}});
  } else {
    list.constant("engram.out_proj.weight", {hidden, dim}, 0).matrix({{"out", hidden}});
  }
  if (int64_t width = keys.getInt("conv"))
    list.add("engram.conv.weight", {hidden, width}, "uniform", 1 / std::sqrt(double(width)));
}

double flops(const Model &model, const Block &, const Feature &feature, double flops) {
  double hidden = model.hidden, dim = feature.keys.getInt("dim"), orders = feature.keys.getInts("orders").size();
  return flops + 2 * hidden * dim + 2 * dim * dim * orders + 2 * hidden * dim * (feature.keys.getBool("gated") ? 2 : 1);
}

} // namespace

PlacementSpec engramPlacement() {
  return {.word = "engram",
          .keys = {keys::list("orders", {2, 3, 4}), keys::derived("dim", "hidden / 4"), keys::flag("gated", false),
                   keys::flag("sqrt_gate", false), keys::integer("conv", 0, 0), keys::flag("conv_residual", true)},
          .check = check,
          .complete = complete,
          .part = BlockPart::after,
          .addBlockParameters = addParameters,
          .blockFlops = flops};
}

} // namespace megacc::mega

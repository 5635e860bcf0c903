// mod: mixture of depths, a block that only the picked tokens enter (conventions 10.7 and 10.8).
#include "dialects/Mega/Spec.h"

#include "llvm/Support/FormatVariadic.h"

namespace megacc::mega {
namespace {

void check(const KeyValues &keys, const Model &, ErrorAt error) {
  if (double capacity = keys.getFloat("capacity"); keys.has("capacity") && !(capacity > 0 && capacity <= 1)) // mega.mod.c1
    error("capacity") << "capacity = " << llvm::formatv("{0}", capacity).str() << " is outside (0, 1]";
}

void addParameters(ParameterList &list, const Block &, const Feature &) {
  list.normal("mod.router.weight", {1, list.getModel().hidden}).fp32 = true;
}

double flops(const Model &model, const Block &, const Feature &feature, double flops) {
  return flops * feature.keys.getFloat("capacity") + 2.0 * model.hidden;
}

} // namespace

PlacementSpec modPlacement() {
  return {.word = "mod",
          .families = {"moe"},
          .keys = {keys::number("capacity", 0.5), keys::number("aux", 0.01)},
          .check = check,
          .part = BlockPart::before,
          .addBlockParameters = addParameters,
          .blockFlops = flops};
}

} // namespace megacc::mega

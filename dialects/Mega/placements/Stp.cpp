// stp: straightness of the residual stream between tokens (conventions 12.6).
#include "dialects/Mega/Spec.h"

namespace megacc::mega {
namespace {

void check(const KeyValues &keys, const Model &model, ErrorAt error) {
  for (int64_t layer : keys.getInts("layers"))
    if (layer >= model.depth && model.depth > 0) // mega.stp.c1
      error("layers") << "layer " << layer << " is out of range: the model has " << model.depth << " blocks, 0 to " << model.depth - 1;
}

} // namespace

PlacementSpec stpPlacement() {
  KeySpec layers = {"layers", KeyType::integers, std::nullopt, true, {}, 0};
  return {.word = "stp",
          .role = Role::objective,
          .keys = {layers, keys::integer("spans", 4), keys::number("weight", 0.05), keys::integer("start", 10000, 0)},
          .check = check};
}

} // namespace megacc::mega

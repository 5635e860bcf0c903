// dsa: attention to the keys that an indexer picks (conventions 6.3 to 6.8).
#include "dialects/Mega/placements/Dsa.h"
#include "dialects/Mega/Spec.h"

namespace megacc::mega {
namespace {

void complete(KeyValues &keys, const Model &, const KeyValues &family, ErrorAt error) {
  if (keys.has("dim") && family.has("rope"))
    if (int64_t rope = family.getInt("rope"), dim = keys.getInt("dim"); rope > dim) // mega.dsa.c1
      error("dim") << "the indexer rotates rope = " << rope << " channels of dim = " << dim << "; fix: use dim of at least " << rope;
}

void addParameters(ParameterList &list, const Block &block, const Feature &feature) {
  if (!ownsIndexer(feature))
    return;
  Size heads = feature.keys.getInt("heads"), dim = feature.keys.getInt("dim"), hidden = list.getModel().hidden;
  list.normal("indexer.q_up.weight", {heads * dim, block.keys.getInt("q_rank")});
  list.normal("indexer.k_proj.weight", {dim, hidden});
  list.constant("indexer.k_norm.weight", {dim}, 1);
  list.constant("indexer.k_norm.bias", {dim}, 0);
  list.normal("indexer.head_proj.weight", {heads, hidden});
}

double flops(const Model &model, const Block &block, const Feature &feature, double flops) {
  if (!ownsIndexer(feature))
    return flops;
  double heads = feature.keys.getInt("heads"), dim = feature.keys.getInt("dim"), hidden = model.hidden, half = model.sequence / 2.0;
  return flops + 2 * (double(block.keys.getInt("q_rank")) * heads * dim + hidden * dim + hidden * heads) + 2 * half * heads * dim;
}

} // namespace

bool ownsIndexer(const Feature &feature) { return feature.order % feature.keys.getInt("share") == 0; }

PlacementSpec dsaPlacement() {
  return {
      .word = "dsa",
      .families = {"mla"},
      .keys = {keys::required("heads"), keys::required("dim"), keys::required("top_k"), keys::number("kl", 0.0), keys::integer("share", 1)},
      .complete = complete,
      .part = BlockPart::mixer,
      .addBlockParameters = addParameters,
      .blockFlops = flops};
}

} // namespace megacc::mega

// dsa: attention to the keys that an indexer picks (conventions 6.3 to 6.8).
#include "dialects/Mega/placements/Dsa.h"
#include "dialects/Mega/Spec.h"

#include <algorithm>

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

/// Of the forward, a third of what training takes: what has fewer gradients than a product counts for less.
double flops(const Model &model, const Block &block, const Feature &feature, double flops) {
  auto family = [&](llvm::StringRef key) { return double(block.keys.getInt(key)); };
  double sequence = model.sequence, kept = std::min<double>(feature.keys.getInt("top_k"), sequence), hidden = model.hidden;
  double keys = (kept * (kept + 1) / 2 + (sequence - kept) * kept) / sequence; // of a query, on average
  double heads = family("heads"), qk_dim = family("nope") + family("rope");
  flops += 2 * (keys - sequence / 2) * heads * (qk_dim + family("value")); // instead of the causal half
  if (!ownsIndexer(feature))
    return flops;
  double indexer = double(feature.keys.getInt("heads")) * feature.keys.getInt("dim");
  double projections = 2 * (family("q_rank") * indexer + hidden * feature.keys.getInt("dim") + hidden * feature.keys.getInt("heads"));
  double forward = projections + sequence * indexer, backward = 0;
  if (feature.keys.getFloat("kl") != 0) { // both sides' scores of the picked keys, then three products and the projections' weights
    forward += 2 * keys * (heads * qk_dim + indexer);
    backward = 6 * keys * indexer + projections;
  }
  return flops + (forward + backward) / 3;
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

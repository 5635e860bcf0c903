// relation_bias: a bias of attention's scores by the relations between the chunks of query and key (conventions 6.10).
#include "dialects/Mega/Spec.h"

namespace megacc::mega {
namespace {

void addParameters(ParameterList &list, const Block &block, const Feature &feature) {
  Size heads = block.keys.getInt("heads");
  list.constant("relation_bias.weight", {heads, feature.keys.getInt("relations")}, 0).split(MG_TP, 0, {heads}).fp32 = true;
}

} // namespace

PlacementSpec relationBiasPlacement() {
  KeySpec relations = keys::integer("relations", 9), chunks = keys::integer("chunks", 64);
  relations.most = 31, relations.brief = true;
  chunks.most = 4096, chunks.brief = true; // an input of chunks x chunks for each row
  return {.word = "relation_bias",
          .families = {"mla", "attention"},
          .keys = {relations, chunks},
          .excludes = {{"dsa", "sparse attention has no bias"}},
          .shared_keys = {"chunks"},
          .part = BlockPart::after,
          .addBlockParameters = addParameters};
}

} // namespace megacc::mega

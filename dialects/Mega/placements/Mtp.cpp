// mtp: prediction of tokens further ahead (conventions 12.3 to 12.5).
#include "dialects/Mega/Spec.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

namespace megacc::mega {
namespace {

void complete(KeyValues &keys, const Model &model, const KeyValues &, ErrorAt error) {
  if (!keys.has("width"))
    keys.set("width", 4 * model.hidden);
  llvm::StringRef letter = keys.getText("block");
  if (keys.has("block") && (letter.size() != 1 || !model.families.count(llvm::toUpper(letter[0])))) // mega.mtp.c1
    error("block") << "mtp's first sublayer is letter \"" << letter << "\", which has no family; fix: bind it or write block = \"...\"";
}

/// Of one depth: the family of letter `block`, then an mlp.
std::vector<Block> blocks(const Model &model, const KeyValues &keys) {
  char letter = llvm::toUpper(keys.getText("block")[0]);
  const auto &[kind, values] = model.families.at(letter);
  KeyValues mlp;
  mlp.set("width", keys.getInt("width"));
  mlp.set("activation", keys.getText("activation"));
  return {{-1, letter, 0, kind, values, {}}, {-1, 0, 0, "mlp", mlp, {}}};
}

void addParameters(ParameterList &list, const KeyValues &keys) {
  int64_t hidden = list.getModel().hidden;
  for (int64_t depth = 0; depth < keys.getInt("depth"); ++depth) {
    std::string name = "mtp." + std::to_string(depth);
    list.setScope(name + ".", -1);
    list.addNorm("embed_norm");
    list.addNorm("hidden_norm");
    list.normal("eh_proj.weight", {hidden, 2 * hidden}).matrix({{"eh", hidden}});
    for (auto [index, block] : llvm::enumerate(blocks(list.getModel(), keys)))
      addBlockParameters(list, name + ".blocks." + std::to_string(index), block);
    list.setScope(name + ".", -1);
    list.addNorm("final_norm");
  }
}

double flops(const Model &model, const KeyValues &keys) {
  double hidden = model.hidden, depth = headFlops(model) + 2 * hidden * 2 * hidden;
  for (const Block &block : blocks(model, keys))
    depth += blockFlops(model, block);
  return depth * keys.getInt("depth");
}

} // namespace

PlacementSpec mtpPlacement() {
  KeySpec depth = keys::integer("depth", 1);
  depth.most = 64; // each depth is a block and a head of its own
  return {.word = "mtp",
          .role = Role::objective,
          .keys = {depth, keys::derived("width", "4 hidden"), keys::activation(), keys::number("weight", 0.1), keys::text("block", "A")},
          .complete = complete,
          .mesh = {{MG_TP, "width"}},
          .addParameters = addParameters,
          .flops = flops,
          .blocks = blocks};
}

} // namespace megacc::mega

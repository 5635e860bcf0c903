// gated_deltanet: the gated delta rule (conventions section 19).
#include "dialects/Mega/Spec.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>

namespace megacc::mega {
namespace {

void complete(KeyValues &keys, const Model &, ErrorAt error) {
  if (!keys.has("key_heads") && keys.has("heads"))
    keys.set("key_heads", keys.getInt("heads"));
  if (keys.hasAll({"heads", "key_heads"}) && keys.getInt("heads") % keys.getInt("key_heads")) // mega.gated_deltanet.c1
    error("heads") << "heads = " << keys.getInt("heads") << " must be a multiple of key_heads = " << keys.getInt("key_heads");
  if (keys.has("chunk") && !llvm::is_contained({16, 32, 64, 128}, keys.getInt("chunk"))) // mega.gated_deltanet.c2
    error("chunk") << "chunk = " << keys.getInt("chunk") << " must be 16, 32, 64 or 128";
}

void addParameters(ParameterList &list, const KeyValues &keys) {
  Size hidden = list.getModel().hidden, heads = keys.getInt("heads"), width = keys.getInt("conv");
  Size key = Size(keys.getInt("key_heads")) * keys.getInt("key"), value = heads * keys.getInt("value"), channels = 2 * key + value;
  Size key_head = keys.getInt("key"), value_head = keys.getInt("value");
  list.normal("in_proj.weight", {channels + value + 2 * heads, hidden})
      .matrix({{"q", key, key_head}, {"k", key, key_head}, {"v", value, value_head}, {"z", value, value_head}, {"b", heads}, {"dt", heads}})
      .splitSegments(MG_TP);
  list.add("conv.weight", {channels, width}, "uniform", 1 / std::sqrt(double(width.get()))).split(MG_TP, 0, {key, key, value});
  list.add("A_log", {heads}, "a_log", 0).split(MG_TP, 0, {heads}).fp32 = true;
  list.add("dt_bias", {heads}, "dt_bias", 0).split(MG_TP, 0, {heads}).fp32 = true;
  list.constant("norm.weight", {keys.getInt("value")}, 1);
  list.normal("out_proj.weight", {hidden, value}, list.getDownDeviation()).matrix({{"out", hidden}}).split(MG_TP, 1, {value});
}

double flops(const Model &model, const KeyValues &keys) {
  double hidden = model.hidden, heads = keys.getInt("heads"), key = keys.getInt("key"), value = keys.getInt("value");
  double projection = 2 * keys.getInt("key_heads") * key + 2 * heads * value + 2 * heads;
  return 2 * hidden * projection + 2 * heads * value * hidden + heads * (4 * keys.getInt("chunk") * (key + value) + 6 * key * value);
}

} // namespace

FamilySpec gatedDeltanetFamily() {
  return {.word = "gated_deltanet",
          .keys = {keys::required("heads"), keys::required("key"), keys::required("value"), keys::derived("key_heads", "heads"),
                   keys::integer("conv", 4), keys::integer("chunk", 64), keys::flag("neg_eigval", false)},
          .complete = complete,
          .addParameters = addParameters,
          .flops = flops,
          .mesh = {{MG_TP, "key_heads"}}};
}

} // namespace megacc::mega

// m2rnn: matrix-to-matrix recurrence (conventions section 9).
#include "dialects/Mega/Spec.h"

#include <cmath>

namespace megacc::mega {
namespace {

void complete(KeyValues &keys, const Model &model, ErrorAt error) {
  if (!keys.has("heads") && keys.hasAll({"key", "value"}))
    keys.set("heads", model.hidden / (keys.getInt("key") + keys.getInt("value")));
  if (keys.has("heads") && keys.getInt("heads") < 1) // mega.m2rnn.c1
    error("") << "hidden = " << model.hidden << " is less than key + value = " << keys.getInt("key") + keys.getInt("value")
              << ", which leaves no head; fix: give heads";
}

void addParameters(ParameterList &list, const KeyValues &keys) {
  Size hidden = list.getModel().hidden, heads = keys.getInt("heads"), value = keys.getInt("value"), width = keys.getInt("conv");
  Size channels = 2 * keys.getInt("key") + heads * value;
  // Heads share queries and keys.
  Size shared = 2 * keys.getInt("key"), own = heads * value;
  std::vector<Piece> conv = {{shared.get(), shared.get(), Share::Whole}, {own.get(), own.get(), Share::Split}};
  Size key = keys.getInt("key");
  list.normal("in_proj.weight", {channels + heads + heads * value, hidden})
      .matrix({{"q", key, 0, 0, Share::Whole}, {"k", key, 0, 0, Share::Whole}, {"v", own, value}, {"f", heads}, {"g", own, value}})
      .splitSegments(MG_TP);
  list.add("conv.weight", {channels, width}, "uniform", 1 / std::sqrt(double(width.get()))).split(MG_TP, 0, conv);
  list.constant("conv.bias", {channels}, 0).split(MG_TP, 0, conv);
  list.add("A_log", {heads}, "a_log", 0).split(MG_TP, 0, {heads}).fp32 = true;
  list.add("dt_bias", {heads}, "dt_bias", 0).split(MG_TP, 0, {heads}).fp32 = true;
  list.add("state_weight", {heads, value, value}, "identity", double(value.get())).split(MG_TP, 0, {heads});
  list.constant("D", {heads, value}, 1).split(MG_TP, 0, {heads}).decays = false;
  list.constant("norm.weight", {heads * value}, 1);
  list.normal("out_proj.weight", {hidden, heads * value}, list.getDownDeviation()).matrix({{"out", hidden}}).split(MG_TP, 1, {own});
}

double flops(const Model &model, const KeyValues &keys) {
  double hidden = model.hidden, heads = keys.getInt("heads"), key = keys.getInt("key"), value = keys.getInt("value");
  return 2 * hidden * (2 * key + heads * value + heads + heads * value) + 2 * hidden * heads * value +
         heads * (2 * key * value * value + 7 * key * value);
}

} // namespace

FamilySpec m2rnnFamily() {
  return {.word = "m2rnn",
          .keys = {keys::integer("key", 64), keys::integer("value", 16), keys::derived("heads", "hidden / (key + value)"),
                   keys::integer("conv", 4)},
          .complete = complete,
          .addParameters = addParameters,
          .flops = flops,
          .mesh = {{MG_TP, "heads", /*or_whole=*/true}}};
}

} // namespace megacc::mega

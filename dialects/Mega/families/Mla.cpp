// mla: multi-head latent attention (conventions 6.1).
#include "dialects/Mega/Spec.h"
#include "dialects/Mega/families/Gate.h"

namespace megacc::mega {
namespace {

void complete(KeyValues &keys, const Model &, ErrorAt error) {
  if (keys.has("theta") && keys.getFloat("theta") <= 0) // mega.mla.c2
    error("theta") << "theta must be above 0";
  if (int64_t rope = keys.getInt("rope"); rope % 2) // mega.mla.c1
    error("rope") << "rope width " << rope << " is odd, rotation pairs channels; fix: use " << rope - 1 << " or " << rope + 1;
}

void addParameters(ParameterList &list, const KeyValues &keys) {
  Size hidden = list.getModel().hidden, heads = keys.getInt("heads"), q_rank = keys.getInt("q_rank"), kv_rank = keys.getInt("kv_rank");
  Size nope = keys.getInt("nope"), rope = keys.getInt("rope"), value = keys.getInt("value");
  list.normal("q_down.weight", {q_rank, hidden}).matrix({{"q_down", q_rank}});
  list.constant("q_norm.weight", {q_rank}, 1);
  list.normal("q_up.weight", {heads * (nope + rope), q_rank})
      .matrix({{"q_nope", nope, nope}, {"q_rope", rope, rope}}, heads)
      .splitSegments(MG_TP);
  list.normal("kv_down.weight", {kv_rank + rope, hidden}).matrix({{"c_kv", kv_rank}, {"k_pe", rope}});
  list.constant("kv_norm.weight", {kv_rank}, 1);
  list.normal("kv_up.weight", {heads * (nope + value), kv_rank})
      .matrix({{"k_nope", nope, nope}, {"v", value, value}}, heads)
      .splitSegments(MG_TP);
  list.normal("out_proj.weight", {hidden, heads * value}, list.getDownDeviation())
      .matrix({{"out", hidden}})
      .split(MG_TP, 1, {heads * value});
  addGateParameter(list, keys, keys.getInt("value"));
}

double flops(const Model &model, const KeyValues &keys) {
  double hidden = model.hidden, half = model.sequence / 2.0, heads = keys.getInt("heads"), nope = keys.getInt("nope"),
         rope = keys.getInt("rope");
  double qk = nope + rope, value = keys.getInt("value"), q_rank = keys.getInt("q_rank"), kv_rank = keys.getInt("kv_rank");
  double projections =
      hidden * q_rank + q_rank * heads * qk + hidden * (kv_rank + rope) + kv_rank * heads * (nope + value) + heads * value * hidden;
  return 2 * projections + 2 * half * heads * (qk + value) + gateFlops(model, keys, keys.getInt("value"));
}

} // namespace

FamilySpec mlaFamily() {
  return {.word = "mla",
          .keys = {keys::required("heads"), keys::required("q_rank"), keys::required("kv_rank"), keys::required("nope"),
                   keys::required("rope"), keys::required("value"), keys::number("theta", 10000.0), keys::gate()},
          .complete = complete,
          .addParameters = addParameters,
          .flops = flops,
          .mesh = {{MG_TP, "heads"}},
          .attends = true};
}

} // namespace megacc::mega

// attention: grouped-query attention (conventions 6.2).
#include "dialects/Mega/Spec.h"
#include "dialects/Mega/families/Gate.h"

namespace megacc::mega {
namespace {

void complete(KeyValues &keys, const Model &, ErrorAt error) {
  int64_t heads = keys.getInt("heads"), head_dim = keys.getInt("head_dim");
  if (!keys.has("kv_heads") && keys.has("heads"))
    keys.set("kv_heads", heads);
  if (!keys.has("rope") && keys.has("head_dim"))
    keys.set("rope", head_dim);
  int64_t kv_heads = keys.getInt("kv_heads"), rope = keys.getInt("rope");
  if (keys.has("theta") && keys.getFloat("theta") <= 0) // mega.attention.c4
    error("theta") << "theta must be above 0";
  if (keys.hasAll({"heads", "kv_heads"}) && heads % kv_heads) // mega.attention.c1
    error("kv_heads") << "heads = " << heads << " is not divisible by kv_heads = " << kv_heads << "; fix: use a divisor of " << heads;
  if (keys.has("head_dim") && rope > head_dim) // mega.attention.c2
    error("rope") << "rope = " << rope << " exceeds head_dim = " << head_dim << "; fix: rotate at most the whole head";
  if (rope % 2) // mega.attention.c3
    error("rope") << "rope width " << rope << " is odd, rotation pairs channels; fix: use " << rope - 1 << " or " << rope + 1;
}

void addParameters(ParameterList &list, const KeyValues &keys) {
  Size hidden = list.getModel().hidden, dim = keys.getInt("head_dim"), heads = keys.getInt("heads");
  Size kv = keys.getInt("kv_heads") * dim;
  list.normal("qkv_proj.weight", {(heads + 2 * keys.getInt("kv_heads")) * dim, hidden})
      .matrix({{"q", heads * dim, dim}, {"k", kv, dim}, {"v", kv, dim}})
      .splitSegments(MG_TP);
  list.normal("out_proj.weight", {hidden, heads * dim}, list.getDownDeviation()).matrix({{"out", hidden}}).split(MG_TP, 1, {heads * dim});
  addGateParameter(list, keys, keys.getInt("head_dim"));
}

double flops(const Model &model, const KeyValues &keys) {
  double hidden = model.hidden, half = model.sequence / 2.0, heads = keys.getInt("heads"), dim = keys.getInt("head_dim");
  return 2 * hidden * (heads + 2 * keys.getInt("kv_heads")) * dim + 2 * hidden * heads * dim + 2 * half * heads * 2 * dim +
         gateFlops(model, keys, keys.getInt("head_dim"));
}

} // namespace

FamilySpec attentionFamily() {
  return {.word = "attention",
          .keys = {keys::required("heads"), keys::derived("kv_heads", "heads"), keys::required("head_dim"),
                   keys::derived("rope", "head_dim", 0), keys::number("theta", 10000.0), keys::gate()},
          .complete = complete,
          .addParameters = addParameters,
          .flops = flops,
          .mesh = {{MG_TP, "heads"}, {MG_TP, "kv_heads"}},
          .attends = true};
}

} // namespace megacc::mega

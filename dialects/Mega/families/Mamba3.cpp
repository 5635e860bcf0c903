// mamba3: Mamba-3, mimo and siso (conventions section 8).
#include "dialects/Mega/Spec.h"

#include "llvm/Support/FormatVariadic.h"

#include <algorithm>
#include <cmath>

namespace megacc::mega {
namespace {

void complete(KeyValues &keys, const Model &model, ErrorAt error) {
  if (!keys.hasAll({"expand", "head_dim", "rank", "chunk", "groups", "state", "rope_fraction", "variant"}))
    return;
  int64_t inner = keys.getInt("expand") * model.hidden, head_dim = keys.getInt("head_dim"), rank = keys.getInt("rank"),
          chunk = keys.getInt("chunk");
  int64_t groups = keys.getInt("groups"), heads = inner / head_dim;
  double fraction = keys.getFloat("rope_fraction");
  if (inner % head_dim) // mega.mamba3.c1
    error("head_dim") << "hidden * expand = " << inner << " is not divisible by head_dim = " << head_dim;
  else if (heads % groups) // mega.mamba3.c2
    error("groups") << "heads = hidden * expand / head_dim = " << heads << " is not divisible by groups = " << groups;
  if (chunk * rank > 64) // mega.mamba3.c3
    error("chunk") << "chunk * rank = " << chunk * rank << " exceeds 64; fix: use chunk = " << std::max<int64_t>(64 / rank, 1);
  if (fraction != 0.5 && fraction != 1.0) // mega.mamba3.c4
    error("rope_fraction") << "rope_fraction = " << llvm::formatv("{0}", fraction).str() << " must be 0.5 or 1.0";
  else if (keys.getInt("state") % (fraction == 0.5 ? 4 : 2)) // mega.mamba3.c5
    error("state") << "state = " << keys.getInt("state") << " must be divisible by " << (fraction == 0.5 ? 4 : 2) << " to be rotated";
  if (keys.getText("variant") == "siso" && rank != 1) // mega.mamba3.c6
    error("variant") << "variant siso has rank 1, rank = " << rank << "; fix: write rank = 1 or variant = mimo";
  keys.set("inner", inner);
  keys.set("heads", heads);
  keys.set("angles", keys.getInt("state") / (fraction == 0.5 ? 4 : 2));
}

void addParameters(ParameterList &list, const KeyValues &keys) {
  Size inner = keys.getInt("inner"), heads = keys.getInt("heads"), rank = keys.getInt("rank"), dim = keys.getInt("head_dim");
  Size state = keys.getInt("state"), hidden = list.getModel().hidden;
  // Heads, and of B and C the groups of every rank of the update; the angles turn all heads.
  Size group = keys.getInt("groups") * state, angles = keys.getInt("angles");
  list.add("in_proj.weight", {2 * inner + Size(2) * keys.getInt("groups") * state * rank + 3 * heads + keys.getInt("angles"), hidden},
           "uniform", 1 / std::sqrt(double(hidden.get())))
      .matrix({{"z", inner, dim},
               {"x", inner, dim},
               {"B", group * rank, 0, group},
               {"C", group * rank, 0, group},
               {"dd_dt", heads},
               {"dd_A", heads},
               {"trap", heads},
               {"angle", angles, 0, 0, Share::Whole}})
      .splitSegments(MG_TP);
  auto addOfHeads = [&](Parameter &parameter) { parameter.split(MG_TP, 0, {heads}).fp32 = true; };
  addOfHeads(list.add("dt_bias", {heads}, "dt_bias", 0));
  addOfHeads(list.constant("D", {heads}, 1));
  addOfHeads(list.constant("B_bias", {heads, rank, state}, 1));
  addOfHeads(list.constant("C_bias", {heads, rank, state}, 1));
  list.constant("B_norm.weight", {state}, 1);
  list.constant("C_norm.weight", {state}, 1);
  if (keys.getText("variant") == "mimo") {
    addOfHeads(list.constant("mimo_x", {heads, rank, dim}, 1.0 / double(rank.get())));
    addOfHeads(list.constant("mimo_z", {heads, rank, dim}, 1));
    addOfHeads(list.constant("mimo_o", {heads, rank, dim}, 1.0 / double(rank.get())));
  }
  if (keys.getBool("out_norm"))
    list.constant("norm.weight", {inner}, 1).split(MG_TP, 0, {inner});
  if (keys.getBool("state_gate")) {
    list.constant("state_gate.weight", {heads, hidden}, 0).split(MG_TP, 0, {heads});
    addOfHeads(list.constant("state_gate.bias", {heads}, 8));
  }
  list.add("out_proj.weight", {hidden, inner}, "uniform", 1 / std::sqrt(double(inner.get()) * list.getModel().depth))
      .matrix({{"out", hidden}})
      .split(MG_TP, 1, {inner});
}

double flops(const Model &model, const KeyValues &keys) {
  double hidden = model.hidden, heads = keys.getInt("heads"), rank = keys.getInt("rank"), state = keys.getInt("state"),
         dim = keys.getInt("head_dim");
  double length = keys.getInt("chunk") * rank, inner = keys.getInt("inner");
  double projection =
      2 * inner + 2 * keys.getInt("groups") * state * rank + 3 * heads + keys.getInt("angles") + (keys.getBool("state_gate") ? heads : 0);
  return 2 * hidden * projection + 2 * hidden * inner + heads * (2 * rank * length * (state + dim) + 4 * rank * state * dim);
}

} // namespace

FamilySpec mamba3Family() {
  return {.word = "mamba3",
          .keys = {keys::integer("expand", 2), keys::integer("head_dim", 64), keys::integer("state", 128), keys::integer("groups", 1),
                   keys::integer("rank", 4), keys::integer("chunk", 16, 8), keys::word("variant", {"mimo", "siso"}),
                   keys::number("rope_fraction", 0.5), keys::word("decay", {"softplus", "heavy"}), keys::flag("out_norm", false),
                   keys::option("state_gate")},
          .complete = complete,
          .addParameters = addParameters,
          .flops = flops,
          .mesh = {{MG_TP, "heads"}, {MG_TP, "groups"}}};
}

} // namespace megacc::mega

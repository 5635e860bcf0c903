// moe: routed and shared experts (conventions section 7).
#include "dialects/Mega/families/Moe.h"
#include "dialects/Mega/Spec.h"
#include "dialects/Mega/families/FeedForward.h"

#include <cmath>

namespace megacc::mega {

int64_t nullExperts(const KeyValues &keys) {
  double experts = keys.getInt("experts"), density = keys.getFloat("density");
  return density < 1 ? std::max<int64_t>(1, int64_t(experts * (1 - density) / density)) : 0;
}

int64_t expertSlots(const KeyValues &keys) { return int64_t(std::ceil(double(keys.getInt("top_k")) / keys.getFloat("density"))); }

namespace {

void complete(KeyValues &keys, const Model &, ErrorAt error) {
  if (keys.has("experts") && keys.getInt("top_k") > keys.getInt("experts")) // mega.moe.c1
    error("top_k") << "top_k = " << keys.getInt("top_k") << " exceeds experts = " << keys.getInt("experts") << "; fix: pick at most all";
  if (double density = keys.getFloat("density"); keys.has("density") && !(density > 0 && density <= 1)) // mega.moe.c2
    error("density") << "density = " << density << " is outside (0, 1]";
  else if (double rows = keys.getInt("experts") / density; rows > largestSize) // mega.moe.c4
    error("density") << "experts = " << keys.getInt("experts") << " with density = " << density << " are " << rows
                     << " experts and null experts, at most " << largestSize << "; fix: a larger density";
  if (keys.getBool("shared_gate") && keys.has("shared") && !keys.getInt("shared")) // mega.moe.c3
    error("shared_gate") << "shared_gate needs a shared expert, shared = 0; fix: give its width";
}

void addParameters(ParameterList &list, const KeyValues &keys) {
  int64_t hidden = list.getModel().hidden, experts = keys.getInt("experts"), rows = experts + (nullExperts(keys) > 0);
  const std::string &activation = keys.getText("activation");
  list.normal("router.weight", {rows, hidden}).fp32 = true;
  if (keys.getText("router") == "sigmoid") {
    Parameter &bias = list.constant("router.bias", {rows}, 0);
    bias.fp32 = true, bias.trained = false;
  }
  addFeedForward(list, "experts.", keys.getInt("width"), activation, {experts}, double(keys.getInt("top_k")) / experts);
  if (int64_t shared = keys.getInt("shared")) {
    addFeedForward(list, "shared.", shared, activation);
    if (keys.getBool("shared_gate"))
      list.normal("shared.gate.weight", {1, hidden});
  }
}

double flops(const Model &model, const KeyValues &keys) {
  double hidden = model.hidden, matrices = 1 + upMatrices(keys.getText("activation")),
         rows = keys.getInt("experts") + (nullExperts(keys) > 0);
  double width = double(keys.getInt("top_k")) * double(keys.getInt("width")) + double(keys.getInt("shared"));
  return 2 * hidden * rows + 2 * hidden * matrices * width + (keys.getBool("shared_gate") ? 2 * hidden : 0);
}

} // namespace

FamilySpec moeFamily() {
  return {.word = "moe",
          .keys = {keys::required("experts"), keys::required("top_k"), keys::required("width"), keys::integer("shared", 0, 0),
                   keys::activation(), keys::word("router", {"softmax", "sigmoid"}), keys::number("aux", 1e-4), keys::number("z", 0.0),
                   keys::number("scale", 1.0), keys::number("bias_rate", 1e-3), keys::number("density", 1.0),
                   keys::flag("shared_gate", false)},
          .complete = complete,
          .addParameters = addParameters,
          .flops = flops,
          .mesh = {{MG_TP, "width"}, {MG_TP, "shared"}, {MG_EP, "experts"}}};
}

} // namespace megacc::mega

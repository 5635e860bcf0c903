// mlp: a dense feed-forward layer.
#include "dialects/Mega/Spec.h"
#include "dialects/Mega/families/FeedForward.h"

namespace megacc::mega {

FamilySpec mlpFamily() {
  return {.word = "mlp",
          .keys = {keys::required("width"), keys::activation()},
          .addParameters = [](ParameterList &list,
                              const KeyValues &keys) { addFeedForward(list, "", keys.getInt("width"), keys.getText("activation")); },
          .flops =
              [](const Model &model, const KeyValues &keys) {
                return 2.0 * model.hidden * keys.getInt("width") * (1 + upMatrices(keys.getText("activation")));
              },
          .mesh = {{MG_TP, "width"}}};
}

} // namespace megacc::mega

// The gate of attention's output, which families with the key `gate` share.
#include "dialects/Mega/families/Gate.h"

namespace megacc::mega {

/// Gates of a token, 0 without.
static Size countGates(const KeyValues &keys, int64_t value) {
  Size heads = keys.getInt("heads");
  llvm::StringRef gate = keys.getText("gate");
  return gate == "head" ? heads : gate == "channel" ? heads * value : Size(0);
}

void addGateParameter(ParameterList &list, const KeyValues &keys, int64_t value) {
  if (Size gates = countGates(keys, value); gates.get())
    list.constant("gate_proj.weight", {gates, list.getModel().hidden}, 0)
        .matrix({{"gate", gates, keys.getText("gate") == "channel" ? value : 0}})
        .splitSegments(MG_TP);
}

double gateFlops(const Model &model, const KeyValues &keys, int64_t value) {
  return 2.0 * double(model.hidden) * double(countGates(keys, value).get());
}

} // namespace megacc::mega

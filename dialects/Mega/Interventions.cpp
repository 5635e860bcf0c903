#include "dialects/Mega/Interventions.h"
#include "dialects/Mega/Matrices.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>
#include <functional>

using namespace mlir;

namespace megacc::mega {

SmallVector<KindAttr> findInterventions(KindAttr settings) {
  for (NamedAttribute entry : settings.getKeys())
    if (auto list = dyn_cast<ArrayAttr>(entry.getValue()); list && entry.getName() == "interventions")
      if (llvm::all_of(list, llvm::IsaPred<KindAttr>))
        return llvm::to_vector(list.getAsRange<KindAttr>());
  return {};
}

/// How far the updates after moments became 0 exceed lr: the most of (1 - beta1^k) / sqrt(1 - beta2^k).
static double getResetFactor(double beta1, double beta2) {
  double factor = 0, first = 1, second = 1;
  for (int k = 1; k < 100000 && first > 1e-12; ++k) {
    first *= beta1, second *= beta2;
    factor = std::max(factor, (1 - first) / std::sqrt(1 - second));
  }
  return factor;
}

void checkIntervention(TrainOp op, const std::string &path, const Intervention &intervention, const KeyValues &adamw, ErrorAt error) {
  const auto &[kind, keys] = intervention;
  const std::vector<int64_t> &at = keys.getInts("at");
  if (at.empty() == (keys.getInt("every") == 0)) // mega.intervention.c2
    error(path) << kind << " needs either at = [steps] or every = N; fix: "
                << (at.empty() ? "give one of them, such as at = [1000]" : "leave one of them away");
  if (!llvm::is_sorted(at, std::less_equal<int64_t>())) // mega.intervention.c3
    error(path + ".at") << kind << ": at counts updates from 1 and ascends; fix: sort it, each step once";
  for (StringRef list : {"on", "except"})
    if (kind == "redo" && llvm::any_of(keys.getTexts(list), [](const std::string &text) { return text.find('#') != std::string::npos; }))
      error(path + "." + list.str()) // mega.intervention.c4
          << "redo: on and except take whole layers, not pieces; fix: end a pattern before its #";
  double beta1 = adamw.getFloat("beta1"), beta2 = adamw.getFloat("beta2");
  bool resets = kind == "redo" || keys.getText("moments") == "reset";
  if (double factor = resets && beta1 < 1 && beta2 < 1 ? getResetFactor(beta1, beta2) : 0; factor >= 1.5)
    emitWarning(keyLocation(op, path)) << kind << " resets moments: with beta1 = " << shortText(beta1) << ", beta2 = " << shortText(beta2)
                                       << " the updates after it reach " << llvm::formatv("{0:f2}", factor).str() << " lr; take "
                                       << (kind == "redo" ? "" : "moments = keep or ") << "a smaller beta2";
}

void checkInterventionPatterns(const Model &model, ErrorAt error) {
  for (auto [index, intervention] : llvm::enumerate(model.train->interventions))
    for (StringRef list : {"on", "except"})
      for (const std::string &pattern : findUnmatched(model, intervention, intervention.keys.getTexts(list))) // mega.intervention.c5
        error("interventions." + std::to_string(index) + "." + list.str())
            << intervention.kind << ": \"" << pattern << "\" matches no "
            << (intervention.kind == "redo" ? "hidden layer" : "matrix (embeddings, head, routers, indexer, norms and biases are none)")
            << "; fix: remove it";
}

} // namespace megacc::mega

// concept: attention of every token to learned concepts (conventions section 10).
#include "dialects/Mega/Spec.h"

namespace megacc::mega {
namespace {

void complete(KeyValues &keys, const Model &model, ErrorAt error) {
  if (keys.has("heads") && model.hidden % keys.getInt("heads")) // mega.concept.c1
    error("heads") << "hidden = " << model.hidden << " is not divisible by heads = " << keys.getInt("heads");
}

void addParameters(ParameterList &list, const KeyValues &keys) {
  int64_t hidden = list.getModel().hidden;
  list.normal("concepts", {keys.getInt("concepts"), hidden});
  for (const char *name : {"q", "k", "v"})
    list.normal(name + std::string("_proj.weight"), {hidden, hidden}).matrix({{name, hidden, hidden / keys.getInt("heads")}});
  list.constant("out_proj.weight", {hidden, hidden}, 0).matrix({{"out", hidden}});
}

double flops(const Model &model, const KeyValues &keys) {
  double hidden = model.hidden;
  return 2 * hidden * hidden * 2 + 2 * double(keys.getInt("concepts")) * hidden * 2;
}

} // namespace

FamilySpec conceptFamily() {
  return {.word = "concept",
          .keys = {keys::integer("concepts", 64), keys::integer("heads", 4)},
          .complete = complete,
          .addParameters = addParameters,
          .flops = flops};
}

} // namespace megacc::mega

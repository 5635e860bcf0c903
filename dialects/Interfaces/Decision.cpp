#include "dialects/Interfaces/Decision.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Operation.h"

using namespace mlir;

namespace megacc {
namespace {

void addOption(NamedAttrList &entries, Builder &builder, const Decision::Option &option) {
  entries.set("choice", builder.getStringAttr(option.choice));
  if (option.bytes)
    entries.set("bytes", builder.getI64IntegerAttr(*option.bytes));
  if (option.milliseconds)
    entries.set("milliseconds", builder.getF64FloatAttr(*option.milliseconds));
}

std::string readText(DictionaryAttr entries, StringRef key) {
  auto text = entries.getAs<StringAttr>(key);
  return text ? text.getValue().str() : "";
}

Decision::Option readOption(DictionaryAttr entries) {
  Decision::Option option{readText(entries, "choice"), {}, {}};
  if (auto bytes = entries.getAs<IntegerAttr>("bytes"))
    option.bytes = bytes.getInt();
  if (auto milliseconds = entries.getAs<FloatAttr>("milliseconds"))
    option.milliseconds = milliseconds.getValueAsDouble();
  return option;
}

} // namespace

DictionaryAttr Decision::toAttribute(MLIRContext *context) const {
  Builder builder(context);
  NamedAttrList entries;
  for (auto [key, text] : {std::pair("block", &block), std::pair("value", &value), std::pair("reason", &reason)})
    if (!text->empty())
      entries.set(key, builder.getStringAttr(*text));
  addOption(entries, builder, chosen);
  if (!slots.empty())
    entries.set("slots", builder.getDenseI64ArrayAttr(slots));
  SmallVector<Attribute> others;
  for (const Option &option : alternatives) {
    NamedAttrList other;
    addOption(other, builder, option);
    others.push_back(other.getDictionary(context));
  }
  if (!others.empty())
    entries.set("alternatives", builder.getArrayAttr(others));
  return entries.getDictionary(context);
}

std::string Decision::describe() const {
  // A letter and a name are what --recompute takes.
  std::string text = block.empty() ? "" : block + (block.size() == 1 ? ":" : ": ");
  return text + value + ": " + chosen.choice + (reason.empty() ? "" : ", " + reason);
}

std::vector<Decision> readDecisions(Operation *module) {
  std::vector<Decision> decisions;
  auto array = module->getAttrOfType<ArrayAttr>(kDecisionsAttr);
  if (!array)
    return decisions;
  for (auto entries : array.getAsRange<DictionaryAttr>()) {
    Decision decision{readText(entries, "block"), readText(entries, "value"), readOption(entries), {}, readText(entries, "reason"), {}};
    if (auto slots = entries.getAs<DenseI64ArrayAttr>("slots"))
      decision.slots = slots.asArrayRef().vec();
    if (auto others = entries.getAs<ArrayAttr>("alternatives"))
      for (auto other : others.getAsRange<DictionaryAttr>())
        decision.alternatives.push_back(readOption(other));
    decisions.push_back(std::move(decision));
  }
  return decisions;
}

} // namespace megacc

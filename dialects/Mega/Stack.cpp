#include "dialects/Mega/Stack.h"
#include "dialects/Mega/Interventions.h"
#include "dialects/Mega/Spec.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace megacc::mega {
namespace {

KindAttr makeWord(MLIRContext *context, StringRef word) { return KindAttr::get(context, word, {}); }

/// Words and quoted strings are both text; the key table tells them apart.
bool isQuoted(StringRef kind, StringRef key) {
  const std::vector<KeySpec> *specs = findKeys(kind);
  return specs && llvm::any_of(*specs, [&](const KeySpec &spec) { return spec.name == key && spec.type == KeyType::string; });
}

Attribute makeValue(Builder &builder, const Value &value, bool quoted) {
  if (auto *number = std::get_if<int64_t>(&value))
    return builder.getI64IntegerAttr(*number);
  if (auto *number = std::get_if<double>(&value))
    return builder.getF64FloatAttr(*number);
  if (auto *flag = std::get_if<bool>(&value))
    return builder.getBoolAttr(*flag);
  if (auto *list = std::get_if<std::vector<int64_t>>(&value))
    return builder.getI64ArrayAttr(*list);
  if (auto *list = std::get_if<std::vector<std::string>>(&value))
    return builder.getStrArrayAttr(llvm::to_vector_of<StringRef>(*list));
  const std::string &text = std::get<std::string>(value);
  return quoted ? Attribute(builder.getStringAttr(text)) : Attribute(makeWord(builder.getContext(), text));
}

Feature readFeature(KindAttr kind) {
  Feature feature{kind.getWord().str(), readKeys(kind), 0};
  feature.order = feature.keys.getInt("order");
  return feature;
}

KindAttr findTable(KindAttr settings, StringRef key) {
  for (NamedAttribute entry : settings.getKeys())
    if (entry.getName() == key)
      return dyn_cast<KindAttr>(entry.getValue());
  return {};
}

/// With the defaults of keys that are not written.
Intervention readIntervention(KindAttr kind) {
  Intervention intervention = {kind.getWord().str(), readKeys(kind)};
  for (const KeySpec &key : *findSettings(intervention.kind))
    if (!intervention.keys.has(key.name) && key.value)
      intervention.keys.set(key.name, *key.value);
  return intervention;
}

Train readSettings(KindAttr settings) {
  KeyValues keys = readKeys(settings);
  KindAttr optimizer = findTable(settings, "optimizer"), schedule = findTable(optimizer, "schedule");
  KeyValues adamw = readKeys(optimizer), curve = readKeys(schedule);
  Train train;
  train.micro_batch = keys.getInt("micro_batch"), train.accumulate = keys.getInt("accumulate"), train.seed = keys.getInt("seed");
  train.precision = keys.getText("precision"), train.clip = keys.getFloat("clip"), train.documents = keys.getBool("documents");
  train.sequence_parallel = keys.getBool("sequence_parallel");
  train.lr = adamw.getFloat("lr"), train.beta1 = adamw.getFloat("beta1"), train.beta2 = adamw.getFloat("beta2");
  train.eps = adamw.getFloat("eps"), train.decay = adamw.getFloat("decay");
  if (optimizer.getWord() == "muon")
    train.muon = Muon{adamw.getFloat("momentum"), adamw.getFloat("rms"),  adamw.getBool("nesterov"),
                      adamw.getInt("iterations"), adamw.getText("split"), adamw.getTexts("except")};
  for (KindAttr kind : findInterventions(settings))
    train.interventions.push_back(readIntervention(kind));
  if (keys.has("moments"))
    train.moments = keys.getText("moments");
  if (keys.has("psiv_cache"))
    train.psiv_cache = keys.getText("psiv_cache");
  if (keys.has("recompute"))
    train.recompute = keys.getText("recompute");
  train.memory = keys.getText("memory");
  train.memory_bytes = parseBytes(train.memory).value_or(0);
  if (KindAttr mesh = findTable(settings, "mesh")) {
    KeyValues axes = readKeys(mesh);
    for (const auto &[name, ranks] : axes.all())
      if (std::optional<int64_t> axis = findAxis(name))
        train.mesh[*axis] = std::get<int64_t>(ranks);
    train.zero = axes.getInt("zero");
  }
  train.schedule = schedule.getWord().str();
  train.warmup = curve.getInt("warmup"), train.steps = curve.getInt("steps");
  if (curve.has("final"))
    train.final_lr = curve.getFloat("final");
  return train;
}

} // namespace

KindAttr makeKind(MLIRContext *context, StringRef word, const KeyValues &keys) {
  Builder builder(context);
  SmallVector<NamedAttribute> entries;
  for (const auto &[name, value] : keys.all())
    entries.emplace_back(builder.getStringAttr(name), makeValue(builder, value, isQuoted(word, name)));
  return KindAttr::get(context, word, entries);
}

DictionaryAttr makeTable(MLIRContext *context, StringRef word, const KeyValues &keys) {
  Builder builder(context);
  NamedAttrList table;
  table.set("kind", builder.getStringAttr(word));
  for (const auto &[name, value] : keys.all())
    table.set(name, makeValue(builder, value, /*quoted=*/true));
  return table.getDictionary(context);
}

KeyValues readKeys(KindAttr kind) {
  KeyValues keys;
  for (NamedAttribute entry : kind.getKeys()) {
    StringRef name = entry.getName();
    llvm::TypeSwitch<Attribute>(entry.getValue())
        .Case([&](BoolAttr flag) { keys.set(name, flag.getValue()); })
        .Case([&](IntegerAttr number) { keys.set(name, number.getInt()); })
        .Case([&](FloatAttr number) { keys.set(name, number.getValueAsDouble()); })
        .Case([&](StringAttr text) { keys.set(name, text.str()); })
        .Case([&](ArrayAttr list) {
          if (llvm::all_of(list, llvm::IsaPred<StringAttr>)) { // an empty list is none of integers: its readers take it as the default
            std::vector<std::string> texts;
            for (auto item : list.getAsRange<StringAttr>())
              texts.push_back(item.str());
            keys.set(name, texts);
            return;
          }
          if (!llvm::all_of(list, llvm::IsaPred<IntegerAttr>)) // tables, which are read by themselves
            return;
          std::vector<int64_t> numbers;
          for (Attribute item : list)
            numbers.push_back(cast<IntegerAttr>(item).getInt());
          keys.set(name, numbers);
        })
        .Case([&](KindAttr word) {
          if (word.getKeys().empty())
            keys.set(name, word.getWord().str());
        });
  }
  return keys;
}

KindAttr makeSettings(MLIRContext *context, const Train &train, KindAttr given) {
  Builder builder(context);
  SmallVector<NamedAttribute> curve, adamw, keys;
  auto integer = [&](auto &to, StringRef name, int64_t value) {
    to.emplace_back(builder.getStringAttr(name), builder.getI64IntegerAttr(value));
  };
  auto number = [&](auto &to, StringRef name, double value) {
    to.emplace_back(builder.getStringAttr(name), builder.getF64FloatAttr(value));
  };
  auto other = [&](auto &to, StringRef name, Attribute value) { to.emplace_back(builder.getStringAttr(name), value); };
  if (train.schedule == "cosine") {
    integer(curve, "warmup", train.warmup);
    if (train.steps)
      integer(curve, "steps", train.steps);
    if (train.final_lr >= 0)
      number(curve, "final", train.final_lr);
  }
  number(adamw, "lr", train.lr), number(adamw, "beta1", train.beta1), number(adamw, "beta2", train.beta2), number(adamw, "eps", train.eps);
  number(adamw, "decay", train.decay);
  other(adamw, "schedule", KindAttr::get(context, train.schedule, curve));
  integer(keys, "micro_batch", train.micro_batch), integer(keys, "accumulate", train.accumulate), integer(keys, "seed", train.seed);
  other(keys, "precision", makeWord(context, train.precision));
  number(keys, "clip", train.clip);
  other(keys, "documents", builder.getBoolAttr(train.documents));
  if (train.sequence_parallel)
    other(keys, "sequence_parallel", builder.getBoolAttr(true));
  if (train.muon) {
    number(adamw, "momentum", train.muon->momentum), number(adamw, "rms", train.muon->rms);
    other(adamw, "nesterov", builder.getBoolAttr(train.muon->nesterov));
    integer(adamw, "iterations", train.muon->iterations);
    other(adamw, "split", makeWord(context, train.muon->split));
    other(adamw, "except", builder.getStrArrayAttr(llvm::to_vector_of<StringRef>(train.muon->except)));
  }
  other(keys, "optimizer", KindAttr::get(context, train.muon ? "muon" : "adamw", adamw));
  if (train.moments != "fp32")
    other(keys, "moments", makeWord(context, train.moments));
  for (NamedAttribute entry : given.getKeys())
    if (llvm::is_contained({"interventions", "mesh", "memory", "recompute", "psiv_cache"}, entry.getName().strref()))
      keys.push_back(entry);
  return KindAttr::get(context, "train", keys);
}

std::vector<Model> readStacks(ModuleOp module) {
  std::vector<Model> models;
  for (auto stack : module.getOps<StackOp>()) {
    Model &model = models.emplace_back();
    model.name = stack.getSymbol().str();
    model.hidden = stack.getHidden(), model.vocab = stack.getVocab(), model.sequence = stack.getSequence();
    model.stage_cuts.assign(stack.getStageCuts().begin(), stack.getStageCuts().end());
    if (KindAttr norm = stack.getNormAttr())
      model.norm = {norm.getWord().str(), readKeys(norm)};
    if (auto scale = dyn_cast_or_null<FloatAttr>(stack.getLayerScaleAttr()))
      model.layer_scale = scale.getValueAsDouble();
    for (auto family : stack.getBody().getOps<FamilyOp>())
      model.families[family.getLetter().front()] = {family.getKind().getWord().str(), readKeys(family.getKind())};
    for (auto block : stack.getBody().getOps<BlockOp>()) {
      Block &slot = model.blocks.emplace_back();
      slot.slot = block.getSlot(), slot.letter = block.getLetter().front(), slot.rank = block.getRank();
      slot.kind = block.getKind().getWord().str(), slot.keys = readKeys(block.getKind());
      for (Attribute feature : block.getFeatures())
        slot.features.push_back(readFeature(cast<KindAttr>(feature)));
    }
    model.depth = model.blocks.size();
    for (auto place : stack.getBody().getOps<PlaceOp>())
      if (!place.getOnLetter())
        model.placements.push_back(readFeature(place.getKind()));
    for (auto train : module.getOps<TrainOp>())
      if (train.getModel() == model.name)
        model.train = readSettings(train.getSettings());
  }
  return models;
}

void setTrainKey(ModuleOp module, StringRef model, StringRef key, Attribute value) {
  for (auto train : module.getOps<TrainOp>()) {
    if (!model.empty() && train.getModel() != model)
      continue;
    SmallVector<NamedAttribute> keys(train.getSettings().getKeys());
    auto found = llvm::find_if(keys, [&](NamedAttribute entry) { return entry.getName() == key; });
    if (found == keys.end())
      keys.emplace_back(StringAttr::get(module.getContext(), key), value);
    else
      found->setValue(value);
    train.setSettingsAttr(KindAttr::get(module.getContext(), train.getSettings().getWord(), keys));
  }
}

} // namespace megacc::mega

// Reads and checks a declaration. Every rule has an id (mega.<thing>.c<n>), repeated in the negative tests.
#include "dialects/Mega/Model.h"
#include "dialects/Mega/Interventions.h"
#include "dialects/Mega/Matrices.h"
#include "dialects/Mega/Mega.h"
#include "dialects/Mega/Parameters.h"
#include "dialects/Mega/Pattern.h"
#include "dialects/Mega/Spec.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/StringExtras.h"

#include <set>

using namespace mlir;

namespace megacc::mega {

const Feature *Block::find(StringRef kind) const {
  auto found = llvm::find_if(features, [&](const Feature &feature) { return feature.kind == kind; });
  return found == features.end() ? nullptr : &*found;
}

const Feature *Model::find(StringRef kind) const {
  auto found = llvm::find_if(placements, [&](const Feature &feature) { return feature.kind == kind; });
  return found == placements.end() ? nullptr : &*found;
}

namespace {

class Checker {
public:
  explicit Checker(ModuleOp module) : module(module) {}

  FailureOr<std::vector<Model>> run() {
    std::vector<Model> models;
    checkPlaces();
    for (auto op : module.getOps<ModelOp>()) {
      for (const Model &earlier : models)
        if (earlier.name == op.getSymbol()) // mega.model.c1
          error(keyLocation(op, "symbol")) << "two models are called '@" << earlier.name << "'; fix: rename one";
      models.push_back(readModel(op));
    }
    if (models.empty())
      error(module.getLoc()) << "there is no mega.model here; fix: declare one";
    for (auto op : module.getOps<TrainOp>())
      readTrain(op, models);
    if (failed) // sizes of a wrong declaration say nothing
      return failure();
    for (auto [op, model] : llvm::zip_equal(module.getOps<ModelOp>(), models))
      checkSizes(op, model), checkPatterns(model);
    if (failed)
      return failure();
    return models;
  }

private:
  InFlightDiagnostic error(Location location) {
    failed = true;
    return emitError(location);
  }

  /// What stands where it is not read.
  void checkPlaces() {
    module.walk([&](Operation *op) {
      bool isInModel = isa_and_nonnull<ModelOp>(op->getParentOp());
      if (isa<PatternOp, FamilyOp, PlaceOp>(op) && !isInModel) // mega.module.c1
        error(opLocation(op)) << "'" << op->getName() << "' stands outside of a mega.model; fix: move it into the braces of one";
      else if (isa<ModelOp, TrainOp>(op) && op->getParentOp() != module) // mega.module.c2
        error(opLocation(op)) << "'" << op->getName() << "' stands inside of " << (isInModel ? "a mega.model" : "another operation")
                              << "; fix: move it out, beside the models";
    });
  }

  /// At a key, at the op itself for the empty one.
  InFlightDiagnostic errorAt(Operation *op, StringRef key) { return error(key.empty() ? opLocation(op) : keyLocation(op, key)); }

  /// Integer, float, boolean, text or list of an attribute; nothing if it has another type.
  std::optional<Value> convert(Attribute attribute, KeyType type) {
    auto kind = dyn_cast<KindAttr>(attribute);
    switch (type) {
    case KeyType::integer:
      if (auto value = dyn_cast<IntegerAttr>(attribute); value && !value.getType().isInteger(1))
        return Value(value.getInt());
      return std::nullopt;
    case KeyType::number:
      if (auto value = dyn_cast<FloatAttr>(attribute))
        return Value(value.getValueAsDouble());
      return std::nullopt;
    case KeyType::boolean:
      if (auto value = dyn_cast<BoolAttr>(attribute))
        return Value(value.getValue());
      return std::nullopt;
    case KeyType::word:
      if (kind && kind.getKeys().empty())
        return Value(kind.getWord().str());
      return std::nullopt;
    case KeyType::string:
      if (auto value = dyn_cast<StringAttr>(attribute))
        return Value(value.str());
      return std::nullopt;
    case KeyType::integers: {
      auto list = dyn_cast<ArrayAttr>(attribute);
      if (!list)
        return std::nullopt;
      std::vector<int64_t> values;
      for (Attribute item : list) {
        auto value = dyn_cast<IntegerAttr>(item);
        if (!value)
          return std::nullopt;
        values.push_back(value.getInt());
      }
      return Value(values);
    }
    case KeyType::strings: {
      auto list = dyn_cast<ArrayAttr>(attribute);
      if (!list || !llvm::all_of(list, llvm::IsaPred<StringAttr>))
        return std::nullopt;
      std::vector<std::string> values;
      for (auto item : list.getAsRange<StringAttr>())
        values.push_back(item.str());
      return Value(values);
    }
    case KeyType::table:
    case KeyType::tables:
      return std::nullopt;
    }
    return std::nullopt;
  }

  static StringRef typeName(KeyType type) {
    static const char *names[] = {
        "an integer", "a float",         "true or false", "a word", "a quoted string", "a list of integers", "a list of quoted strings",
        "a table",    "a list of tables"};
    return names[int(type)];
  }

  /// Types the keys of `attribute` by the table of its kind; nested tables go to `tables` under their key.
  KeyValues resolve(Operation *op, KindAttr attribute, const std::vector<KeySpec> &specs, StringRef prefix,
                    std::map<std::string, std::pair<std::string, KeyValues>> *tables = nullptr) {
    KeyValues values;
    std::map<std::string, unsigned> seen;
    SmallVector<StringRef> names;
    for (const KeySpec &key : specs)
      names.push_back(key.name);
    std::string kind_name = attribute.getWord().empty() ? "mesh" : attribute.getWord().str();
    for (NamedAttribute given : attribute.getKeys()) {
      std::string name = given.getName().str(), path = prefix.empty() ? name : (prefix + "." + name).str();
      unsigned index = seen[name]++;
      Location location = keyLocation(op, path, index);
      auto key = llvm::find_if(specs, [&](const KeySpec &candidate) { return candidate.name == name; });
      if (key == specs.end()) { // mega.keys.c1
        if (StringRef why = explainMissingKey(kind_name, name); !why.empty())
          error(location) << why;
        else if (llvm::is_contained({"muon", "fire", "dash", "redo"}, kind_name)) // the words of the specification
          error(location) << kind_name << " has no " << name << "; " << suggest(name, names);
        else
          error(location) << "'" << kind_name << "' has no key '" << name << "'; " << suggest(name, names);
        continue;
      }
      if (index > 0) { // mega.keys.c2
        error(location) << "key '" << name << "' of '" << kind_name << "' is given twice; fix: remove one";
        continue;
      }
      setKey(op, given.getValue(), *key, kind_name, path, location, values, tables);
    }
    for (const KeySpec &key : specs) {
      if (!seen.count(key.name) && key.required) // mega.keys.c3
        error(opLocation(op)) << "'" << kind_name << "' needs '" << key.name << "', " << typeName(key.type);
      if (!seen.count(key.name) && key.value)
        values.set(key.name, *key.value);
    }
    return values;
  }

  void setKey(Operation *op, Attribute given, const KeySpec &key, StringRef kind_name, StringRef path, Location location, KeyValues &values,
              std::map<std::string, std::pair<std::string, KeyValues>> *tables) {
    auto kind = dyn_cast<KindAttr>(given);
    if (kind && kind.getWord() == malformed) { // mega.keys.c4
      StringRef text = cast<StringAttr>(kind.getKeys().front().getValue()).getValue();
      size_t exponent = text.find('e');
      auto diagnostic = error(location) << "'" << key.name << "' = " << text << " is not a value; fix: ";
      if (text.starts_with("a number"))
        diagnostic << "leave the type away";
      else if (exponent != StringRef::npos && exponent + 1 < text.size())
        diagnostic << "write " << text.take_front(exponent) << ".0" << text.drop_front(exponent);
      else
        diagnostic << "write it in quotes, \"" << text << "\"";
      return;
    }
    if (key.type == KeyType::table) {
      if (kind && !key.refusal.empty() && !llvm::is_contained(key.words, kind.getWord())) {
        SmallVector<StringRef> words(key.words.begin(), key.words.end());
        error(location) << key.refusal << ", not " << kind.getWord() << "; " << suggest(kind.getWord(), words);
        return;
      }
      if (!kind || !llvm::is_contained(key.words, kind.getWord())) { // mega.keys.c5
        error(location) << "'" << key.name << "' of '" << kind_name << "' must be " << llvm::join(key.words, " or ") << "<...>";
        return;
      }
      std::map<std::string, std::pair<std::string, KeyValues>> nested;
      KeyValues inner = resolve(op, kind, *findSettings(kind.getWord()), path, &nested);
      if (tables) {
        (*tables)[key.name] = {kind.getWord().str(), inner};
        tables->merge(nested);
      }
      return;
    }
    if (auto list = dyn_cast<ArrayAttr>(given);
        list && key.type == KeyType::tables && tables && llvm::all_of(list, llvm::IsaPred<KindAttr>)) {
      for (auto [index, item] : llvm::enumerate(list.getAsRange<KindAttr>()))
        readTable(op, item, key, (path + "." + Twine(index)).str(), *tables);
      return;
    }
    std::optional<Value> value = convert(given, key.type);
    if (!value) { // mega.keys.c6
      auto diagnostic = error(location) << "'" << key.name << "' of '" << kind_name << "' must be " << typeName(key.type);
      if (key.type == KeyType::number && isa<IntegerAttr>(given))
        diagnostic << "; fix: write " << cast<IntegerAttr>(given).getInt() << ".0";
      return;
    }
    if (auto *text = std::get_if<std::string>(&*value);
        text && !key.words.empty() && !llvm::is_contained(key.words, *text)) { // mega.keys.c7
      SmallVector<StringRef> words(key.words.begin(), key.words.end());
      if (!key.refusal.empty())
        error(location) << key.refusal << ", not " << *text << "; " << suggest(*text, words);
      else if (key.brief)
        error(location) << key.name << " = " << *text << ": expected " << llvm::join(ArrayRef(key.words).drop_back(), ", ") << " or "
                        << key.words.back();
      else
        error(location) << "'" << key.name << "' cannot be '" << *text << "'; " << suggest(*text, words);
      return;
    }
    if (auto *number = std::get_if<int64_t>(&*value); number && key.brief && (*number < key.least || *number > key.most)) { // mega.keys.c12
      error(location) << key.name << " = " << *number << " must be " << key.least << " to " << key.most;
      return;
    }
    if (auto *number = std::get_if<int64_t>(&*value); number && *number < key.least && !key.refusal.empty()) {
      error(location) << key.refusal << ", not " << *number << "; fix: write " << key.least << " or more";
      return;
    }
    if (auto *number = std::get_if<int64_t>(&*value); number && *number > key.most && !key.refusal.empty()) {
      error(location) << key.refusal << ", not " << *number << "; fix: write " << key.most << " or less";
      return;
    }
    if (auto *number = std::get_if<double>(&*value); number && !key.refusal.empty() && !(*number >= 0 && *number <= key.highest)) {
      error(location) << key.refusal << ", not " << shortText(*number) << "; fix: write " << (*number < 0 ? "0.0 or more" : "at most ")
                      << (*number < 0 ? std::string() : shortText(key.highest));
      return;
    }
    if (auto *number = std::get_if<int64_t>(&*value); number && *number < key.least) { // mega.keys.c8
      error(location) << "'" << key.name << "' of '" << kind_name << "' is " << *number << ", it must be at least " << key.least;
      return;
    }
    if (auto *number = std::get_if<int64_t>(&*value); number && *number > key.most) { // mega.keys.c9
      error(location) << "'" << key.name << "' of '" << kind_name << "' is " << *number << ", it must be at most " << key.most;
      return;
    }
    if (auto *number = std::get_if<double>(&*value); number && key.positive && !(*number > 0)) { // mega.keys.c12
      error(location) << key.name << " of " << kind_name << " must be positive";
      return;
    }
    if (auto *number = std::get_if<double>(&*value);
        number && !(*number >= 0 && *number <= std::numeric_limits<float>::max())) { // mega.keys.c10
      error(location) << "'" << key.name << "' of '" << kind_name << "' must not be negative" << (*number > 0 ? " or above 3.4e38" : "");
      return;
    }
    if (auto *list = std::get_if<std::vector<int64_t>>(&*value)) { // mega.keys.c11
      if (list->empty() && !key.may_be_empty) {
        error(location) << "'" << key.name << "' of '" << kind_name << "' is empty; fix: give at least one number";
        return;
      }
      for (int64_t item : *list)
        if (item < key.least && !key.refusal.empty()) {
          error(location) << key.refusal << ", not " << item << "; fix: write " << key.least << " or more";
          return;
        } else if (item < key.least || item > key.most) {
          error(location) << "'" << key.name << "' of '" << kind_name << "' has " << item << ", it must be " << key.least << " to "
                          << key.most;
          return;
        }
    }
    values.set(key.name, *value);
  }

  /// One of a list of tables, which goes to `tables` under its path.
  void readTable(Operation *op, KindAttr kind, const KeySpec &key, const std::string &path,
                 std::map<std::string, std::pair<std::string, KeyValues>> &tables) {
    StringRef word = kind.getWord();
    if (!llvm::is_contained(key.words, word)) // mega.intervention.c1
      error(keyLocation(op, path)) << "no intervention " << (word == malformed ? "a number" : word) << "; there are "
                                   << llvm::join(key.words, ", ") << "; fix: write one of them";
    else
      tables[path] = {word.str(), resolve(op, kind, *findSettings(word), path)};
  }

  Model readModel(ModelOp op) {
    Model model;
    model.name = op.getSymbol().str();
    model.hidden = op.getHidden(), model.vocab = op.getVocab(), model.sequence = op.getSequence(), model.depth = 0;
    for (auto [name, value] : {std::pair<StringRef, int64_t>{"hidden", model.hidden}, {"vocab", model.vocab}, {"sequence", model.sequence}})
      if (value < 1 || value > largestSize) // mega.model.c2
        error(keyLocation(op, name)) << "'" << name << "' is " << value << ", it must be "
                                     << (value < 1 ? "at least 1" : "at most 2147483647");
    readNorm(op, model);
    readLayerScale(op, model);
    for (auto family : op.getBody().getOps<FamilyOp>())
      readFamily(family, model);
    PatternOp pattern_op;
    for (auto pattern : op.getBody().getOps<PatternOp>()) {
      if (pattern_op) // mega.pattern.c1
        error(opLocation(pattern)) << "a model has one pattern, this is another; fix: remove one";
      else
        pattern_op = pattern;
    }
    if (!pattern_op) // mega.pattern.c1
      error(opLocation(op)) << "model '@" << model.name << "' has no pattern; fix: add mega.pattern \"...\" depth N";
    else
      readPattern(pattern_op, model);
    for (auto place : op.getBody().getOps<PlaceOp>())
      readPlacement(place, model);
    return model;
  }

  void readNorm(ModelOp op, Model &model) {
    KindAttr kind = op.getNormAttr();
    if (!kind)
      return;
    StringRef word = kind.getWord();
    if (word != "rms" && word != "dyt") { // mega.model.c5
      error(keyLocation(op, "norm")) << "norm " << word << ": expected rms or dyt";
      return;
    }
    model.norm = {word.str(), resolve(op, kind, *findSettings(word), "norm")};
    if (word == "dyt" && !model.norm.keys.has("attention_alpha"))
      model.norm.keys.set("attention_alpha", model.norm.keys.getFloat("alpha"));
  }

  void readLayerScale(ModelOp op, Model &model) {
    Attribute given = op.getLayerScaleAttr();
    if (!given)
      return;
    Location location = keyLocation(op, "layer_scale");
    if (auto number = dyn_cast<FloatAttr>(given); number && number.getValueAsDouble() < 0) { // mega.model.c6
      error(location) << "layer_scale " << shortText(number.getValueAsDouble()) << " must not be negative";
      return;
    }
    KeyValues values;
    setKey(op, given, keys::number("layer_scale", 0.0), "mega.model", "layer_scale", location, values, nullptr);
    model.layer_scale = values.getFloat("layer_scale");
  }

  void readFamily(FamilyOp op, Model &model) {
    KindAttr kind = op.getKind();
    StringRef letter = op.getLetter();
    if (letter.size() != 1 || !llvm::isAlpha(letter[0])) { // mega.family.c1
      error(keyLocation(op, "letter")) << "a family is bound to one letter A-Z, not \"" << letter << "\"";
      return;
    }
    char name = llvm::toUpper(letter[0]);
    const FamilySpec *spec = findFamily(kind.getWord());
    if (!spec) { // mega.family.c2
      SmallVector<StringRef> names;
      for (const FamilySpec &known : allFamilies())
        names.push_back(known.word);
      error(opLocation(op)) << "there is no family '" << kind.getWord() << "'; " << suggest(kind.getWord(), names);
      model.families.try_emplace(name, "", KeyValues());
      return;
    }
    KeyValues values = resolve(op, kind, spec->keys, "");
    if (spec->complete)
      spec->complete(values, model, [&](StringRef key) { return errorAt(op, key); });
    if (!model.families.try_emplace(name, kind.getWord().str(), values).second) // mega.family.c3
      error(keyLocation(op, "letter")) << "letter \"" << letter << "\" is bound twice; fix: use another letter";
  }

  void readPattern(PatternOp op, Model &model) {
    model.depth = op.getDepth();
    Location text = keyLocation(op, "text");
    auto at = [&](int64_t byte) -> Location {
      auto place = dyn_cast<FileLineColLoc>(text);
      return place ? Location(FileLineColLoc::get(place.getFilename(), place.getLine(), place.getColumn() + 1 + byte)) : text;
    };
    Pattern pattern = expandPattern(op.getText(), op.getDepth());
    for (const PatternError &mistake : pattern.errors) // mega.pattern.c2
      error(op.getDepth() < 1 || op.getDepth() > most_blocks ? keyLocation(op, "depth") : at(mistake.position)) << mistake.message;
    model.stage_cuts = pattern.stage_cuts;
    std::map<char, int64_t> ranks;
    std::string unbound;
    for (auto [slot, place] : llvm::enumerate(pattern.slots)) {
      auto family = model.families.find(place.letter);
      if (family == model.families.end()) {
        if (unbound.find(place.letter) == std::string::npos) { // mega.pattern.c3
          unbound += place.letter;
          error(at(place.position)) << "letter '" << std::string(1, place.letter) << "' has no family; fix: add mega.family \""
                                    << std::string(1, place.letter) << "\" = ...";
        }
        continue;
      }
      model.blocks.push_back({int64_t(slot), place.letter, ranks[place.letter]++, family->second.first, family->second.second, {}});
    }
  }

  void readPlacement(PlaceOp op, Model &model) {
    KindAttr kind = op.getKind();
    const PlacementSpec *spec = findPlacement(kind.getWord());
    if (!spec) { // mega.place.c1
      SmallVector<StringRef> names;
      for (const PlacementSpec &known : allPlacements())
        names.push_back(known.word);
      error(opLocation(op)) << "there is no placement '" << kind.getWord() << "'; " << suggest(kind.getWord(), names);
      return;
    }
    Feature feature = {spec->word, resolve(op, kind, spec->keys, ""), 0};
    if (spec->check)
      spec->check(feature.keys, model, [&](StringRef key) { return errorAt(op, key); });
    StringRef wanted = spec->role == Role::input ? "input" : spec->role == Role::objective ? "objective" : "a letter";
    if ((spec->role == Role::block) != op.getOnLetter() || (spec->role != Role::block && op.getTarget() != wanted)) { // mega.place.c2
      error(opLocation(op)) << "'" << spec->word << "' is placed on " << wanted << ", not on \"" << op.getTarget() << "\"";
      return;
    }
    if (spec->role != Role::block) {
      if (op.getRanks()) // mega.place.c10
        error(keyLocation(op, "ranks")) << "'" << spec->word << "' on " << wanted << " has no ranks; fix: remove them";
      if (model.find(spec->word)) // mega.place.c3
        error(opLocation(op)) << "'" << spec->word << "' is placed twice; fix: remove one";
      complete(op, *spec, feature, model, {});
      model.placements.push_back(feature);
      return;
    }
    placeOnBlocks(op, *spec, feature, model);
  }

  void complete(PlaceOp op, const PlacementSpec &spec, Feature &feature, const Model &model, const KeyValues &family) {
    if (spec.complete)
      spec.complete(feature.keys, model, family, [&](StringRef key) { return errorAt(op, key); });
  }

  void placeOnBlocks(PlaceOp op, const PlacementSpec &spec, Feature feature, Model &model) {
    char letter = op.getTarget().size() == 1 ? llvm::toUpper(op.getTarget()[0]) : 0;
    auto family = model.families.find(letter);
    if (family == model.families.end()) { // mega.place.c4
      error(keyLocation(op, "target")) << "letter \"" << op.getTarget() << "\" has no family";
      return;
    }
    if (!spec.families.empty() && !family->second.first.empty() &&
        !llvm::is_contained(spec.families, family->second.first)) { // mega.place.c5
      ArrayAttr named = op.getRanks().value_or(nullptr);
      auto first = named && !named.empty() ? dyn_cast<IntegerAttr>(named[0]) : IntegerAttr();
      error(opLocation(op)) << '"' << op.getTarget() << "\" rank " << (first ? first.getInt() : 0) << ": " << spec.word << " needs "
                            << llvm::join(spec.families, " or ") << ", not " << family->second.first;
      return;
    }
    complete(op, spec, feature, model, family->second.second);
    int64_t count = llvm::count_if(model.blocks, [&](const Block &block) { return block.letter == letter; });
    SmallVector<int64_t> ranks;
    ArrayAttr given = op.getRanks().value_or(nullptr);
    if (!given || given.empty()) // mega.place.c6
      error(opLocation(op)) << "'" << spec.word << "' needs ranks [...] among the blocks of \"" << op.getTarget()
                            << "\"; fix: name at least one";
    else
      for (Attribute item : given) {
        auto rank = dyn_cast<IntegerAttr>(item);
        int64_t value = rank ? rank.getInt() : -1;
        if (!rank)
          error(keyLocation(op, "ranks")) << "ranks are integers";
        else if (value < 0 || value >= count) // mega.place.c7
          error(keyLocation(op, "ranks")) << "rank " << value << " is out of range: \"" << op.getTarget() << "\" has " << count
                                          << " blocks, ranks 0 to " << count - 1;
        else if (llvm::is_contained(ranks, value)) // mega.place.c8
          error(keyLocation(op, "ranks")) << "rank " << value << " is given twice; fix: remove one";
        else
          ranks.push_back(value);
      }
    llvm::sort(ranks);
    for (Block &block : model.blocks) {
      auto found = block.letter == letter ? llvm::find(ranks, block.rank) : ranks.end();
      if (found == ranks.end())
        continue;
      if (block.find(spec.word)) { // mega.place.c9
        error(keyLocation(op, "ranks")) << "'" << spec.word << "' is placed twice on rank " << block.rank << " of \"" << op.getTarget()
                                        << "\"; fix: remove one";
        continue;
      }
      feature.order = found - ranks.begin();
      checkTogether(op, spec, block);
      block.features.push_back(feature);
    }
    for (const std::string &key : spec.shared_keys)
      for (const Block &block : model.blocks)
        if (const Feature *other = block.find(spec.word); other && other->keys.has(key) && feature.keys.has(key) &&
                                                          other->keys.getInt(key) != feature.keys.getInt(key)) { // mega.place.c11
          error(keyLocation(op, key)) << spec.word << ": all placements read one input, so " << key << " must agree";
          break;
        }
  }

  /// Placements that do not go together on one block.
  void checkTogether(PlaceOp op, const PlacementSpec &spec, const Block &block) {
    for (const Feature &other : block.features)
      for (const PlacementSpec *one : {&spec, findPlacement(other.kind)})
        for (const auto &[word, reason] : one->excludes)
          if (word == (one == &spec ? other.kind : spec.word)) // mega.place.c12
            error(opLocation(op)) << one->word << " and " << word << " on one block: " << reason;
  }

  void readTrain(TrainOp op, std::vector<Model> &models) {
    std::map<std::string, std::pair<std::string, KeyValues>> tables;
    KeyValues keys = resolve(op, op.getSettings(), *findSettings("train"), "", &tables);
    auto model = llvm::find_if(models, [&](const Model &candidate) { return candidate.name == op.getModel(); });
    if (model == models.end()) { // mega.train.c1
      SmallVector<StringRef> names;
      for (const Model &known : models)
        names.push_back(known.name);
      error(keyLocation(op, "model")) << "there is no model '@" << op.getModel() << "'; " << suggest(op.getModel(), names);
      return;
    }
    if (model->train) { // mega.train.c2
      error(opLocation(op)) << "model '@" << model->name << "' has two train blocks; fix: remove one";
      return;
    }
    Train train;
    train.micro_batch = keys.getInt("micro_batch"), train.accumulate = keys.getInt("accumulate"), train.seed = keys.getInt("seed");
    train.precision = keys.getText("precision"), train.clip = keys.getFloat("clip"), train.documents = keys.getBool("documents");
    train.sequence_parallel = keys.getBool("sequence_parallel");
    if (keys.has("psiv_cache"))
      train.psiv_cache = keys.getText("psiv_cache");
    if (keys.has("recompute"))
      train.recompute = keys.getText("recompute");
    train.memory = keys.getText("memory");
    if (!train.memory.empty()) {
      std::optional<int64_t> bytes = parseBytes(train.memory);
      if (!bytes) // mega.train.c3
        error(keyLocation(op, "memory")) << "memory = \"" << train.memory
                                         << "\" is not a size; fix: write a number and B, KiB, MiB, GiB or TiB, such as \"132GiB\"";
      train.memory_bytes = bytes.value_or(0);
    }
    train.moments = keys.getText("moments");
    const auto &[rule, adamw] = tables["optimizer"]; // Muon's table has the keys of AdamW for what it does not update
    if (rule == "muon")
      train.muon = readMuon(op, adamw);
    for (size_t index = 0; index < findInterventions(op.getSettings()).size(); ++index)
      if (auto found = tables.find("interventions." + std::to_string(index)); found != tables.end()) {
        train.interventions.push_back({found->second.first, found->second.second});
        checkIntervention(op, found->first, train.interventions.back(), adamw, [&](StringRef key) { return errorAt(op, key); });
      }
    train.lr = adamw.getFloat("lr"), train.beta1 = adamw.getFloat("beta1"), train.beta2 = adamw.getFloat("beta2");
    for (StringRef beta : {"beta1", "beta2"})
      if (adamw.getFloat(beta) >= 1) // mega.adamw.c1
        error(keyLocation(op, ("optimizer." + beta).str())) << "'" << beta << "' must be below 1";
    train.eps = adamw.getFloat("eps"), train.decay = adamw.getFloat("decay");
    if (adamw.has("eps") && train.eps < 1e-30) // mega.adamw.c2
      error(keyLocation(op, "optimizer.eps")) << "'eps' is " << train.eps
                                              << ", an element whose gradient is always 0 would become NaN; fix: at least 1.0e-30, "
                                              << "such as 1.0e-8";
    if (auto schedule = tables.find("schedule"); schedule != tables.end()) {
      train.schedule = schedule->second.first;
      train.warmup = schedule->second.second.getInt("warmup"), train.steps = schedule->second.second.getInt("steps");
      if (schedule->second.second.has("final"))
        train.final_lr = schedule->second.second.getFloat("final");
    }
    if (int64_t tokens = train.micro_batch * model->sequence; !failed && tokens > largestSize) // mega.train.c4
      error(keyLocation(op, "micro_batch")) << "a micro-batch has micro_batch = " << train.micro_batch
                                            << " times sequence = " << model->sequence << " = " << tokens << " tokens, it must be at most "
                                            << largestSize << "; fix: a smaller micro_batch, and accumulate";
    model->train = train;
  }

  Muon readMuon(TrainOp op, const KeyValues &keys) {
    Muon muon;
    muon.momentum = keys.getFloat("momentum"), muon.rms = keys.getFloat("rms"), muon.nesterov = keys.getBool("nesterov");
    muon.iterations = keys.getInt("iterations"), muon.split = keys.getText("split"), muon.except = keys.getTexts("except");
    if (muon.momentum >= 1) // mega.muon.c1
      error(keyLocation(op, "optimizer.momentum"))
          << "muon: momentum is in [0, 1), not " << shortText(muon.momentum) << "; fix: a number below 1.0, such as 0.95";
    if (llvm::any_of(muon.except, [](const std::string &pattern) { return pattern.find('#') != std::string::npos; })) // mega.muon.c2
      error(keyLocation(op, "optimizer.except")) << "muon: except takes whole matrices, not pieces; fix: end a pattern before its #";
    return muon;
  }

  /// Every pattern of Muon's and of the interventions' matches something.
  void checkPatterns(const Model &model) {
    for (auto op : module.getOps<TrainOp>()) {
      if (op.getModel() != model.name || !model.train)
        continue;
      checkInterventionPatterns(model, [&](StringRef key) { return errorAt(op, key); });
      if (!model.train->muon)
        continue;
      for (const std::string &pattern : findUnmatched(model, model.train->muon->except)) // mega.muon.c3
        error(keyLocation(op, "optimizer.except"))
            << "muon: \"" << pattern
            << "\" matches no matrix (embeddings, head, routers, indexer, norms and biases are none); fix: remove it";
    }
  }

  /// No tensor, and no sum of the parameters' bytes, that a later product could wrap.
  void checkSizes(ModelOp op, const Model &model) {
    std::set<std::vector<int64_t>> reported; // blocks of a letter repeat their shapes
    Size total = 0;
    for (const Parameter &parameter : parameters(model)) {
      total = total + parameter.elements();
      if (parameter.elements() <= kMostElements || !reported.insert(parameter.shape).second)
        continue;
      auto diagnostic = error(opLocation(op)) << "parameter \"" << parameter.name << "\" is "; // mega.model.c3
      llvm::interleave(parameter.shape, [&](int64_t size) { diagnostic << sizeText(size); }, [&] { diagnostic << " x "; });
      diagnostic << ", a tensor has at most " << kMostElements << " elements; fix: smaller sizes";
    }
    if (constexpr int64_t most = 1024 * kMostElements; !failed && total.get() > most) // mega.model.c4
      error(opLocation(op)) << "the parameters have " << sizeText(total.get()) << " elements, a model has at most " << most
                            << "; fix: smaller sizes or fewer blocks";
  }

  static std::string sizeText(int64_t size) {
    return size == Size::kLargest ? "more than " + std::to_string(Size::kLargest - 1) : std::to_string(size);
  }

  ModuleOp module;
  bool failed = false;
};

} // namespace

std::optional<int64_t> parseBytes(StringRef text) {
  static const std::pair<StringRef, double> units[] = {{"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}, {"KB", 1e3},
                                                       {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12},    {"B", 1}};
  for (auto [unit, factor] : units)
    if (StringRef number = text; number.consume_back(unit)) {
      double value;
      if (number.trim().getAsDouble(value) || !(value * factor >= 1) || value * factor > 0x1p60)
        return std::nullopt;
      return int64_t(value * factor);
    }
  return std::nullopt;
}

FailureOr<std::vector<Model>> readModels(ModuleOp module) { return Checker(module).run(); }

} // namespace megacc::mega

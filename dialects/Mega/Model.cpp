// Reads and checks a declaration. Every rule has an id (mega.<thing>.c<n>), repeated in the negative tests.
#include "dialects/Mega/Model.h"
#include "dialects/Mega/Mega.h"
#include "dialects/Mega/Pattern.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "mlir/IR/Diagnostics.h"

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
    if (failed)
      return failure();
    return models;
  }

private:
  InFlightDiagnostic error(Location location) {
    failed = true;
    return emitError(location);
  }

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
    case KeyType::table:
      return std::nullopt;
    }
    return std::nullopt;
  }

  static StringRef typeName(KeyType type) {
    static const char *names[] = {"an integer", "a float", "true or false", "a word", "a quoted string", "a list of integers", "a table"};
    return names[int(type)];
  }

  template <typename Names> static std::string nearest(StringRef word, const Names &names) {
    std::string best;
    unsigned distance = 4;
    for (StringRef name : names)
      if (unsigned d = word.edit_distance(name, true, distance); d < distance)
        best = name.str(), distance = d;
    return best.empty() ? "known: " + llvm::join(names, ", ") : "did you mean '" + best + "'?";
  }

  /// Types the keys of `attribute` by the table of its kind; nested tables go to `tables` under their key.
  KeyValues resolve(Operation *op, KindAttr attribute, const KindSpec &spec, StringRef prefix,
                    std::map<std::string, std::pair<std::string, KeyValues>> *tables = nullptr) {
    KeyValues values;
    std::map<std::string, unsigned> seen;
    SmallVector<StringRef> names;
    for (const KeySpec &key : spec.keys)
      names.push_back(key.name);
    std::string kind_name = spec.word.empty() ? "mesh" : spec.word;
    for (NamedAttribute given : attribute.getKeys()) {
      std::string name = given.getName().str(), path = prefix.empty() ? name : (prefix + "." + name).str();
      unsigned index = seen[name]++;
      Location location = keyLocation(op, path, index);
      auto key = llvm::find_if(spec.keys, [&](const KeySpec &candidate) { return candidate.name == name; });
      if (key == spec.keys.end()) { // mega.keys.c1
        error(location) << "'" << kind_name << "' has no key '" << name << "'; " << nearest(name, names);
        continue;
      }
      if (index > 0) { // mega.keys.c2
        error(location) << "key '" << name << "' of '" << kind_name << "' is given twice; fix: remove one";
        continue;
      }
      setKey(op, given.getValue(), *key, kind_name, path, location, values, tables);
    }
    for (const KeySpec &key : spec.keys) {
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
      auto diagnostic = error(location) << "'" << key.name << "' = " << text << " is no value; fix: ";
      if (text.starts_with("a number"))
        diagnostic << "leave the type away";
      else if (exponent != StringRef::npos && exponent + 1 < text.size())
        diagnostic << "write " << text.take_front(exponent) << ".0" << text.drop_front(exponent);
      else
        diagnostic << "write it in quotes, \"" << text << "\"";
      return;
    }
    if (key.type == KeyType::table) {
      if (!kind || !llvm::is_contained(key.words, kind.getWord())) { // mega.keys.c5
        error(location) << "'" << key.name << "' of '" << kind_name << "' must be " << llvm::join(key.words, " or ") << "<...>";
        return;
      }
      std::map<std::string, std::pair<std::string, KeyValues>> nested;
      KeyValues inner = resolve(op, kind, *findKind(kind.getWord()), path, &nested);
      if (tables) {
        (*tables)[key.name] = {kind.getWord().str(), inner};
        tables->merge(nested);
      }
      return;
    }
    std::optional<Value> value = convert(given, key.type);
    if (!value) { // mega.keys.c6
      auto diagnostic = error(location) << "'" << key.name << "' of '" << kind_name << "' must be " << typeName(key.type);
      if (key.type == KeyType::number && isa<IntegerAttr>(given))
        diagnostic << "; fix: write " << cast<IntegerAttr>(given).getInt() << ".0";
      return;
    }
    if (auto *text = std::get_if<std::string>(&*value); text && !key.words.empty() && !llvm::is_contained(key.words, *text)) { // mega.keys.c7
      SmallVector<StringRef> words(key.words.begin(), key.words.end());
      error(location) << "'" << key.name << "' cannot be '" << *text << "'; " << nearest(*text, words);
      return;
    }
    if (auto *number = std::get_if<int64_t>(&*value); number && *number < key.least) { // mega.keys.c8
      error(location) << "'" << key.name << "' of '" << kind_name << "' is " << *number << ", it must be at least " << key.least;
      return;
    }
    if (auto *number = std::get_if<int64_t>(&*value); number && *number > largest && key.name != "seed") { // mega.keys.c9
      error(location) << "'" << key.name << "' of '" << kind_name << "' is " << *number << ", it must be at most " << largest;
      return;
    }
    if (auto *number = std::get_if<double>(&*value); number && !(*number >= 0)) { // mega.keys.c10
      error(location) << "'" << key.name << "' of '" << kind_name << "' must not be negative";
      return;
    }
    if (auto *list = std::get_if<std::vector<int64_t>>(&*value)) { // mega.keys.c11
      int64_t least = key.name == "layers" ? 0 : 1;
      if (list->empty() && key.name != "sizes") {
        error(location) << "'" << key.name << "' of '" << kind_name << "' is empty; fix: give at least one number";
        return;
      }
      for (int64_t item : *list)
        if (item < least || item > largest) {
          error(location) << "'" << key.name << "' of '" << kind_name << "' has " << item << ", it must be " << least << " to " << largest;
          return;
        }
    }
    values.set(key.name, *value);
  }

  Model readModel(ModelOp op) {
    Model model;
    model.name = op.getSymbol().str();
    model.hidden = op.getHidden(), model.vocab = op.getVocab(), model.sequence = op.getSequence(), model.depth = 0;
    for (auto [name, value] : {std::pair<StringRef, int64_t>{"hidden", model.hidden}, {"vocab", model.vocab}, {"sequence", model.sequence}})
      if (value < 1 || value > largest) // mega.model.c2
        error(keyLocation(op, name)) << "'" << name << "' is " << value << ", it must be " << (value < 1 ? "at least 1" : "at most 2147483647");
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

  void readFamily(FamilyOp op, Model &model) {
    KindAttr kind = op.getKind();
    StringRef letter = op.getLetter();
    if (letter.size() != 1 || !llvm::isAlpha(letter[0])) { // mega.family.c1
      error(keyLocation(op, "letter")) << "a family is bound to one letter A-Z, not \"" << letter << "\"";
      return;
    }
    char name = llvm::toUpper(letter[0]);
    const KindSpec *spec = findKind(kind.getWord());
    if (!spec || spec->role != Role::family) { // mega.family.c2
      SmallVector<StringRef> names;
      for (const KindSpec &known : allKinds())
        if (known.role == Role::family)
          names.push_back(known.word);
      error(opLocation(op)) << "there is no family '" << kind.getWord() << "'; " << nearest(kind.getWord(), names);
      model.families.try_emplace(name, "", KeyValues());
      return;
    }
    KeyValues values = resolve(op, kind, *spec, "");
    completeFamily(op, kind.getWord(), values, model.hidden);
    if (!model.families.try_emplace(name, kind.getWord().str(), values).second) // mega.family.c3
      error(keyLocation(op, "letter")) << "letter \"" << letter << "\" is bound twice; fix: use another letter";
  }

  /// Whether all of these keys have a value; one that is missing or wrong has been reported and takes no part in further rules.
  static bool haveAll(const KeyValues &keys, std::initializer_list<StringRef> names) {
    return llvm::all_of(names, [&](StringRef name) { return keys.has(name); });
  }

  /// Sizes that follow from others, and the rules between keys.
  void completeFamily(FamilyOp op, StringRef kind, KeyValues &keys, int64_t hidden) {
    auto at = [&](StringRef key) { return keyLocation(op, key); };
    if (kind == "attention") {
      int64_t heads = keys.getInt("heads"), head_dim = keys.getInt("head_dim");
      if (!keys.has("kv_heads") && keys.has("heads"))
        keys.set("kv_heads", heads);
      if (!keys.has("rope") && keys.has("head_dim"))
        keys.set("rope", head_dim);
      int64_t kv_heads = keys.getInt("kv_heads"), rope = keys.getInt("rope");
      if (keys.has("theta") && keys.getFloat("theta") <= 0) // mega.attention.c4
        error(at("theta")) << "theta must be above 0";
      if (haveAll(keys, {"heads", "kv_heads"}) && heads % kv_heads) // mega.attention.c1
        error(at("kv_heads")) << "heads = " << heads << " is not divisible by kv_heads = " << kv_heads << "; fix: use a divisor of " << heads;
      if (keys.has("head_dim") && rope > head_dim) // mega.attention.c2
        error(at("rope")) << "rope = " << rope << " exceeds head_dim = " << head_dim << "; fix: rotate at most the whole head";
      if (rope % 2) // mega.attention.c3
        error(at("rope")) << "rope width " << rope << " is odd, rotation pairs channels; fix: use " << rope - 1 << " or " << rope + 1;
    } else if (kind == "mla") {
      if (keys.has("theta") && keys.getFloat("theta") <= 0) // mega.mla.c2
        error(at("theta")) << "theta must be above 0";
      if (int64_t rope = keys.getInt("rope"); rope % 2) // mega.mla.c1
        error(at("rope")) << "rope width " << rope << " is odd, rotation pairs channels; fix: use " << rope - 1 << " or " << rope + 1;
    } else if (kind == "moe") {
      if (keys.has("experts") && keys.getInt("top_k") > keys.getInt("experts")) // mega.moe.c1
        error(at("top_k")) << "top_k = " << keys.getInt("top_k") << " exceeds experts = " << keys.getInt("experts") << "; fix: pick at most all";
      if (double density = keys.getFloat("density"); keys.has("density") && !(density > 0 && density <= 1)) // mega.moe.c2
        error(at("density")) << "density = " << density << " is outside (0, 1]";
      if (keys.getBool("shared_gate") && keys.has("shared") && !keys.getInt("shared")) // mega.moe.c3
        error(at("shared_gate")) << "shared_gate needs a shared expert, shared = 0; fix: give its width";
    } else if (kind == "mamba3") {
      completeMamba(op, keys, hidden);
    } else if (kind == "m2rnn") {
      if (!keys.has("heads") && haveAll(keys, {"key", "value"}))
        keys.set("heads", hidden / (keys.getInt("key") + keys.getInt("value")));
      if (keys.has("heads") && keys.getInt("heads") < 1) // mega.m2rnn.c1
        error(opLocation(op)) << "hidden = " << hidden << " is less than key + value = " << keys.getInt("key") + keys.getInt("value")
                              << ", which leaves no head; fix: give heads";
    } else if (kind == "concept") {
      if (keys.has("heads") && hidden % keys.getInt("heads")) // mega.concept.c1
        error(at("heads")) << "hidden = " << hidden << " is not divisible by heads = " << keys.getInt("heads");
    }
  }

  void completeMamba(FamilyOp op, KeyValues &keys, int64_t hidden) {
    auto at = [&](StringRef key) { return keyLocation(op, key); };
    if (!haveAll(keys, {"expand", "head_dim", "rank", "chunk", "groups", "state", "rope_fraction", "variant"}))
      return;
    int64_t inner = keys.getInt("expand") * hidden, head_dim = keys.getInt("head_dim"), rank = keys.getInt("rank"), chunk = keys.getInt("chunk");
    int64_t groups = keys.getInt("groups"), heads = inner / head_dim;
    double fraction = keys.getFloat("rope_fraction");
    if (inner % head_dim) // mega.mamba3.c1
      error(at("head_dim")) << "hidden * expand = " << inner << " is not divisible by head_dim = " << head_dim;
    else if (heads % groups) // mega.mamba3.c2
      error(at("groups")) << "heads = hidden * expand / head_dim = " << heads << " is not divisible by groups = " << groups;
    if (chunk * rank > 64) // mega.mamba3.c3
      error(at("chunk")) << "chunk * rank = " << chunk * rank << " exceeds 64; fix: use chunk = " << std::max<int64_t>(64 / rank, 1);
    if (fraction != 0.5 && fraction != 1.0) // mega.mamba3.c4
      error(at("rope_fraction")) << "rope_fraction = " << llvm::formatv("{0}", fraction).str() << " must be 0.5 or 1.0";
    else if (keys.getInt("state") % (fraction == 0.5 ? 4 : 2)) // mega.mamba3.c5
      error(at("state")) << "state = " << keys.getInt("state") << " must be divisible by " << (fraction == 0.5 ? 4 : 2) << " to be rotated";
    if (keys.getText("variant") == "siso" && rank != 1) // mega.mamba3.c6
      error(at("variant")) << "variant siso has rank 1, rank = " << rank << "; fix: write rank = 1 or variant = mimo";
    keys.set("inner", inner);
    keys.set("heads", heads);
    keys.set("angles", keys.getInt("state") / (fraction == 0.5 ? 4 : 2));
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
      error(op.getDepth() < 1 || op.getDepth() > 1 << 20 ? keyLocation(op, "depth") : at(mistake.position)) << mistake.message;
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
    const KindSpec *spec = findKind(kind.getWord());
    if (!spec || spec->role == Role::family || spec->role == Role::settings) { // mega.place.c1
      SmallVector<StringRef> names;
      for (const KindSpec &known : allKinds())
        if (known.role != Role::family && known.role != Role::settings)
          names.push_back(known.word);
      error(opLocation(op)) << "there is no placement '" << kind.getWord() << "'; " << nearest(kind.getWord(), names);
      return;
    }
    Feature feature = {spec->word, resolve(op, kind, *spec, ""), 0};
    checkFeature(op, feature, model);
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
      if (spec->word == "mtp") {
        if (!feature.keys.has("width"))
          feature.keys.set("width", 4 * model.hidden);
        StringRef letter = feature.keys.getText("block");
        if (feature.keys.has("block") && (letter.size() != 1 || !model.families.count(llvm::toUpper(letter[0])))) // mega.mtp.c1
          error(keyLocation(op, "block")) << "mtp's first sublayer is letter \"" << letter
                                          << "\", which has no family; fix: bind it or write block = \"...\"";
      }
      model.placements.push_back(feature);
      return;
    }
    placeOnBlocks(op, *spec, feature, model);
  }

  /// The rules between the keys of a placement.
  void checkFeature(PlaceOp op, const Feature &feature, const Model &model) {
    auto at = [&](StringRef key) { return keyLocation(op, key); };
    const KeyValues &keys = feature.keys;
    if (feature.kind == "stp") {
      for (int64_t layer : keys.getInts("layers"))
        if (layer >= model.depth && model.depth > 0) // mega.stp.c1
          error(at("layers")) << "layer " << layer << " is out of range: the model has " << model.depth << " blocks, 0 to " << model.depth - 1;
    } else if (feature.kind == "mod") {
      if (double capacity = keys.getFloat("capacity"); keys.has("capacity") && !(capacity > 0 && capacity <= 1)) // mega.mod.c1
        error(at("capacity")) << "capacity = " << llvm::formatv("{0}", capacity).str() << " is outside (0, 1]";
    } else if (feature.kind == "engram") {
      if (keys.getBool("gated") && keys.getInt("conv") && !keys.getBool("conv_residual")) // mega.engram.c1
        error(at("conv_residual")) << "a gated engram with a convolution and without its residual cannot learn its gate; fix: write conv_residual = true";
    } else if (feature.kind == "structure" && keys.has("components")) {
      checkStructure(op, keys);
    }
  }

  void checkStructure(PlaceOp op, const KeyValues &keys) {
    static const StringRef known[] = {"structure", "dep_level", "ast_depth", "sibling_index", "ast_node_type"};
    StringRef text = keys.getText("components");
    SmallVector<StringRef> parts;
    if (text != "core" && text != "all")
      text.split(parts, ',');
    for (auto [index, part] : llvm::enumerate(parts)) {
      if (!llvm::is_contained(known, part.trim())) // mega.structure.c1
        error(keyLocation(op, "components")) << "there is no component '" << part << "'; " << nearest(part.trim(), ArrayRef<StringRef>(known));
      else if (llvm::is_contained(ArrayRef(parts).take_front(index), part)) // mega.structure.c2
        error(keyLocation(op, "components")) << "component '" << part << "' is given twice; fix: remove one";
    }
    size_t count = text == "core" ? 2 : text == "all" ? 5 : parts.size(), sizes = keys.getInts("sizes").size();
    if (sizes > count) // mega.structure.c3
      error(keyLocation(op, "sizes")) << sizes << " sizes for " << count << " components; fix: give at most " << count;
  }

  void placeOnBlocks(PlaceOp op, const KindSpec &spec, Feature feature, Model &model) {
    char letter = op.getTarget().size() == 1 ? llvm::toUpper(op.getTarget()[0]) : 0;
    auto family = model.families.find(letter);
    if (family == model.families.end()) { // mega.place.c4
      error(keyLocation(op, "target")) << "letter \"" << op.getTarget() << "\" has no family";
      return;
    }
    if (!spec.families.empty() && !family->second.first.empty() && !llvm::is_contained(spec.families, family->second.first)) { // mega.place.c5
      error(opLocation(op)) << "'" << spec.word << "' fits " << llvm::join(spec.families, " or ") << ", but \"" << op.getTarget() << "\" is "
                            << family->second.first;
      return;
    }
    if (spec.word == "engram" && !feature.keys.has("dim"))
      feature.keys.set("dim", model.hidden / 4);
    if (spec.word == "dsa" && !family->second.first.empty() && feature.keys.has("dim") && family->second.second.has("rope"))
      if (int64_t rope = family->second.second.getInt("rope"), dim = feature.keys.getInt("dim"); rope > dim) // mega.dsa.c1
        error(keyLocation(op, "dim")) << "the indexer rotates rope = " << rope << " channels of dim = " << dim << "; fix: use dim of at least " << rope;
    int64_t count = llvm::count_if(model.blocks, [&](const Block &block) { return block.letter == letter; });
    SmallVector<int64_t> ranks;
    ArrayAttr given = op.getRanks().value_or(nullptr);
    if (!given)
      error(opLocation(op)) << "'" << spec.word << "' needs ranks [...] among the blocks of \"" << op.getTarget() << "\""; // mega.place.c6
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
      block.features.push_back(feature);
    }
  }

  void readTrain(TrainOp op, std::vector<Model> &models) {
    std::map<std::string, std::pair<std::string, KeyValues>> tables;
    KeyValues keys = resolve(op, op.getSettings(), *findKind("train"), "", &tables);
    auto model = llvm::find_if(models, [&](const Model &candidate) { return candidate.name == op.getModel(); });
    if (model == models.end()) { // mega.train.c1
      SmallVector<StringRef> names;
      for (const Model &known : models)
        names.push_back(known.name);
      error(keyLocation(op, "model")) << "there is no model '@" << op.getModel() << "'; " << nearest(op.getModel(), names);
      return;
    }
    if (model->train) { // mega.train.c2
      error(opLocation(op)) << "model '@" << model->name << "' has two train blocks; fix: remove one";
      return;
    }
    Train train;
    train.micro_batch = keys.getInt("micro_batch"), train.accumulate = keys.getInt("accumulate"), train.seed = keys.getInt("seed");
    train.precision = keys.getText("precision"), train.clip = keys.getFloat("clip"), train.documents = keys.getBool("documents");
    if (keys.has("psiv_cache"))
      train.psiv_cache = keys.getText("psiv_cache");
    train.memory = keys.getText("memory");
    if (!train.memory.empty()) {
      std::optional<int64_t> bytes = parseBytes(train.memory);
      if (!bytes) // mega.train.c3
        error(keyLocation(op, "memory")) << "memory = \"" << train.memory
                                         << "\" is no size; fix: write a number and B, KiB, MiB, GiB or TiB, such as \"132GiB\"";
      train.memory_bytes = bytes.value_or(0);
    }
    const KeyValues &adamw = tables["optimizer"].second;
    train.lr = adamw.getFloat("lr"), train.beta1 = adamw.getFloat("beta1"), train.beta2 = adamw.getFloat("beta2");
    for (StringRef beta : {"beta1", "beta2"})
      if (adamw.getFloat(beta) >= 1) // mega.adamw.c1
        error(keyLocation(op, ("optimizer." + beta).str())) << "'" << beta << "' must be below 1";
    train.eps = adamw.getFloat("eps"), train.decay = adamw.getFloat("decay");
    if (auto schedule = tables.find("schedule"); schedule != tables.end()) {
      train.schedule = schedule->second.first;
      train.warmup = schedule->second.second.getInt("warmup"), train.steps = schedule->second.second.getInt("steps");
      if (schedule->second.second.has("final"))
        train.final_lr = schedule->second.second.getFloat("final");
    }
    model->train = train;
  }

  /// Keeps products of a few sizes within 64 bits.
  static constexpr int64_t largest = (int64_t(1) << 31) - 1;

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

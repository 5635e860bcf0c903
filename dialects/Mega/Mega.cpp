#include "dialects/Mega/Mega.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace megacc::mega {
namespace {

using Locations = SmallVector<Location>;

/// A table of settings has tables of its own, not many: each is a call of the parser inside another.
constexpr size_t kMostTablesInside = 16;

ParseResult parseKeys(AsmParser &parser, StringRef prefix, SmallVectorImpl<NamedAttribute> &keys, Locations *locations,
                      bool (*atEnd)(AsmParser &));

Attribute malformedValue(Builder &builder, const Twine &text) {
  NamedAttribute key(builder.getStringAttr("text"), builder.getStringAttr(text));
  return KindAttr::get(builder.getContext(), malformed, {key});
}

ParseResult parseList(AsmParser &parser, StringRef path, Attribute &value, Locations *locations);

bool endsWithGreater(AsmParser &parser) { return succeeded(parser.parseOptionalGreater()); }

/// word, word<keys>, <keys>, number, string or list. A number followed by letters is kept as malformed for mega-check.
ParseResult parseValue(AsmParser &parser, StringRef path, Attribute &value, Locations *locations) {
  Builder &builder = parser.getBuilder();
  StringRef word;
  bool has_word = succeeded(parser.parseOptionalKeyword(&word));
  if (has_word && (word == "true" || word == "false")) {
    value = builder.getBoolAttr(word == "true");
    return success();
  }
  std::string name = word.str();
  SmallVector<NamedAttribute> keys;
  if (succeeded(parser.parseOptionalLess())) {
    if (parseKeys(parser, path, keys, locations, endsWithGreater))
      return failure();
    value = KindAttr::get(builder.getContext(), name, keys);
    return success();
  }
  if (has_word) {
    value = KindAttr::get(builder.getContext(), name, {});
    return success();
  }
  if (succeeded(parser.parseOptionalLSquare()))
    return parseList(parser, path, value, locations);
  OptionalParseResult parsed = parser.parseOptionalAttribute(value);
  if (!parsed.has_value())
    return parser.emitError(parser.getCurrentLocation(), "expected a value for '") << path << "'";
  if (failed(*parsed))
    return failure();
  auto integer = dyn_cast<IntegerAttr>(value);
  if (!integer)
    return success();
  std::string text = std::to_string(integer.getInt());
  if (!integer.getType().isInteger(64)) {
    std::string type;
    llvm::raw_string_ostream(type) << integer.getType();
    value = malformedValue(builder, "a number with the type suffix ': " + type + "'");
  } else if (succeeded(parser.parseOptionalKeyword(&word))) {
    text += word.str();
    if (succeeded(parser.parseOptionalMinus()))
      text += "-";
    int64_t exponent;
    if (parser.parseOptionalInteger(exponent).has_value())
      text += std::to_string(exponent);
    value = malformedValue(builder, text);
  }
  return success();
}

/// What follows a '['; the i-th value of the list is at "<path>.<i>".
ParseResult parseList(AsmParser &parser, StringRef path, Attribute &value, Locations *locations) {
  Builder &builder = parser.getBuilder();
  SmallVector<Attribute> items;
  auto parseItem = [&]() -> ParseResult {
    SMLoc begin = parser.getCurrentLocation();
    std::string at = (path + "." + Twine(items.size())).str();
    if (parseValue(parser, at, items.emplace_back(), locations))
      return failure();
    if (locations && isa<KindAttr>(items.back()))
      locations->push_back(NameLoc::get(builder.getStringAttr(at), parser.getEncodedSourceLoc(begin)));
    return success();
  };
  if (failed(parser.parseOptionalRSquare()) && (parser.parseCommaSeparatedList(parseItem) || parser.parseRSquare()))
    return failure();
  value = builder.getArrayAttr(items);
  return success();
}

ParseResult parseKeys(AsmParser &parser, StringRef prefix, SmallVectorImpl<NamedAttribute> &keys, Locations *locations,
                      bool (*atEnd)(AsmParser &)) {
  if (atEnd(parser))
    return success();
  if (prefix.count('.') >= kMostTablesInside)
    return parser.emitError(parser.getCurrentLocation(), "more than ") << kMostTablesInside << " tables inside each other; fix: close them";
  do {
    SMLoc begin = parser.getCurrentLocation();
    std::string name;
    if (parser.parseKeywordOrString(&name))
      return failure();
    std::string path = prefix.empty() ? name : (prefix + "." + name).str();
    StringAttr key = parser.getBuilder().getStringAttr(name);
    if (locations)
      locations->push_back(NameLoc::get(parser.getBuilder().getStringAttr(path), parser.getEncodedSourceLoc(begin)));
    Attribute value;
    if (parser.parseEqual() || parseValue(parser, path, value, locations))
      return failure();
    keys.emplace_back(key, value);
  } while (succeeded(parser.parseOptionalComma()));
  return atEnd(parser) ? success() : ParseResult(parser.emitError(parser.getCurrentLocation(), "expected ',' or the end of the keys"));
}

/// The shortest text that reads back as the same double and is a float to MLIR's lexer.
std::string floatText(double value) {
  char text[40];
  for (int digits = 1; digits <= 17; ++digits) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, nullptr) == value)
      break;
  }
  std::string result = text;
  if (result.find('.') == std::string::npos) {
    size_t exponent = result.find('e');
    result.insert(exponent == std::string::npos ? result.size() : exponent, ".0");
  }
  return result;
}

void printKeys(AsmPrinter &printer, ArrayRef<NamedAttribute> keys);

void printValue(AsmPrinter &printer, Attribute value) {
  if (auto kind = dyn_cast<KindAttr>(value)) {
    if (kind.getWord() == malformed) {
      printer << cast<StringAttr>(kind.getKeys().front().getValue());
      return;
    }
    printer << kind.getWord();
    if (!kind.getKeys().empty() || kind.getWord().empty()) {
      printer << "<";
      printKeys(printer, kind.getKeys());
      printer << ">";
    }
  } else if (auto number = dyn_cast<FloatAttr>(value)) {
    printer << floatText(number.getValueAsDouble());
  } else if (auto list = dyn_cast<ArrayAttr>(value)) {
    printer << "[";
    llvm::interleaveComma(list, printer, [&](Attribute item) { printValue(printer, item); });
    printer << "]";
  } else {
    printer.printAttributeWithoutType(value);
  }
}

void printKeys(AsmPrinter &printer, ArrayRef<NamedAttribute> keys) {
  llvm::interleaveComma(keys, printer, [&](NamedAttribute key) {
    printer.printKeywordOrString(key.getName());
    printer << " = ";
    printValue(printer, key.getValue());
  });
}

/// Parses `word<keys>` as the attribute of an op and puts key locations beside the op's own.
ParseResult parseKind(OpAsmParser &parser, OperationState &result, Locations &locations) {
  Attribute kind;
  SMLoc begin = parser.getCurrentLocation();
  if (parseValue(parser, "", kind, &locations))
    return failure();
  if (!isa<KindAttr>(kind))
    return parser.emitError(begin, "expected a kind, such as mla<heads = 4>");
  result.addAttribute("kind", kind);
  return success();
}

void setLocations(OperationState &result, const Locations &keys) {
  Locations all = {result.location};
  all.append(keys.begin(), keys.end());
  MLIRContext *context = result.getContext();
  result.location = FusedLoc::get(all, StringAttr::get(context, "keys"), context);
}

Location named(OpAsmParser &parser, StringRef name, SMLoc place) {
  return NameLoc::get(parser.getBuilder().getStringAttr(name), parser.getEncodedSourceLoc(place));
}

ParseResult parseInteger(OpAsmParser &parser, OperationState &result, StringRef name, Locations *locations = nullptr) {
  int64_t value;
  if (parser.parseKeyword(name))
    return failure();
  if (locations)
    locations->push_back(named(parser, name, parser.getCurrentLocation()));
  if (parser.parseInteger(value))
    return failure();
  result.addAttribute(name, parser.getBuilder().getI64IntegerAttr(value));
  return success();
}

ParseResult parseString(OpAsmParser &parser, OperationState &result, StringRef name, Locations &locations) {
  std::string text;
  locations.push_back(named(parser, name, parser.getCurrentLocation()));
  if (parser.parseString(&text))
    return failure();
  result.addAttribute(name, parser.getBuilder().getStringAttr(text));
  return success();
}

ParseResult parseSymbol(OpAsmParser &parser, OperationState &result, StringRef name, Locations &locations) {
  StringAttr symbol;
  locations.push_back(named(parser, name, parser.getCurrentLocation()));
  if (parser.parseSymbolName(symbol))
    return failure();
  result.addAttribute(name, symbol);
  return success();
}

/// What may follow the sizes of a model, in any order: a norm, and where the scales of its layers start.
ParseResult parseVariants(OpAsmParser &parser, OperationState &result, Locations &locations) {
  StringRef word;
  SMLoc begin = parser.getCurrentLocation();
  while (succeeded(parser.parseOptionalKeyword(&word, {"norm", "layer_scale"}))) {
    std::string name = word.str();
    if (result.attributes.get(name))
      return parser.emitError(begin, "'") << name << "' is given twice; fix: remove one";
    begin = parser.getCurrentLocation();
    locations.push_back(named(parser, name, begin));
    Attribute value;
    if (parseValue(parser, name, value, &locations))
      return failure();
    if (name == "norm" && !isa<KindAttr>(value))
      return parser.emitError(begin, "expected a norm, rms or dyt");
    result.addAttribute(name, value);
    begin = parser.getCurrentLocation();
  }
  return success();
}

/// What of it is not the default.
void printVariants(OpAsmPrinter &printer, KindAttr norm, Attribute layer_scale) {
  if (norm && (norm.getWord() != "rms" || !norm.getKeys().empty())) {
    printer << "norm ";
    printValue(printer, norm);
    printer << " ";
  }
  auto number = dyn_cast_or_null<FloatAttr>(layer_scale);
  if (!layer_scale || (number && number.getValue().isZero()))
    return;
  printer << "layer_scale ";
  printValue(printer, layer_scale);
  printer << " ";
}

} // namespace

Attribute KindAttr::parse(AsmParser &parser, Type) {
  Attribute value;
  if (parser.parseLess() || parseValue(parser, "", value, nullptr) || parser.parseGreater())
    return {};
  return value;
}

void KindAttr::print(AsmPrinter &printer) const {
  printer << "<";
  printValue(printer, *this);
  printer << ">";
}

ParseResult ModelOp::parse(OpAsmParser &parser, OperationState &result) {
  Locations locations;
  if (parseSymbol(parser, result, "symbol", locations) || parseInteger(parser, result, "hidden", &locations) ||
      parseInteger(parser, result, "vocab", &locations) || parseInteger(parser, result, "sequence", &locations) ||
      parseVariants(parser, result, locations) || parser.parseRegion(*result.addRegion()))
    return failure();
  if (result.regions.front()->empty())
    result.regions.front()->emplaceBlock();
  setLocations(result, locations);
  return success();
}

void ModelOp::print(OpAsmPrinter &printer) {
  printer << " ";
  printer.printSymbolName(getSymbol());
  printer << " hidden " << getHidden() << " vocab " << getVocab() << " sequence " << getSequence() << " ";
  printVariants(printer, getNormAttr(), getLayerScaleAttr());
  printer.printRegion(getBody());
}

ParseResult StackOp::parse(OpAsmParser &parser, OperationState &result) {
  Locations locations;
  SmallVector<int64_t> cuts;
  if (parseSymbol(parser, result, "symbol", locations) || parseInteger(parser, result, "hidden") || parseInteger(parser, result, "vocab") ||
      parseInteger(parser, result, "sequence") || parseVariants(parser, result, locations))
    return failure();
  auto parseCut = [&] { return parser.parseInteger(cuts.emplace_back()); };
  if (succeeded(parser.parseOptionalKeyword("cuts")) && parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseCut))
    return failure();
  result.addAttribute("stage_cuts", parser.getBuilder().getDenseI64ArrayAttr(cuts));
  if (parser.parseRegion(*result.addRegion()))
    return failure();
  if (result.regions.front()->empty())
    result.regions.front()->emplaceBlock();
  return success();
}

void StackOp::print(OpAsmPrinter &printer) {
  printer << " ";
  printer.printSymbolName(getSymbol());
  printer << " hidden " << getHidden() << " vocab " << getVocab() << " sequence " << getSequence() << " ";
  printVariants(printer, getNormAttr(), getLayerScaleAttr());
  if (!getStageCuts().empty()) {
    printer << "cuts [";
    llvm::interleaveComma(getStageCuts(), printer);
    printer << "] ";
  }
  printer.printRegion(getBody());
}

ParseResult BlockOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &builder = parser.getBuilder();
  Locations locations;
  int64_t slot;
  SmallVector<Attribute> features;
  auto parseFeature = [&] { return parseValue(parser, "", features.emplace_back(), nullptr); };
  if (parser.parseInteger(slot) || parseString(parser, result, "letter", locations) || parseInteger(parser, result, "rank") ||
      parser.parseEqual() || parseKind(parser, result, locations))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("with")) && parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseFeature))
    return failure();
  result.addAttribute("slot", builder.getI64IntegerAttr(slot));
  result.addAttribute("features", builder.getArrayAttr(features));
  return success();
}

void BlockOp::print(OpAsmPrinter &printer) {
  printer << " " << getSlot() << " " << getLetterAttr() << " rank " << getRank() << " = ";
  printValue(printer, getKind());
  if (getFeatures().empty())
    return;
  printer << " with [";
  llvm::interleaveComma(getFeatures(), printer, [&](Attribute feature) { printValue(printer, feature); });
  printer << "]";
}

ParseResult PatternOp::parse(OpAsmParser &parser, OperationState &result) {
  Locations locations;
  if (parseString(parser, result, "text", locations) || parseInteger(parser, result, "depth", &locations))
    return failure();
  setLocations(result, locations);
  return success();
}

void PatternOp::print(OpAsmPrinter &printer) { printer << " " << getTextAttr() << " depth " << getDepth(); }

ParseResult FamilyOp::parse(OpAsmParser &parser, OperationState &result) {
  Locations locations;
  if (parseString(parser, result, "letter", locations) || parser.parseEqual() || parseKind(parser, result, locations))
    return failure();
  setLocations(result, locations);
  return success();
}

void FamilyOp::print(OpAsmPrinter &printer) {
  printer << " " << getLetterAttr() << " = ";
  printValue(printer, getKind());
}

ParseResult PlaceOp::parse(OpAsmParser &parser, OperationState &result) {
  Locations locations;
  if (parseKind(parser, result, locations) || parser.parseKeyword("on"))
    return failure();
  StringRef word;
  if (succeeded(parser.parseOptionalKeyword(&word, {"input", "objective"}))) {
    result.addAttribute("target", parser.getBuilder().getStringAttr(word));
  } else {
    if (parseString(parser, result, "target", locations))
      return failure();
    result.addAttribute("on_letter", parser.getBuilder().getUnitAttr());
  }
  if (succeeded(parser.parseOptionalKeyword("ranks"))) {
    locations.push_back(named(parser, "ranks", parser.getCurrentLocation()));
    ArrayAttr ranks;
    if (parser.parseAttribute(ranks, "ranks", result.attributes))
      return failure();
  }
  setLocations(result, locations);
  return success();
}

void PlaceOp::print(OpAsmPrinter &printer) {
  printer << " ";
  printValue(printer, getKind());
  printer << " on ";
  if (getOnLetter())
    printer << getTargetAttr();
  else
    printer << getTarget();
  if (getRanks()) {
    printer << " ranks ";
    printValue(printer, *getRanks());
  }
}

ParseResult TrainOp::parse(OpAsmParser &parser, OperationState &result) {
  Locations locations;
  SmallVector<NamedAttribute> keys;
  if (parseSymbol(parser, result, "symbol", locations) || parser.parseKeyword("of") || parseSymbol(parser, result, "model", locations) ||
      parser.parseLBrace() || parseKeys(parser, "", keys, &locations, [](AsmParser &p) { return succeeded(p.parseOptionalRBrace()); }))
    return failure();
  result.addAttribute("settings", KindAttr::get(parser.getContext(), "train", keys));
  setLocations(result, locations);
  return success();
}

void TrainOp::print(OpAsmPrinter &printer) {
  printer << " ";
  printer.printSymbolName(getSymbol());
  printer << " of ";
  printer.printSymbolName(getModel());
  printer << " {";
  printKeys(printer, getSettings().getKeys());
  printer << "}";
}

Location opLocation(Operation *op) {
  auto fused = dyn_cast<FusedLoc>(op->getLoc());
  return fused ? fused.getLocations().front() : op->getLoc();
}

Location keyLocation(Operation *op, StringRef path, unsigned index) {
  if (auto fused = dyn_cast<FusedLoc>(op->getLoc()))
    for (Location location : fused.getLocations())
      if (auto name = dyn_cast<NameLoc>(location); name && name.getName() == path && index-- == 0)
        return name.getChildLoc();
  return opLocation(op);
}

void MegaDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Mega/MegaAttributes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Mega/Mega.cpp.inc"
      >();
}

} // namespace megacc::mega

#include "dialects/Mega/MegaDialect.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Mega/MegaAttributes.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/Mega/Mega.cpp.inc"

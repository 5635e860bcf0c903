// Sharding rules: their text form, and what a split makes of an op.
#include "dialects/Interfaces/ShardingRule.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using mlir::Operation;
using mlir::RankedTensorType;

namespace megacc {

static constexpr StringLiteral kOne = "one", kOneReason = "it has one element";

// The text form.

namespace {
/// Reads "([a b, c], [d]) -> ([a, d]) reduce{c}" from left to right; stops at the first thing that it does not expect.
class RuleReader {
public:
  RuleReader(StringRef text, ArrayRef<std::pair<StringRef, int64_t>> sizes) : rest(text), sizes(sizes) {}

  ShardingRule read() {
    if (readTensors(rule.operands) && expect("->") && readTensors(rule.results))
      while (rule.error.empty() && !atEnd())
        readClause();
    return std::move(rule);
  }

private:
  bool consume(StringRef token) {
    rest = rest.ltrim();
    return rest.consume_front(token);
  }
  bool atEnd() {
    rest = rest.ltrim();
    return rest.empty();
  }
  bool fail(const Twine &expected) {
    if (rule.error.empty())
      rule.error = ("expected " + expected + " at \"" + rest.take_front(20) + "\"").str();
    return false;
  }
  bool expect(StringRef token) { return consume(token) || fail("'" + token + "'"); }

  /// Empty if there is none.
  StringRef readName() {
    rest = rest.ltrim();
    StringRef name = rest.take_while([](char c) { return isAlnum(c) || c == '_'; });
    rest = rest.drop_front(name.size());
    return name;
  }

  unsigned getFactor(StringRef name) {
    if (std::optional<unsigned> known = rule.find(name))
      return *known;
    ShardingRule::Factor factor;
    factor.name = name.str();
    for (auto &[key, value] : sizes)
      if (key == name)
        factor.size = value;
    if (name == kOne) {
      factor.size = 1;
      factor.kind = ShardingRule::Kind::Replicate;
      factor.reason = kOneReason.str();
    }
    rule.factors.push_back(factor);
    return rule.factors.size() - 1;
  }

  bool readTensors(std::vector<ShardingRule::Tensor> &tensors) {
    if (!expect("("))
      return false;
    if (consume(")"))
      return true;
    do {
      ShardingRule::Tensor &tensor = tensors.emplace_back();
      tensor.isPrivate = consume("~");
      if (!expect("["))
        return false;
      if (consume("]"))
        continue;
      do {
        readDimension(tensor.dimensions.emplace_back());
      } while (consume(","));
      if (!expect("]"))
        return false;
    } while (consume(","));
    return expect(")");
  }

  void readDimension(ShardingRule::Dimension &dimension) {
    for (StringRef name = readName(); !name.empty(); name = readName()) {
      StringRef segment;
      if (rest.consume_front(".")) {
        segment = name;
        name = readName();
      }
      dimension.push_back({segment.str(), getFactor(name)});
    }
  }

  void readClause() {
    if (consume("reduce{"))
      readKind(ShardingRule::Kind::Reduce);
    else if (consume("private{"))
      readKind(ShardingRule::Kind::Private);
    else if (consume("replicate{"))
      readReplicate();
    else if (consume("independent{"))
      readIndependent();
    else if (consume("linear{"))
      readLinear();
    else if (consume("attributes{"))
      readAttributes();
    else
      fail("'reduce{', 'private{', 'replicate{', 'independent{', 'linear{' or 'attributes{'");
  }

  void readKind(ShardingRule::Kind kind) {
    for (StringRef name = readName(); !name.empty(); name = readName())
      rule.factors[getFactor(name)].kind = kind;
    expect("}");
  }

  void readIndependent() {
    for (StringRef name = readName(); !name.empty(); name = readName())
      rule.factors[getFactor(name)].independent = true;
    expect("}");
  }

  /// "0; 1 2 in 1"
  void readLinear() {
    do {
      ShardingRule::Linear &linear = rule.linear.emplace_back();
      std::vector<unsigned> *numbers = &linear.operands;
      for (StringRef word = readName(); !word.empty(); word = readName())
        if (word == "in")
          numbers = &linear.results;
        else if (word.getAsInteger(10, numbers->emplace_back()))
          fail("numbers of operands");
    } while (consume(";"));
    expect("}");
  }

  /// "s c: reason; n: reason"
  void readReplicate() {
    do {
      SmallVector<unsigned> named;
      for (StringRef name = readName(); !name.empty(); name = readName())
        named.push_back(getFactor(name));
      StringRef reason;
      if (consume(":")) {
        reason = rest.take_until([](char c) { return c == ';' || c == '}'; });
        rest = rest.drop_front(reason.size());
      }
      for (unsigned index : named) {
        rule.factors[index].kind = ShardingRule::Kind::Replicate;
        rule.factors[index].reason = reason.trim().str();
      }
    } while (consume(";"));
    expect("}");
  }

  /// "heads = k g, rows ~ r, vocab_axis @ v"
  void readAttributes() {
    do {
      ShardingRule::Attribute &attribute = rule.attributes.emplace_back();
      attribute.name = readName().str();
      if (rest.consume_front("."))
        attribute.name += "." + readName().str();
      if (consume("="))
        attribute.tie = ShardingRule::Tie::Product;
      else if (consume("~"))
        attribute.tie = ShardingRule::Tie::Proportion;
      else if (consume("@"))
        attribute.tie = ShardingRule::Tie::Axis;
      else
        fail("'=', '~' or '@'");
      for (StringRef name = readName(); !name.empty(); name = readName())
        attribute.factors.push_back(getFactor(name));
    } while (rule.error.empty() && consume(","));
    expect("}");
  }

  StringRef rest;
  ArrayRef<std::pair<StringRef, int64_t>> sizes;
  ShardingRule rule;
};
} // namespace

ShardingRule ShardingRule::get(StringRef text, ArrayRef<std::pair<StringRef, int64_t>> sizes) { return RuleReader(text, sizes).read(); }

ShardingRule ShardingRule::getPointwise(unsigned operands, ArrayRef<int64_t> shape) {
  ShardingRule rule;
  Tensor tensor;
  for (auto [index, size] : enumerate(shape)) {
    rule.factors.push_back({std::string(1, char('a' + index)), size, Kind::Parallel, ""});
    tensor.dimensions.push_back({{"", unsigned(index)}});
  }
  rule.operands.assign(operands, tensor);
  rule.results = {tensor};
  return rule;
}

static void printTensors(raw_ostream &os, const ShardingRule &rule, ArrayRef<ShardingRule::Tensor> tensors) {
  os << '(';
  interleaveComma(tensors, os, [&](const ShardingRule::Tensor &tensor) {
    os << (tensor.isPrivate ? "~[" : "[");
    interleaveComma(tensor.dimensions, os, [&](const ShardingRule::Dimension &dimension) {
      interleave(
          dimension, os,
          [&](const ShardingRule::Part &part) {
            if (!part.segment.empty())
              os << part.segment << '.';
            os << rule.factors[part.factor].name;
          },
          " ");
    });
    os << ']';
  });
  os << ')';
}

/// Factors of equal reason together: "replicate{s c: reason; n: reason}".
static void printReplicate(raw_ostream &os, ArrayRef<ShardingRule::Factor> factors) {
  SmallVector<std::pair<StringRef, std::string>> names;
  for (const ShardingRule::Factor &factor : factors) {
    if (factor.kind != ShardingRule::Kind::Replicate || factor.name == kOne)
      continue;
    auto known = find_if(names, [&](const auto &entry) { return entry.first == factor.reason; });
    if (known == names.end())
      names.push_back({factor.reason, factor.name});
    else
      known->second += " " + factor.name;
  }
  if (names.empty())
    return;
  os << " replicate{";
  interleave(names, os, [&](const auto &entry) { os << entry.second << (entry.first.empty() ? "" : ": ") << entry.first; }, "; ");
  os << '}';
}

std::string ShardingRule::str() const {
  std::string text;
  raw_string_ostream os(text);
  printTensors(os, *this, operands);
  os << " -> ";
  printTensors(os, *this, results);
  auto printKind = [&](StringRef key, Kind kind) {
    SmallVector<StringRef> names;
    for (const Factor &factor : factors)
      if (factor.kind == kind)
        names.push_back(factor.name);
    if (!names.empty())
      os << ' ' << key << '{' << join(names, " ") << '}';
  };
  printKind("reduce", Kind::Reduce);
  printKind("private", Kind::Private);
  printReplicate(os, factors);
  SmallVector<StringRef> together;
  for (const Factor &factor : factors)
    if (factor.independent)
      together.push_back(factor.name);
  if (!together.empty())
    os << " independent{" << join(together, " ") << '}';
  if (!linear.empty()) {
    os << " linear{";
    auto print = [&](const Linear &entry) {
      interleave(entry.operands, os, " ");
      if (!entry.results.empty())
        os << " in ", interleave(entry.results, os, " ");
    };
    interleave(linear, os, print, "; ");
    os << '}';
  }
  if (attributes.empty())
    return text;
  os << " attributes{";
  interleaveComma(attributes, os, [&](const Attribute &attribute) {
    os << attribute.name << (attribute.tie == Tie::Product ? " =" : attribute.tie == Tie::Proportion ? " ~" : " @");
    for (unsigned factor : attribute.factors)
      os << ' ' << factors[factor].name;
  });
  os << '}';
  return text;
}

std::optional<unsigned> ShardingRule::find(StringRef name) const {
  for (auto [index, factor] : enumerate(factors))
    if (factor.name == name)
      return index;
  return std::nullopt;
}

ShardingRule ShardingRule::withSize(unsigned factor, int64_t size) const {
  ShardingRule rule = *this;
  rule.factors[factor].size = size;
  return rule;
}

// Splitting.

/// (segment, elements) of a dimension, in order.
static SmallVector<std::pair<std::string, int64_t>> getSegments(const ShardingRule &rule, const ShardingRule::Dimension &dimension) {
  SmallVector<std::pair<std::string, int64_t>> segments;
  for (const ShardingRule::Part &part : dimension) {
    if (segments.empty() || segments.back().first != part.segment)
      segments.push_back({part.segment, 1});
    segments.back().second *= rule.factors[part.factor].size;
  }
  return segments;
}

static bool hasSegments(const ShardingRule::Dimension &dimension) { return !dimension.empty() && !dimension.front().segment.empty(); }

SmallVector<SegmentShare> getShares(const ShardingRule &rule, const ShardingRule::Tensor &tensor, bool isResult, unsigned factor) {
  ShardingRule::Kind kind = rule.factors[factor].kind;
  bool sums = isResult && (kind == ShardingRule::Kind::Reduce || kind == ShardingRule::Kind::Private);
  SmallVector<SegmentShare> shares;
  const ShardingRule::Dimension *segmented = nullptr;
  bool everywhere = false;
  for (const ShardingRule::Dimension &dimension : tensor.dimensions) {
    if (hasSegments(dimension))
      segmented = &dimension;
    else
      everywhere |= any_of(dimension, [&](const ShardingRule::Part &part) { return part.factor == factor; });
  }
  if (segmented)
    for (auto &[segment, size] : getSegments(rule, *segmented))
      shares.push_back({segment, size, Share::Whole});
  else
    shares.push_back({"", 1, Share::Whole});
  for (SegmentShare &share : shares) {
    bool contains = everywhere || (segmented && any_of(*segmented, [&, &name = share.segment](const ShardingRule::Part &part) {
                                     return part.segment == name && part.factor == factor;
                                   }));
    if (tensor.isPrivate && kind == ShardingRule::Kind::Private)
      share.share = Share::Private;
    else if (contains)
      share.share = Share::Split;
    else if (sums)
      share.share = Share::Partial;
  }
  return shares;
}

std::string refuseSplit(Operation *op, const ShardingRule &rule, unsigned factor, int64_t parts) {
  const ShardingRule::Factor &split = rule.factors[factor];
  if (split.kind == ShardingRule::Kind::Replicate)
    return "factor '" + split.name + "' may not be split: " + split.reason;
  if (split.size % parts)
    return "factor '" + split.name + "' has size " + std::to_string(split.size) + ", which " + std::to_string(parts) +
           " ranks cannot share evenly";
  for (const ShardingRule::Attribute &attribute : rule.attributes)
    if (attribute.tie == ShardingRule::Tie::Axis && is_contained(attribute.factors, factor))
      if (int64_t axis = *getTied(op, attribute.name); axis >= 0)
        return "factor '" + split.name + "' is split over axis " + std::to_string(axis) + " already, and '" + attribute.name +
               "' can name one axis only";
  return "";
}

RankedTensorType getShape(RankedTensorType type, const ShardingRule &rule, const ShardingRule::Tensor &tensor) {
  SmallVector<int64_t> shape;
  for (const ShardingRule::Dimension &dimension : tensor.dimensions) {
    int64_t size = 0;
    for (auto &[segment, elements] : getSegments(rule, dimension))
      size += elements;
    shape.push_back(size);
  }
  return RankedTensorType::get(shape, type.getElementType());
}

RankedTensorType localShape(RankedTensorType type, const ShardingRule &rule, const ShardingRule::Tensor &tensor, unsigned factor,
                            int64_t parts) {
  return getShape(type, rule.withSize(factor, rule.factors[factor].size / parts), tensor);
}

std::optional<int64_t> getTied(Operation *op, StringRef name) {
  auto [list, index] = name.split('.');
  if (index.empty()) {
    auto value = dyn_cast_or_null<mlir::IntegerAttr>(op->getAttr(name));
    return value ? std::optional<int64_t>(value.getInt()) : std::nullopt;
  }
  auto values = dyn_cast_or_null<mlir::DenseI64ArrayAttr>(op->getAttr(list));
  int64_t at;
  if (!values || index.getAsInteger(10, at) || at < 0 || at >= values.size())
    return std::nullopt;
  return values[at];
}

void setTied(Operation *op, SmallVectorImpl<mlir::NamedAttribute> &attributes, StringRef name, int64_t value) {
  auto [key, index] = name.split('.');
  auto known = find_if(attributes, [&, &wanted = key](mlir::NamedAttribute entry) { return entry.getName() == wanted; });
  mlir::Attribute now = known == attributes.end() ? op->getAttr(key) : known->getValue(), then;
  if (index.empty()) {
    then = mlir::IntegerAttr::get(cast<mlir::IntegerAttr>(now).getType(), value);
  } else {
    SmallVector<int64_t> values(cast<mlir::DenseI64ArrayAttr>(now).asArrayRef());
    values[std::stoi(index.str())] = value;
    then = mlir::DenseI64ArrayAttr::get(op->getContext(), values);
  }
  if (known == attributes.end())
    attributes.emplace_back(mlir::StringAttr::get(op->getContext(), key), then);
  else
    known->setValue(then);
}

OpShape resizeOp(Operation *op, const ShardingRule &rule, unsigned factor, int64_t size) {
  ShardingRule resized = rule.withSize(factor, size);
  OpShape shape;
  for (auto [type, tensor] : zip(op->getOperandTypes(), rule.operands))
    shape.operands.push_back(getShape(cast<RankedTensorType>(type), resized, tensor));
  for (auto [type, tensor] : zip(op->getResultTypes(), rule.results))
    shape.results.push_back(getShape(cast<RankedTensorType>(type), resized, tensor));
  for (const ShardingRule::Attribute &attribute : rule.attributes) {
    if (attribute.tie == ShardingRule::Tie::Axis || !is_contained(attribute.factors, factor))
      continue;
    setTied(op, shape.attributes, attribute.name, divideCeil(*getTied(op, attribute.name) * size, rule.factors[factor].size));
  }
  return shape;
}

OpShape localizeOp(Operation *op, const ShardingRule &rule, unsigned factor, int64_t parts, int64_t axis) {
  OpShape shape = resizeOp(op, rule, factor, rule.factors[factor].size / parts);
  for (const ShardingRule::Attribute &attribute : rule.attributes)
    if (attribute.tie == ShardingRule::Tie::Axis && is_contained(attribute.factors, factor))
      setTied(op, shape.attributes, attribute.name, axis);
  return shape;
}

} // namespace megacc

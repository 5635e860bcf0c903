//===- ShardingRule.cpp ---------------------------------------------------===//
#include "dialects/Interfaces/ShardingRule.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace megacc {

namespace {
/// Reads "([a b, c], [d]) -> ([a, d]) reduce{c}".
class RuleReader {
public:
  RuleReader(StringRef text, ArrayRef<std::pair<StringRef, int64_t>> sizes) : text(text), sizes(sizes) {}

  ShardingRule read() {
    auto [left, rest] = text.split("->");
    readTensors(left, rule.operands);
    size_t end = rest.find(')');
    readTensors(rest.take_front(end), rule.results);
    readKinds(rest, "reduce{", ShardingRule::Kind::Reduce);
    readKinds(rest, "replicate{", ShardingRule::Kind::Replicate);
    return std::move(rule);
  }

private:
  unsigned getFactor(StringRef name) {
    for (auto [index, factor] : enumerate(rule.factors))
      if (factor.name == name)
        return index;
    int64_t size = 0;
    for (auto &[key, value] : sizes)
      if (key == name)
        size = value;
    rule.factors.push_back({name.str(), size, ShardingRule::Kind::Parallel});
    return rule.factors.size() - 1;
  }

  void readTensors(StringRef part, std::vector<ShardingRule::Tensor> &tensors) {
    while (part.contains('[')) {
      part = part.substr(part.find('[') + 1);
      auto [inside, rest] = part.split(']');
      part = rest;
      ShardingRule::Tensor &tensor = tensors.emplace_back();
      SmallVector<StringRef> dimensions;
      inside.split(dimensions, ',', -1, /*KeepEmpty=*/false);
      for (StringRef dimension : dimensions) {
        ShardingRule::Dimension &parts = tensor.emplace_back();
        SmallVector<StringRef> names;
        dimension.split(names, ' ', -1, /*KeepEmpty=*/false);
        for (StringRef name : names) {
          StringRef segment;
          if (name.contains('.'))
            std::tie(segment, name) = name.split('.');
          if (!segment.empty() && !is_contained(rule.segments, segment))
            rule.segments.push_back(segment.str());
          parts.push_back({segment.str(), getFactor(name)});
        }
      }
    }
  }

  void readKinds(StringRef part, StringRef key, ShardingRule::Kind kind) {
    size_t at = part.find(key);
    if (at == StringRef::npos)
      return;
    SmallVector<StringRef> names;
    part.substr(at + key.size()).split('}').first.split(names, ' ', -1, /*KeepEmpty=*/false);
    for (StringRef name : names)
      rule.factors[getFactor(name)].kind = kind;
  }

  StringRef text;
  ArrayRef<std::pair<StringRef, int64_t>> sizes;
  ShardingRule rule;
};
} // namespace

ShardingRule ShardingRule::get(StringRef text, ArrayRef<std::pair<StringRef, int64_t>> sizes) {
  return RuleReader(text, sizes).read();
}

std::string ShardingRule::str() const {
  std::string text;
  raw_string_ostream os(text);
  auto printTensors = [&](ArrayRef<Tensor> tensors) {
    os << '(';
    interleaveComma(tensors, os, [&](const Tensor &tensor) {
      os << '[';
      interleaveComma(tensor, os, [&](const Dimension &dimension) {
        interleave(dimension, os, [&](const Part &part) {
          if (!part.segment.empty())
            os << part.segment << '.';
          os << factors[part.factor].name;
        }, " ");
      });
      os << ']';
    });
    os << ')';
  };
  printTensors(operands);
  os << " -> ";
  printTensors(results);
  auto printKind = [&](StringRef key, Kind kind) {
    SmallVector<StringRef> names;
    for (const Factor &factor : factors)
      if (factor.kind == kind)
        names.push_back(factor.name);
    if (names.empty())
      return;
    os << ' ' << key << '{';
    interleave(names, os, " ");
    os << '}';
  };
  printKind("reduce", Kind::Reduce);
  printKind("replicate", Kind::Replicate);
  return text;
}

} // namespace megacc

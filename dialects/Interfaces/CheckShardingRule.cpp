// Whether a sharding rule describes its op.
#include "dialects/Interfaces/CheckShardingRule.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/Twine.h"

using namespace llvm;
using mlir::RankedTensorType;

namespace megacc {

namespace {
class RuleChecker {
public:
  explicit RuleChecker(const ShardingRule &rule) : rule(rule), used(rule.factors.size(), false) {}

  void checkTensors(StringRef what, ArrayRef<ShardingRule::Tensor> tensors, ArrayRef<RankedTensorType> types) {
    if (tensors.size() != types.size())
      return report("it has " + Twine(tensors.size()) + " " + what + "s, the op " + Twine(types.size()));
    for (auto [index, tensor, type] : enumerate(tensors, types)) {
      std::string name = (what + " " + Twine(index)).str();
      if (int64_t(tensor.dimensions.size()) != type.getRank()) {
        report(name + " has " + Twine(tensor.dimensions.size()) + " dimensions, its type " + Twine(type.getRank()));
        continue;
      }
      if (checkParts(name, tensor))
        checkSizes(name, tensor, type);
    }
  }

  /// Called when all tensors have been checked.
  void checkFactors() {
    for (auto [index, factor] : enumerate(rule.factors)) {
      std::string name = "factor '" + factor.name + "'";
      if (!used[index])
        report(name + " is in neither an operand nor a result");
      else if (factor.size < 1)
        report(name + " has size " + Twine(factor.size) + ", expected at least 1");
      if (factor.kind == ShardingRule::Kind::Replicate) {
        if (factor.reason.empty())
          report(name + " may not be split, but gives no reason");
        continue;
      }
      if (!factor.independent) // results without it are whole
        checkResults(name, index);
    }
    bool marked = any_of(concat<const ShardingRule::Tensor>(rule.operands, rule.results), [](auto &tensor) { return tensor.isPrivate; });
    bool orders = any_of(rule.factors, [](auto &factor) { return factor.kind == ShardingRule::Kind::Private; });
    if (marked != orders)
      report(marked ? "a tensor is marked private, but no factor is private" : "a factor is private, but no tensor is marked");
  }

  void checkAttributes(function_ref<std::optional<int64_t>(StringRef)> getAttribute) {
    StringSet<> seen;
    for (const ShardingRule::Attribute &attribute : rule.attributes) {
      std::string name = "attribute '" + attribute.name + "'";
      if (!seen.insert(attribute.name).second)
        report(name + " is there twice");
      std::optional<int64_t> value = getAttribute(attribute.name);
      if (!value) {
        report(name + " is not an integer attribute of the op");
        continue;
      }
      std::string names;
      int64_t product = 1;
      for (unsigned factor : attribute.factors) {
        names += (names.empty() ? "" : " ") + rule.factors[factor].name;
        product *= rule.factors[factor].size;
      }
      if (attribute.factors.empty())
        report(name + " follows no factor");
      else if (attribute.tie == ShardingRule::Tie::Product && *value != product)
        report(name + " is " + Twine(*value) + ", but '" + names + "' is " + Twine(product));
      else if (attribute.tie == ShardingRule::Tie::Axis && *value < -1)
        report(name + " is " + Twine(*value) + ", expected an axis of the mesh or -1");
    }
  }

  void report(const Twine &problem) { problems.push_back(problem.str()); }

  SmallVector<std::string> problems;

private:
  /// Factors stand once in a segment, segments stand together in one dimension.
  bool checkParts(StringRef name, const ShardingRule::Tensor &tensor) {
    size_t before = problems.size();
    unsigned segmented = 0;
    StringSet<> whole, inSegments, segments;
    for (auto [index, dimension] : enumerate(tensor.dimensions)) {
      if (dimension.empty()) {
        report(name + " has no factor in dimension " + Twine(index));
        continue;
      }
      bool hasSegments = !dimension.front().segment.empty();
      segmented += hasSegments;
      StringRef current;
      for (const ShardingRule::Part &part : dimension) {
        used[part.factor] = true;
        const std::string &factor = rule.factors[part.factor].name;
        if (part.segment.empty() == hasSegments)
          report(name + " has '" + factor + "' beside segments in dimension " + Twine(index));
        if (part.segment != current && !segments.insert(part.segment).second)
          report(name + " has segment '" + part.segment + "' in two places");
        current = part.segment;
        if (!(hasSegments ? inSegments : whole).insert(hasSegments ? part.segment + "." + factor : factor).second)
          report(name + " has factor '" + factor + "' twice");
      }
    }
    for (const ShardingRule::Dimension &dimension : tensor.dimensions)
      for (const ShardingRule::Part &part : dimension)
        if (!part.segment.empty() && whole.contains(rule.factors[part.factor].name))
          report(name + " has factor '" + rule.factors[part.factor].name + "' twice");
    if (segmented > 1)
      report(name + " has segments in " + Twine(segmented) + " dimensions, at most 1 may");
    return problems.size() == before;
  }

  void checkSizes(StringRef name, const ShardingRule::Tensor &tensor, RankedTensorType type) {
    RankedTensorType expected = getShape(type, rule, tensor);
    for (auto [index, size, product] : enumerate(type.getShape(), expected.getShape()))
      if (size != product)
        report(name + " has " + Twine(size) + " elements in dimension " + Twine(index) + ", its factors " + Twine(product));
  }

  /// Where a result lacks the factor it must be a sum over it, and only then.
  void checkResults(StringRef name, unsigned factor) {
    bool lacks = false;
    bool sums = rule.factors[factor].kind != ShardingRule::Kind::Parallel;
    ShardingRule summed = rule;
    summed.factors[factor].kind = sums ? rule.factors[factor].kind : ShardingRule::Kind::Reduce;
    for (auto [index, tensor] : enumerate(rule.results))
      for (const SegmentShare &share : getShares(summed, tensor, /*isResult=*/true, factor)) {
        if (share.share != Share::Partial)
          continue;
        lacks = true;
        if (!sums)
          report(name + " is not in result " + Twine(index) + (share.segment.empty() ? "" : ", segment '" + share.segment + "'") +
                 "; fix: write it under reduce{} or replicate{}");
      }
    if (rule.factors[factor].kind == ShardingRule::Kind::Reduce && !lacks)
      report(name + " is under reduce{}, but every result has it");
  }

  const ShardingRule &rule;
  std::vector<bool> used;
};
} // namespace

SmallVector<std::string> checkShardingRule(const ShardingRule &rule, ArrayRef<RankedTensorType> operands,
                                           ArrayRef<RankedTensorType> results,
                                           function_ref<std::optional<int64_t>(StringRef)> getAttribute) {
  if (!rule.error.empty())
    return {"its text cannot be read: " + rule.error};
  RuleChecker checker(rule);
  checker.checkTensors("operand", rule.operands, operands);
  checker.checkTensors("result", rule.results, results);
  if (!checker.problems.empty()) // what follows relies on tensors that fit
    return checker.problems;
  checker.checkFactors();
  checker.checkAttributes(getAttribute);
  for (const ShardingRule::Linear &linear : rule.linear) {
    for (unsigned operand : linear.operands)
      if (operand >= rule.operands.size())
        checker.report("it is linear in operand " + Twine(operand) + " of " + Twine(rule.operands.size()));
    for (unsigned result : linear.results)
      if (result >= rule.results.size())
        checker.report("result " + Twine(result) + " of " + Twine(rule.results.size()) + " is linear");
  }
  return checker.problems;
}

SmallVector<std::string> checkShardingRule(const ShardingRule &rule, mlir::Operation *op) {
  auto getTypes = [](mlir::TypeRange range) { return map_to_vector(range, [](mlir::Type type) { return cast<RankedTensorType>(type); }); };
  return checkShardingRule(rule, getTypes(op->getOperandTypes()), getTypes(op->getResultTypes()),
                           [&](StringRef name) -> std::optional<int64_t> { return getTied(op, name); });
}

} // namespace megacc

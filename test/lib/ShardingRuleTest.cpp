#include "dialects/Interfaces/CheckShardingRule.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/MLIRContext.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

using namespace megacc;
using mlir::RankedTensorType;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

using Sizes = std::vector<std::pair<llvm::StringRef, int64_t>>;
using Shapes = std::vector<std::vector<int64_t>>;

class ShardingRuleTest : public testing::Test {
protected:
  ShardingRuleTest() { context.allowUnregisteredDialects(); }

  RankedTensorType getType(const std::vector<int64_t> &shape) { return RankedTensorType::get(shape, mlir::Float32Type::get(&context)); }
  std::vector<RankedTensorType> getTypes(const Shapes &shapes) {
    std::vector<RankedTensorType> types;
    for (const std::vector<int64_t> &shape : shapes)
      types.push_back(getType(shape));
    return types;
  }

  /// The problems of a rule for tensors of these shapes and one attribute, "heads".
  std::vector<std::string> check(llvm::StringRef text, const Sizes &sizes, const Shapes &operands, const Shapes &results,
                                 std::optional<int64_t> heads = std::nullopt) {
    auto getAttribute = [&](llvm::StringRef name) { return name == "heads" ? heads : std::nullopt; };
    llvm::SmallVector<std::string> problems =
        checkShardingRule(ShardingRule::get(text, sizes), getTypes(operands), getTypes(results), getAttribute);
    return {problems.begin(), problems.end()};
  }

  mlir::MLIRContext context;
};

const char *const kProduct = "([t, i], [o, i]) -> ([t, o]) reduce{i}";
const Sizes kProductSizes = {{"t", 6}, {"i", 4}, {"o", 8}};

TEST_F(ShardingRuleTest, TextIsReadBack) {
  const char *const everything = "([b s, v.g v.m B.n], [g m]) -> ([b s, v.g v.m B.n], [g m]) reduce{b g m} replicate{s n: reason} "
                                 "attributes{heads = g m, rows ~ b s, n_axis @ n}";
  for (const char *text :
       {kProduct, "() -> ([one])", "([t, gate.w up.w]) -> ([t, w])",
        "([t, d], ~[t, k], ~[first.e last.one]) -> (~[t k, d]) private{t} replicate{k: picks of a token stand together; e: rows travel}",
        everything})
    EXPECT_EQ(ShardingRule::get(text, {}).str(), text);
}

TEST_F(ShardingRuleTest, UnreadableTextIsSaid) {
  EXPECT_THAT(check("([t, i] -> ([t])", {}, {}, {}), ElementsAre("its text cannot be read: expected ')' at \"-> ([t])\""));
  EXPECT_THAT(check("([t]) -> ([t]) reduec{t}", {}, {}, {}), ElementsAre(HasSubstr("expected 'reduce{'")));
  EXPECT_THAT(check("([t]) -> ([t]) attributes{heads t}", {}, {}, {}), ElementsAre(HasSubstr("expected '=', '~' or '@'")));
}

TEST_F(ShardingRuleTest, TrueRulesPass) {
  EXPECT_THAT(check(kProduct, kProductSizes, {{6, 4}, {8, 4}}, {{6, 8}}), IsEmpty());
  EXPECT_THAT(check("([b s, k g], [one]) -> ([b s, k g]) replicate{s: order} attributes{heads = k g}",
                    {{"b", 2}, {"s", 3}, {"k", 2}, {"g", 4}}, {{6, 8}, {1}}, {{6, 8}}, 8),
              IsEmpty());
}

TEST_F(ShardingRuleTest, NumbersOfTensorsAndDimensionsAreChecked) {
  EXPECT_THAT(check(kProduct, kProductSizes, {{6, 4}}, {{6, 8}}), ElementsAre("it has 2 operands, the op 1"));
  EXPECT_THAT(check(kProduct, kProductSizes, {{6, 4}, {8, 4}}, {}), ElementsAre("it has 1 results, the op 0"));
  EXPECT_THAT(check(kProduct, kProductSizes, {{6, 4, 1}, {8, 4}}, {{6, 8}}), ElementsAre("operand 0 has 2 dimensions, its type 3"));
  EXPECT_THAT(check("([]) -> ([])", {}, {{1}}, {{1}}),
              ElementsAre("operand 0 has 0 dimensions, its type 1", "result 0 has 0 dimensions, its type 1"));
}

TEST_F(ShardingRuleTest, SizesAreChecked) {
  EXPECT_THAT(check(kProduct, kProductSizes, {{6, 4}, {8, 5}}, {{6, 8}}),
              ElementsAre("operand 1 has 5 elements in dimension 1, its factors 4"));
  EXPECT_THAT(check("([t, z.h z.p B.n]) -> ([t, h p])", {{"t", 6}, {"h", 2}, {"p", 4}, {"n", 3}}, {{6, 12}}, {{6, 8}}),
              ElementsAre("operand 0 has 12 elements in dimension 1, its factors 11"));
  EXPECT_THAT(check("([t]) -> ([t])", {}, {{0}}, {{0}}), ElementsAre("factor 't' has size 0, expected at least 1"));
}

TEST_F(ShardingRuleTest, NamesAreChecked) {
  EXPECT_THAT(check("([t]) -> ([t]) replicate{x: reason}", {{"t", 6}}, {{6}}, {{6}}),
              ElementsAre("factor 'x' is in neither an operand nor a result"));
  EXPECT_THAT(check("([t]) -> ([t]) attributes{width = t}", {{"t", 6}}, {{6}}, {{6}}),
              ElementsAre("attribute 'width' is not an integer attribute of the op"));
}

TEST_F(ShardingRuleTest, AttributesAreChecked) {
  EXPECT_THAT(check("([k g]) -> ([k g]) attributes{heads = k g}", {{"k", 2}, {"g", 3}}, {{6}}, {{6}}, 5),
              ElementsAre("attribute 'heads' is 5, but 'k g' is 6"));
  EXPECT_THAT(check("([k]) -> ([k]) attributes{heads = k, heads @ k}", {{"k", 6}}, {{6}}, {{6}}, 6),
              ElementsAre("attribute 'heads' is there twice"));
  EXPECT_THAT(check("([k]) -> ([k]) attributes{heads @ k}", {{"k", 6}}, {{6}}, {{6}}, -2),
              ElementsAre("attribute 'heads' is -2, expected an axis of the mesh or -1"));
  EXPECT_THAT(check("([k]) -> ([k]) attributes{heads =}", {{"k", 6}}, {{6}}, {{6}}, 6), ElementsAre("attribute 'heads' follows no factor"));
}

TEST_F(ShardingRuleTest, ReasonsAreAskedFor) {
  EXPECT_THAT(check("([s]) -> ([s]) replicate{s}", {{"s", 6}}, {{6}}, {{6}}),
              ElementsAre("factor 's' may not be split, but gives no reason"));
}

TEST_F(ShardingRuleTest, SumsAreSaid) {
  EXPECT_THAT(check("([t, i], [o, i]) -> ([t, o])", kProductSizes, {{6, 4}, {8, 4}}, {{6, 8}}),
              ElementsAre("factor 'i' is not in result 0; fix: write it under reduce{} or replicate{}"));
  EXPECT_THAT(check("([t, i], [o, i]) -> ([t, o]) reduce{i o}", kProductSizes, {{6, 4}, {8, 4}}, {{6, 8}}),
              ElementsAre("factor 'o' is under reduce{}, but every result has it"));
  EXPECT_THAT(check("([t, z.h]) -> ([t, z.h B.n]) replicate{n: reason}", {{"t", 6}, {"h", 2}, {"n", 3}}, {{6, 2}}, {{6, 5}}),
              ElementsAre("factor 'h' is not in result 0, segment 'B'; fix: write it under reduce{} or replicate{}"));
}

TEST_F(ShardingRuleTest, PrivateTensorsAndFactorsGoTogether) {
  EXPECT_THAT(check("([t]) -> (~[t])", {{"t", 6}}, {{6}}, {{6}}), ElementsAre("a tensor is marked private, but no factor is private"));
  EXPECT_THAT(check("([t]) -> ([t]) private{t}", {{"t", 6}}, {{6}}, {{6}}), ElementsAre("a factor is private, but no tensor is marked"));
}

TEST_F(ShardingRuleTest, FactorsAndSegmentsStandOnce) {
  const Sizes sizes = {{"h", 2}, {"n", 3}};
  EXPECT_THAT(check("([h, h]) -> ([h, n])", sizes, {{2, 2}}, {{2, 3}}), ElementsAre("operand 0 has factor 'h' twice"));
  EXPECT_THAT(check("([z.h, h]) -> ([h, n])", sizes, {{2, 2}}, {{2, 3}}), ElementsAre("operand 0 has factor 'h' twice"));
  EXPECT_THAT(check("([z.h x.n z.h]) -> ([h, n])", sizes, {{7}}, {{2, 3}}),
              ElementsAre("operand 0 has segment 'z' in two places", "operand 0 has factor 'h' twice"));
  EXPECT_THAT(check("([z.h n]) -> ([h, n])", sizes, {{5}}, {{2, 3}}), ElementsAre(HasSubstr("operand 0 has 'n' beside segments")));
  EXPECT_THAT(check("([a.h b.n, c.n]) -> ([h, n])", sizes, {{5, 3}}, {{2, 3}}),
              ElementsAre("operand 0 has segments in 2 dimensions, at most 1 may"));
}

TEST_F(ShardingRuleTest, SharesAreOfSegments) {
  ShardingRule rule =
      ShardingRule::get("([b, z.h B.n]) -> ([b, z.h B.n], [n], ~[one]) reduce{h} private{b}", {{"b", 2}, {"h", 6}, {"n", 5}});
  auto shares = [&](bool isResult, unsigned tensor, llvm::StringRef factor) {
    std::vector<Share> list;
    for (const SegmentShare &share : getShares(rule, (isResult ? rule.results : rule.operands)[tensor], isResult, *rule.find(factor)))
      list.push_back(share.share);
    return list;
  };
  EXPECT_THAT(shares(false, 0, "h"), ElementsAre(Share::Split, Share::Whole));
  EXPECT_THAT(shares(true, 0, "h"), ElementsAre(Share::Split, Share::Partial));
  EXPECT_THAT(shares(true, 1, "h"), ElementsAre(Share::Partial));
  EXPECT_THAT(shares(true, 0, "b"), ElementsAre(Share::Split, Share::Split));
  EXPECT_THAT(shares(true, 2, "b"), ElementsAre(Share::Private));
  EXPECT_THAT(shares(true, 2, "h"), ElementsAre(Share::Partial));
}

TEST_F(ShardingRuleTest, OpsAreLocalized) {
  mlir::OpBuilder builder(&context);
  mlir::OperationState sourceState(builder.getUnknownLoc(), "test.source"), state(builder.getUnknownLoc(), "test.op");
  sourceState.addTypes(getType({6, 17}));
  mlir::Operation *source = mlir::Operation::create(sourceState);
  state.addOperands(source->getResults());
  state.addTypes({getType({6, 12}), getType({12})});
  state.addAttribute("heads", builder.getI64IntegerAttr(6));
  state.addAttribute("rows", builder.getI64IntegerAttr(5));
  state.addAttribute("axis", builder.getI64IntegerAttr(-1));
  mlir::Operation *op = mlir::Operation::create(state);
  ShardingRule rule = ShardingRule::get("([t, z.h z.p B.n]) -> ([t, h p], [h p]) reduce{t n} attributes{heads = h, rows ~ h, axis @ h}",
                                        {{"t", 6}, {"h", 6}, {"p", 2}, {"n", 5}});
  EXPECT_THAT(checkShardingRule(rule, op), IsEmpty());
  unsigned h = *rule.find("h");
  EXPECT_EQ(refuseSplit(op, rule, h, 3), "");
  EXPECT_EQ(refuseSplit(op, rule, h, 4), "factor 'h' has size 6, which 4 ranks cannot share evenly");
  OpShape local = localizeOp(op, rule, h, 3, 1);
  EXPECT_THAT(local.operands, ElementsAre(getType({6, 9})));
  EXPECT_THAT(local.results, ElementsAre(getType({6, 4}), getType({4})));
  for (mlir::NamedAttribute attribute : local.attributes)
    op->setAttr(attribute.getName(), attribute.getValue());
  EXPECT_EQ(op->getAttr("heads"), builder.getI64IntegerAttr(2));
  EXPECT_EQ(op->getAttr("rows"), builder.getI64IntegerAttr(2)); // a third of 5, rounded up
  EXPECT_EQ(op->getAttr("axis"), builder.getI64IntegerAttr(1));
  EXPECT_EQ(refuseSplit(op, rule, h, 3), "factor 'h' is split over axis 1 already, and 'axis' can name one axis only");
  EXPECT_THAT(resizeOp(op, rule, *rule.find("t"), 12).results, ElementsAre(getType({12, 12}), getType({12})));
  op->destroy();
  source->destroy();
}

TEST_F(ShardingRuleTest, UnsplittableFactorsSayWhy) {
  ShardingRule rule = ShardingRule::get("([s]) -> ([s], [one]) replicate{s: a token reads those before it}", {{"s", 6}});
  EXPECT_EQ(refuseSplit(nullptr, rule, *rule.find("s"), 2), "factor 's' may not be split: a token reads those before it");
  EXPECT_EQ(refuseSplit(nullptr, rule, *rule.find("one"), 2), "factor 'one' may not be split: it has one element");
}

} // namespace

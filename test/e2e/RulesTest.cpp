// Sharding rules are true of the kernels.
// Every op with a rule, as the goldens have it: each factor that may be split is split over 2 and over 3 ranks; the parts, run by the op's
// own CPU kernel and joined as the rule says, must give what the uncut kernel gives.
#include "dialects/Interfaces/CheckShardingRule.h"
#include "dialects/Mega/Mega.h"
#include "dialects/Step/Step.h"
#include "lib/Kernels/Kernels.h"
#include "megacc/StepABI.h"
#include "passes/Pipelines.h"
#include "test/e2e/KernelRunner.h"
#include "test/e2e/RandomOperands.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include "gtest/gtest.h"
#include <iostream>
#include <map>
#include <set>

using namespace mlir;
using namespace megacc;
using namespace megacc::test;
using megacc::step::CacheOpInterface;
using megacc::step::FlagOpInterface;
using megacc::step::FusedOp;
using megacc::step::KernelOpInterface;
using megacc::step::ShardingRuleOpInterface;
using megacc::step::YieldOp;

namespace {

constexpr int64_t kAxis = MG_TP;

ShardingRule getRule(Operation *op) { return cast<ShardingRuleOpInterface>(op).getShardingRule(); }

/// A factor that orders rows: what is private is so because each rank has its own tokens, in an order that only its own routing knows.
bool ordersRows(const ShardingRule &rule, unsigned factor) {
  bool inSegment = llvm::any_of(rule.operands, [&](const ShardingRule::Tensor &tensor) {
    return tensor.isPrivate && llvm::any_of(tensor.dimensions.front(),
                                            [&](const ShardingRule::Part &part) { return part.factor == factor && !part.segment.empty(); });
  });
  return rule.factors[factor].kind == ShardingRule::Kind::Private && !inSegment;
}

// Instances.

/// The caches of a forward op have the types that its record gives them.
void setCacheTypes(Operation *op, size_t results) {
  KernelQuery query = cast<KernelOpInterface>(op).getKernelQuery();
  const Record *record = match("cpu", query);
  for (auto [name, result] : llvm::zip(op->getAttrOfType<ArrayAttr>("cached"), op->getResults().drop_front(results)))
    for (const Cache &cache : record->caches)
      if (cache.name == cast<StringAttr>(name).getValue())
        result.setType(cache.type(query));
}

/// A copy of the op beside it, of another shape, whose operands are block arguments. A gradient op takes `caches`.
Operation *rebuild(Operation *op, const OpShape &shape, ArrayRef<HostTensor> caches = {}) {
  Operation *copy = op->clone();
  op->getBlock()->getOperations().insert(std::next(Block::iterator(op)), copy);
  for (auto [index, type] : llvm::enumerate(shape.operands))
    copy->setOperand(index, op->getBlock()->addArgument(type, op->getLoc()));
  for (auto [index, type] : llvm::enumerate(shape.results))
    copy->getResult(index).setType(type);
  for (auto [index, cache] : llvm::enumerate(caches))
    copy->setOperand(shape.operands.size() + index, op->getBlock()->addArgument(cache.type, op->getLoc()));
  for (NamedAttribute attribute : shape.attributes)
    copy->setAttr(attribute.getName(), attribute.getValue());
  if (copy->getNumResults() > shape.results.size())
    setCacheTypes(copy, shape.results.size());
  if (auto flagged = dyn_cast<FlagOpInterface>(copy))
    flagged.dropFlags();
  return copy;
}

/// A copy of the op in which the size of the factor is a multiple of 6.
Operation *makeDivisible(Operation *op, unsigned factor, ArrayRef<HostTensor> caches = {}) {
  ShardingRule rule = getRule(op);
  return rebuild(op, resizeOp(op, rule, factor, (rule.factors[factor].size + 5) / 6 * 6), caches);
}

/// What distinguishes an op from others of its kind.
std::string getKey(Operation *op) {
  std::string key;
  llvm::raw_string_ostream os(key);
  os << op->getName();
  for (NamedAttribute attribute : op->getAttrDictionary())
    if (!llvm::is_contained({"block", "phase", "pair", "nonfinite", "invalid"}, attribute.getName().strref()))
      os << ' ' << attribute.getName().strref() << '=' << attribute.getValue();
  llvm::interleaveComma(op->getOperandTypes(), os);
  os << " -> ";
  llvm::interleaveComma(op->getResultTypes(), os);
  return key;
}

// One factor of one op.

/// The rank's op; null and a problem where the rule gives no valid one.
Operation *localize(Operation *op, const ShardingRule &rule, unsigned factor, int64_t parts, std::string &problem,
                    ArrayRef<HostTensor> caches = {}) {
  Operation *local = rebuild(op, localizeOp(op, rule, factor, parts, kAxis), caches);
  ScopedDiagnosticHandler handler(op->getContext(), [&](Diagnostic &diagnostic) { problem += diagnostic.str() + "; "; });
  return succeeded(verify(local)) ? local : nullptr;
}

/// Experts on several ranks: a rank has the rows of its own experts, moved to the front, and offsets that begin at 0.
struct ExpertRows {
  HostTensor offsets;
  int64_t experts, parts;

  int64_t begin(int64_t part) const { return offsets.get(part * (experts / parts)); }
  HostTensor takeOffsets(int64_t part) const {
    HostTensor local(RankedTensorType::get({experts / parts + 1}, offsets.type.getElementType()));
    for (int64_t expert = 0; expert <= experts / parts; ++expert)
      local.set(expert, offsets.get(part * (experts / parts) + expert) - begin(part));
    return local;
  }
  HostTensor take(const HostTensor &whole, int64_t part) const {
    HostTensor local(whole.type);
    copyRows(whole, begin(part), local, 0, begin(part + 1) - begin(part));
    return local;
  }
  HostTensor join(ArrayRef<HostTensor> local) const {
    HostTensor whole(local.front().type);
    for (int64_t index = 0; index < whole.getCount(); ++index)
      whole.set(index, 0);
    for (int64_t part = 0; part < parts; ++part)
      copyRows(local[part], 0, whole, begin(part), begin(part + 1) - begin(part));
    return whole;
  }

private:
  static void copyRows(const HostTensor &from, int64_t first, HostTensor &to, int64_t second, int64_t count) {
    int64_t columns = from.type.getDimSize(1);
    for (int64_t index = 0; index < count * columns; ++index)
      to.set(second * columns + index, from.get(first * columns + index));
  }
};

/// What an op is run on and gives, whole and in parts; caches of parts are not parts of the whole ones.
struct Runs {
  std::vector<HostTensor> operands, results;
  std::vector<std::vector<HostTensor>> partCaches;
};

/// Splits a factor of an op that it divides, unless it orders rows. Empty if the parts give what the whole gives. The op runs on
/// runs->operands where they are given; a gradient op takes the caches that `forward` made.
std::string checkFactor(Operation *op, const ShardingRule &rule, unsigned factor, int64_t parts, Runs *runs = nullptr,
                        const Runs *forward = nullptr) {
  std::vector<HostTensor> operands = runs && !runs->operands.empty() ? runs->operands : makeOperands(op), expected;
  if (std::string problem = runKernel(cast<KernelOpInterface>(op), operands, {}, expected); !problem.empty())
    return "uncut: " + problem;
  std::optional<ExpertRows> experts;
  for (auto [tensor, operand] : llvm::zip(rule.operands, operands))
    if (rule.factors[factor].kind == ShardingRule::Kind::Private && tensor.isPrivate && operand.type.getRank() == 1)
      experts = ExpertRows{operand, rule.factors[factor].size, parts};
  std::string problem;
  std::vector<std::vector<HostTensor>> results(expected.size()); // of each result, each part
  for (int64_t part = 0; part < parts; ++part) {
    std::vector<HostTensor> caches = forward ? forward->partCaches[part] : std::vector<HostTensor>(), mine, made;
    Operation *local = localize(op, rule, factor, parts, problem, caches);
    if (!local)
      return problem;
    for (auto [tensor, operand] : llvm::zip(rule.operands, operands)) {
      if (!experts || !tensor.isPrivate)
        mine.push_back(Cut{rule, tensor, false, factor, parts}.take(operand, part));
      else
        mine.push_back(operand.type.getRank() == 1 ? experts->takeOffsets(part) : experts->take(operand, part));
    }
    mine.insert(mine.end(), caches.begin(), caches.end());
    problem = runKernel(cast<KernelOpInterface>(local), mine, {kAxis, part, parts}, made);
    if (!problem.empty())
      return "part " + std::to_string(part) + ": " + problem;
    if (runs)
      runs->partCaches.emplace_back(made.begin() + rule.results.size(), made.end());
    for (auto [list, result] : llvm::zip(results, made))
      list.push_back(std::move(result));
  }
  if (runs)
    *runs = {operands, expected, std::move(runs->partCaches)};
  for (auto [index, tensor] : llvm::enumerate(rule.results)) {
    HostTensor joined;
    if (experts && tensor.isPrivate)
      joined = experts->join(results[index]);
    else
      problem = Cut{rule, tensor, true, factor, parts}.join(results[index], expected[index].type, joined);
    if (problem.empty())
      problem = compare(joined, expected[index]);
    if (!problem.empty())
      return "result " + std::to_string(index) + ": " + problem;
  }
  return "";
}

/// Whether the op of a rank has the rule of the whole with the smaller size. Empty if so.
std::string checkLocalRule(Operation *op, const ShardingRule &rule, unsigned factor, int64_t parts) {
  std::string problem;
  Operation *local = localize(op, rule, factor, parts, problem);
  if (!local)
    return problem;
  ShardingRule mine = getRule(local), expected = rule.withSize(factor, rule.factors[factor].size / parts);
  if (mine.str() != expected.str())
    return "the rule of a part is " + mine.str();
  for (auto [a, b] : llvm::zip(mine.factors, expected.factors))
    if (a.size != b.size)
      return "factor '" + a.name + "' of a part is " + std::to_string(a.size) + ", expected " + std::to_string(b.size);
  return "";
}

// Rows in an order of the rank's own.

/// Runs the ops of a function whose rows are sorted by expert, whole and on `parts` ranks that each route their own tokens. What is private
/// stays where it is made; all else is joined, compared, and cut again for the next op.
class Chain {
public:
  explicit Chain(int64_t parts) : parts(parts) {}

  /// Empty if all agree, and if the op is not of the chain.
  std::string add(Operation *op, std::set<std::string> &tested) {
    std::optional<unsigned> factor = findRowFactor(op);
    wasLink = factor.has_value();
    if (!wasLink)
      return "";
    ShardingRule before = getRule(op);
    Operation *whole = rebuild(op, resizeOp(op, before, *factor, before.factors[*factor].size * 6));
    ShardingRule rule = getRule(whole);
    tested.insert((op->getName().getStringRef() + " " + rule.factors[*factor].name).str());
    std::vector<HostTensor> operands = makeOperands(whole), expected;
    for (auto [value, tensor] : llvm::zip(op->getOperands(), operands))
      tensor = values.insert({value, tensor}).first->second;
    std::string problem = runKernel(cast<KernelOpInterface>(whole), operands, {}, expected);
    if (!problem.empty())
      return "uncut: " + problem;
    std::vector<std::vector<HostTensor>> results(expected.size());
    for (int64_t part = 0; part < parts; ++part) {
      Operation *local = localize(whole, rule, *factor, parts, problem);
      if (!local)
        return problem;
      std::vector<HostTensor> mine, made;
      for (auto [index, value] : llvm::enumerate(op->getOperands())) {
        auto known = own.find(value);
        if (rule.operands[index].isPrivate && known == own.end())
          return "operand " + std::to_string(index) + " is private, but no op made it so";
        mine.push_back(known != own.end() ? known->second[part]
                                          : Cut{rule, rule.operands[index], false, *factor, parts}.take(operands[index], part));
      }
      problem = runKernel(cast<KernelOpInterface>(local), mine, {kAxis, part, parts}, made);
      if (!problem.empty())
        return "part " + std::to_string(part) + ": " + problem;
      for (auto [list, result] : llvm::zip(results, made))
        list.push_back(std::move(result));
    }
    for (auto [index, value] : llvm::enumerate(op->getResults())) {
      values[value] = expected[index];
      if (staysPrivate(rule, rule.results[index], *factor)) {
        own[value] = results[index];
        continue;
      }
      HostTensor joined;
      problem = Cut{rule, rule.results[index], true, *factor, parts}.join(results[index], expected[index].type, joined);
      if (problem.empty())
        problem = compare(joined, expected[index]);
      if (!problem.empty())
        return "result " + std::to_string(index) + ": " + problem;
    }
    return "";
  }

  /// Whether the last op was of the chain.
  bool wasLink = false;

private:
  /// Of an op that orders rows its factor that does; of one that takes such rows as they come, the factor of the rows.
  std::optional<unsigned> findRowFactor(Operation *op) {
    ShardingRule rule = getRule(op);
    for (unsigned factor = 0; factor < rule.factors.size(); ++factor)
      if (ordersRows(rule, factor))
        return factor;
    for (auto [index, value] : llvm::enumerate(op->getOperands()))
      if (own.contains(value))
        return rule.operands[index].dimensions.front().front().factor;
    return std::nullopt;
  }

  static bool staysPrivate(const ShardingRule &rule, const ShardingRule::Tensor &tensor, unsigned factor) {
    return tensor.isPrivate ||
           (!ordersRows(rule, factor) && tensor.dimensions.front().size() == 1 && tensor.dimensions.front().front().factor == factor);
  }

  int64_t parts;
  llvm::DenseMap<Value, HostTensor> values;
  llvm::DenseMap<Value, std::vector<HostTensor>> own;
};

// The tests.

class RulesTest : public testing::Test {
protected:
  static void SetUpTestSuite() {
    context = new MLIRContext;
    context->getOrLoadDialect<mega::MegaDialect>();
    context->getOrLoadDialect<step::StepDialect>();
    context->printOpOnDiagnostic(false);
    std::error_code error;
    std::set<std::string> files;
    for (llvm::sys::fs::directory_iterator file(MEGACC_GOLDENS, error), end; file != end && !error; file.increment(error))
      if (llvm::sys::path::extension(file->path()) == ".mlir")
        files.insert(file->path());
    for (const std::string &file : files)
      read(file, /*declares=*/true);
    read(MEGACC_VARIANTS, /*declares=*/false);
  }

  /// A declaration, or the ops of a step.
  static void read(const std::string &file, bool declares) {
    OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(file, context);
    PassManager passes(context);
    if (declares) {
      buildModelPipeline(passes);
      buildTrainPipeline(passes, {});
    }
    ASSERT_TRUE(module && succeeded(passes.run(*module))) << file;
    if (declares) {
      OwningOpRef<ModuleOp> &copy = planned.emplace_back(module->clone());
      PassManager memory(context);
      buildMemoryPipeline(memory, {});
      ASSERT_TRUE(succeeded(memory.run(*copy))) << file;
      // The ops of fused groups, put back, are tested one by one.
      copy->walk([](FusedOp fused) {
        Block &body = fused.getBody().front();
        fused->replaceAllUsesWith(cast<YieldOp>(body.back()).getValues());
        for (Operation &op : llvm::make_early_inc_range(body.without_terminator()))
          op.moveBefore(fused);
        fused.erase();
      });
    }
    module->walk([&](ShardingRuleOpInterface op) {
      ops.push_back(op);
      instances.insert({getKey(op), op});
    });
    modules.push_back(std::move(module));
  }

  static void TearDownTestSuite() {
    instances.clear();
    ops.clear();
    modules.clear();
    planned.clear();
    delete context;
  }

  /// The first instance of an op that a test likes.
  static Operation *find(StringRef name, llvm::function_ref<bool(const ShardingRule &)> accepts) {
    for (auto &[key, op] : instances)
      if (op->getName().getStringRef() == name && accepts(getRule(op)))
        return op;
    return nullptr;
  }

  static MLIRContext *context;
  /// The steps as differentiated, and with the caches of the memory phase.
  static std::vector<OwningOpRef<ModuleOp>> modules, planned;
  /// All ops with a rule, in the order of their functions, and those that differ.
  static std::vector<Operation *> ops;
  static std::map<std::string, Operation *> instances;
  /// "op factor" that has been split.
  static std::set<std::string> tested;
};

MLIRContext *RulesTest::context = nullptr;
std::vector<OwningOpRef<ModuleOp>> RulesTest::modules, RulesTest::planned;
std::vector<Operation *> RulesTest::ops;
std::map<std::string, Operation *> RulesTest::instances;
std::set<std::string> RulesTest::tested;

TEST_F(RulesTest, PartsJoinToTheWhole) {
  int64_t cuts = 0;
  for (auto &[key, op] : instances) {
    ShardingRule declared = getRule(op);
    ASSERT_EQ(llvm::join(checkShardingRule(declared, op), "; "), "") << key << "\n" << declared.str();
    for (unsigned factor = 0; factor < declared.factors.size(); ++factor) {
      if (declared.factors[factor].kind == ShardingRule::Kind::Replicate || ordersRows(declared, factor))
        continue;
      Operation *whole = makeDivisible(op, factor);
      ShardingRule rule = getRule(whole);
      for (int64_t parts : {2, 3}) {
        std::string where = key + "\nfactor '" + rule.factors[factor].name + "' in " + std::to_string(parts) + " parts of " + rule.str();
        EXPECT_EQ(refuseSplit(whole, rule, factor, parts), "") << where;
        EXPECT_EQ(checkLocalRule(whole, rule, factor, parts), "") << where;
        EXPECT_EQ(checkFactor(whole, rule, factor, parts), "") << where;
        ++cuts;
      }
      tested.insert((op->getName().getStringRef() + " " + rule.factors[factor].name).str());
    }
  }
  std::cout << instances.size() << " ops that differ, " << cuts << " cuts" << std::endl;
}

TEST_F(RulesTest, RowsInTheRanksOwnOrderGiveTheSameTokens) {
  int64_t links = 0;
  for (int64_t parts : {2, 3}) {
    Block *block = nullptr;
    std::optional<Chain> chain;
    for (Operation *op : ops) {
      if (op->getBlock() != block)
        chain.emplace(parts);
      block = op->getBlock();
      ASSERT_EQ(chain->add(op, tested), "") << getKey(op) << "\nin " << parts << " parts of " << getRule(op).str();
      links += chain->wasLink;
    }
  }
  std::cout << links << " ops in chains" << std::endl;
  EXPECT_GT(links, 0);
}

/// Runs a forward op and its gradient op, whole and in parts; each part's backward reads the caches of its own forward.
std::string checkPair(Operation *forward, Operation *backward, StringRef factor, int64_t parts) {
  Operation *first = makeDivisible(forward, *getRule(forward).find(factor));
  Runs forwardRuns, backwardRuns;
  ShardingRule rule = getRule(first);
  std::string problem = checkFactor(first, rule, *rule.find(factor), parts, &forwardRuns);
  if (!problem.empty())
    return "forward: " + problem;
  size_t results = rule.results.size(), operands = getRule(backward).operands.size();
  Operation *second = makeDivisible(backward, *getRule(backward).find(factor), ArrayRef(forwardRuns.results).drop_front(results));
  std::vector<HostTensor> given = makeOperands(second);
  for (auto [index, value] : llvm::enumerate(backward->getOperands())) { // what both read is the same, and so is what the forward made
    for (auto [known, tensor] : llvm::zip(forward->getOperands(), forwardRuns.operands))
      if (value == known)
        given[index] = tensor;
    for (auto [known, tensor] : llvm::zip(forward->getResults(), forwardRuns.results))
      if (value == known)
        given[index] = tensor;
  }
  backwardRuns.operands = given;
  EXPECT_GT(given.size(), operands);
  ShardingRule backwardRule = getRule(second);
  return checkFactor(second, backwardRule, *backwardRule.find(factor), parts, &backwardRuns, &forwardRuns);
}

TEST_F(RulesTest, CachesOfAPartServeItsBackward) {
  int64_t cuts = 0;
  std::set<std::string> seen;
  for (OwningOpRef<ModuleOp> &module : planned) {
    SmallVector<CacheOpInterface> backward;
    module->walk([&](CacheOpInterface op) { backward.push_back(op); });
    for (CacheOpInterface op : backward) {
      auto caches = OperandRange(op.getCachesMutable());
      Operation *forward = caches.empty() ? nullptr : caches.front().getDefiningOp();
      if (!forward || !seen.insert(getKey(forward) + getKey(op)).second)
        continue;
      for (const ShardingRule::Factor &factor : getRule(forward).factors) {
        if (factor.kind == ShardingRule::Kind::Replicate)
          continue;
        for (int64_t parts : {2, 3}) {
          EXPECT_EQ(checkPair(forward, op, factor.name, parts), "")
              << getKey(op) << "\nfactor '" << factor.name << "' in " << parts << " parts of " << getRule(op).str();
          ++cuts;
        }
      }
    }
  }
  std::cout << seen.size() << " pairs of a forward and a backward with caches, " << cuts << " cuts" << std::endl;
  EXPECT_GT(cuts, 0);
}

/// Where a rule says that the op is linear in operands, two summands of them give two summands of every result.
TEST_F(RulesTest, SummandsGiveSummands) {
  int64_t checked = 0;
  for (auto &[key, op] : instances)
    for (const ShardingRule::Linear &linear : getRule(op).linear) {
      std::vector<HostTensor> whole = makeOperands(op), first = whole, second = whole, expected, one, other;
      for (unsigned operand : linear.operands)
        for (int64_t index = 0, count = whole[operand].getCount(); index < count; ++index) {
          first[operand].set(index, 0.5 * whole[operand].get(count - 1 - index));
          second[operand].set(index, whole[operand].get(index) - first[operand].get(index));
        }
      for (auto [operands, results] : {std::pair(&whole, &expected), {&first, &one}, {&second, &other}})
        ASSERT_EQ(runKernel(cast<KernelOpInterface>(op), *operands, {}, *results), "") << key;
      for (auto [number, result, part, rest] : llvm::enumerate(expected, one, other)) {
        for (int64_t index = 0; index < part.getCount(); ++index)
          part.set(index, part.get(index) + (linear.gives(number) ? rest.get(index) : 0.0));
        EXPECT_EQ(compare(part, result), "") << key << "\n" << getRule(op).str();
      }
      ++checked;
    }
  std::cout << checked << " ops are linear" << std::endl;
  EXPECT_GT(checked, 0);
}

/// After the tests above: nothing that may be split is left out.
TEST_F(RulesTest, EveryOpAndFactorIsTested) {
  std::set<std::string> seen;
  for (auto &[key, op] : instances)
    seen.insert(op->getName().getStringRef().str());
  int64_t registered = 0;
  std::set<std::string> moves = {"step.exchange_rows", "step.return_rows"}; // between ranks: what no rank does alone
  for (RegisteredOperationName name : context->getRegisteredOperationsByDialect("step"))
    if (name.hasInterface<ShardingRuleOpInterface>() && !moves.contains(name.getStringRef().str())) {
      ++registered;
      EXPECT_TRUE(seen.contains(name.getStringRef().str()))
          << name.getStringRef().str() << " has a rule, but no instance; fix: add one to " MEGACC_VARIANTS;
    }
  for (auto &[key, op] : instances)
    for (const ShardingRule::Factor &factor : getRule(op).factors)
      EXPECT_TRUE(factor.kind == ShardingRule::Kind::Replicate || tested.contains((op->getName().getStringRef() + " " + factor.name).str()))
          << key << ": '" << factor.name << "'";
  std::cout << registered << " ops with a rule, " << tested.size() << " pairs of op and factor" << std::endl;
  EXPECT_EQ(registered, 98);
  EXPECT_EQ(tested.size(), 210u);
}

/// A rule that reads well and is wrong: parts of the text of an instance's rule are replaced; splitting `factor` must fail.
void expectWrong(Operation *op, StringRef factor, ArrayRef<std::pair<std::string, std::string>> replaced) {
  ASSERT_TRUE(op);
  Operation *whole = makeDivisible(op, *getRule(op).find(factor));
  ShardingRule rule = getRule(whole);
  std::vector<std::pair<StringRef, int64_t>> sizes;
  for (const ShardingRule::Factor &known : rule.factors)
    sizes.push_back({known.name, known.size});
  std::string text = rule.str();
  for (auto &[from, to] : replaced) {
    ASSERT_NE(text.find(from), std::string::npos) << from << " in " << text;
    for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
      text.replace(at, from.size(), to);
  }
  ShardingRule wrong = ShardingRule::get(text, sizes);
  EXPECT_EQ(llvm::join(checkShardingRule(wrong, whole), "; "), "") << text; // only the numbers show it
  EXPECT_NE(checkFactor(whole, wrong, *wrong.find(factor), 2), "") << text;
}

TEST_F(RulesTest, WrongRulesFail) {
  auto any = [](const ShardingRule &) { return true; };
  auto grouped = [](const ShardingRule &rule) { return rule.find("g") && rule.factors[*rule.find("g")].size > 1; };
  auto shared = [](const ShardingRule &rule) { return rule.factors[*rule.find("m")].size > 1; };
  auto ranked = [](const ShardingRule &rule) { return rule.factors[*rule.find("r")].size > 1; };
  expectWrong(find("step.attention", grouped), "k", {{"k g", "g k"}});
  expectWrong(find("step.rms_norm", any), "d", {{" replicate{d: the mean is over the whole row}", ""}});
  expectWrong(find("step.embedding", any), "v", {{" attributes{vocab_axis @ v}", ""}});
  expectWrong(find("step.linear_cross_entropy", any), "v", {{"; v: a log-sum-exp is over the whole vocabulary", ""}, {"{b s}", "{b s v}"}});
  expectWrong(find("step.split", grouped), "g", {{"g w", "w g"}});
  expectWrong(find("step.mamba3_scan", ranked), "g", {{"B.r B.g", "B.g B.r"}});
  expectWrong(find("step.gated_delta", shared), "g", {{"g m v", "m g v"}});
  expectWrong(find("step.gated_norm", any), "v", {{" replicate{v: the mean is over the whole head}", ""}});
  expectWrong(find("step.moe_statistics", any), "t", {{"~", ""}, {"private{t}", "reduce{t}"}});
  expectWrong(find("step.bank_attention", any), "n",
              {{"; n: a softmax is over the whole bank", ""}, {" replicate", " reduce{n} replicate"}});
  expectWrong(find("step.attention_entropy", any), "c",
              {{"; c: a score is a sum over a whole head", ""}, {"reduce{b k g}", "reduce{b k g c}"}});
  expectWrong(find("step.shift", any), "s", {{" replicate{s: a token reads another of its row}", ""}});
}

} // namespace

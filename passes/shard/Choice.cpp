#include "passes/shard/Choice.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace llvm;

namespace megacc::step {

using Kind = ShardingRule::Kind;

/// A run of parts of a dimension that belong to one segment, and its elements.
struct Run {
  ArrayRef<ShardingRule::Part> parts;
  int64_t size = 1;
};

static SmallVector<Run> getRuns(const ShardingRule &rule, const ShardingRule::Dimension &dimension) {
  SmallVector<Run> runs;
  for (size_t begin = 0, end; begin < dimension.size(); begin = end) {
    Run run;
    for (end = begin; end < dimension.size() && dimension[end].segment == dimension[begin].segment; ++end)
      run.size *= rule.factors[dimension[end].factor].size;
    run.parts = ArrayRef(dimension).slice(begin, end - begin);
    runs.push_back(run);
  }
  return runs;
}

/// Elements from a factor of the run on inwards: the blocks that splitting it cuts.
static int64_t getBlock(const ShardingRule &rule, const Run &run, unsigned factor) {
  auto found = find_if(run.parts, [&](const ShardingRule::Part &part) { return part.factor == factor; });
  int64_t block = 1;
  for (auto part = found; part != run.parts.end(); ++part)
    block *= rule.factors[part->factor].size;
  return block;
}

int64_t Choice::getLocalSize(const ShardingRule &rule, const Split &split, int64_t ranks) {
  return split.pieces.empty() ? rule.factors[split.factor].size / ranks : megacc::getLocalSize(split.pieces, ranks);
}

/// How a tensor of the op is spread where these factors are split.
static Spread getSpread(const ShardingRule &rule, const ShardingRule::Tensor &tensor, bool isResult, ArrayRef<Choice::Split> splits) {
  auto isSplit = [&](unsigned factor) { return find_if(splits, [&](const Choice::Split &split) { return split.factor == factor; }); };
  bool sums = isResult && any_of(splits, [&](const Choice::Split &split) {
                Kind kind = rule.factors[split.factor].kind;
                return kind == Kind::Reduce || kind == Kind::Private;
              });
  if (tensor.isPrivate && any_of(splits, [&](const Choice::Split &split) { return rule.factors[split.factor].kind == Kind::Private; }))
    return {Share::Private, 0, {}};
  if (!tensor.dimensions.empty() && tensor.dimensions.front().size() == 1)
    if (auto split = isSplit(tensor.dimensions.front().front().factor); split != splits.end() && split->isPrivate)
      return {Share::Private, 0, {}};
  for (auto [dim, dimension] : enumerate(tensor.dimensions)) {
    if (none_of(dimension, [&](const ShardingRule::Part &part) { return isSplit(part.factor) != splits.end(); }))
      continue;
    std::vector<Piece> pieces;
    for (const Run &run : getRuns(rule, dimension)) {
      auto part = find_if(run.parts, [&](const ShardingRule::Part &part) { return isSplit(part.factor) != splits.end(); });
      if (part == run.parts.end())
        pieces.push_back({run.size, run.size, sums ? Share::Partial : Share::Whole});
      else if (const Choice::Split &split = *isSplit(part->factor); run.parts.size() == 1 && !split.pieces.empty())
        pieces.insert(pieces.end(), split.pieces.begin(), split.pieces.end());
      else
        pieces.push_back({run.size, getBlock(rule, run, part->factor), Share::Split});
    }
    return Spread::split(dim, pieces);
  }
  return sums ? Spread{Share::Partial, 0, {}} : Spread();
}

/// The pieces of elements [begin, begin + size) of a dimension; nullopt where a block would be cut.
static std::optional<std::vector<Piece>> cut(ArrayRef<Piece> pieces, int64_t begin, int64_t size) {
  std::vector<Piece> inside;
  for (const Piece &piece : pieces) {
    int64_t from = std::max<int64_t>(begin, 0), to = std::min(piece.size, begin + size);
    begin -= piece.size;
    if (from >= to)
      continue;
    if (piece.share == Share::Split && (from % piece.block || to % piece.block))
      return std::nullopt;
    inside.push_back({to - from, piece.share == Share::Split ? piece.block : to - from, piece.share});
    size -= to - from, begin = 0;
    if (!size)
      break;
  }
  return inside;
}

/// The factors that a spread operand suggests; nullopt where the rule cannot describe it.
static std::optional<std::vector<Choice::Split>> derive(const ShardingRule &rule, const ShardingRule::Tensor &tensor,
                                                        const Spread &spread) {
  std::vector<Choice::Split> splits;
  int64_t begin = 0;
  for (const Run &run : getRuns(rule, tensor.dimensions[spread.dim])) {
    std::optional<std::vector<Piece>> pieces = cut(spread.pieces, begin, run.size);
    begin += run.size;
    if (!pieces)
      return std::nullopt;
    if (pieces->size() == 1 && pieces->front().share == Share::Whole)
      continue;
    Choice::Split split;
    if (run.parts.size() == 1) {
      split = {run.parts.front().factor, *pieces};
    } else {
      if (pieces->size() != 1)
        return std::nullopt;
      auto part = find_if(run.parts, [&](const ShardingRule::Part &part) {
        return rule.factors[part.factor].size > 1 && getBlock(rule, run, part.factor) == pieces->front().block;
      });
      if (pieces->front().share != Share::Split || part == run.parts.end())
        return std::nullopt;
      split = {part->factor, {}};
    }
    auto known = find_if(splits, [&](const Choice::Split &other) { return other.factor == split.factor; });
    if (known == splits.end())
      splits.push_back(split);
    else if (!split.pieces.empty() && *known != split)
      return std::nullopt;
  }
  return splits;
}

std::optional<int64_t> getReshardCost(const Spread &from, const Spread &to, int64_t bytes) {
  if (from == to)
    return 0;
  auto isEven = [](const Spread &spread) { return spread.pieces.size() == 1 && spread.pieces.front().size == spread.pieces.front().block; };
  if (from.kind == Share::Private || (to.kind != Share::Whole && !(to.kind == Share::Split && isEven(to))))
    return std::nullopt;
  if (from.kind == Share::Split && !isEven(from))
    return std::nullopt;
  int64_t cut = to.kind == Share::Split; // free, but nothing to be done without a reason
  if (from.kind == Share::Partial)
    return cut ? bytes + cut : 2 * bytes; // a sum of which each rank has its part is half of a sum that all have
  return (from.kind == Share::Split ? bytes : 0) + cut;
}

namespace {
/// Tries choices and keeps the best.
class Chooser {
public:
  Chooser(const ShardingRule &rule, ArrayRef<Spread> operands, ArrayRef<int64_t> bytes, ArrayRef<std::optional<Spread>> wanted,
          int64_t ranks, const Tokens *tokens)
      : rule(rule), given(operands), bytes(bytes), wanted(wanted), ranks(ranks), tokens(tokens) {}

  std::optional<Choice> run(ArrayRef<unsigned> fixed, std::string &why) {
    std::vector<Choice::Split> splits;
    for (unsigned factor : fixed)
      splits.push_back({factor, {}});
    keepsOrder = tokens && splits.empty();
    if (splits.empty())
      attemptAll();
    else
      attempt(splits);
    why = best ? "" : reason.empty() ? "no collective makes its operands whole" : reason;
    return best;
  }

private:
  void attemptAll() {
    attempt({});
    std::vector<Choice::Split> together;
    for (auto [index, spread] : enumerate(given)) {
      const ShardingRule::Tensor &tensor = rule.operands[index];
      if (spread.kind == Share::Private) {
        if (tensor.isPrivate)
          attemptPrivate(tensor);
        else if (tensor.dimensions.front().size() == 1) // what an op does to every row it does to a rank's own
          attempt({{tensor.dimensions.front().front().factor, {}, true}});
      } else if (spread.kind == Share::Partial) {
        for (const ShardingRule::Dimension &dimension : tensor.dimensions)
          if (const ShardingRule::Factor &factor = rule.factors[dimension.front().factor]; dimension.size() == 1 && factor.independent)
            together.push_back({dimension.front().factor, {{factor.size, factor.size, Share::Partial}}});
      } else if (spread.kind == Share::Split) {
        std::optional<std::vector<Choice::Split>> splits = derive(rule, tensor, spread);
        if (!splits) {
          note("its rule cannot describe operand " + std::to_string(index));
          continue;
        }
        attempt(*splits);
        for (const Choice::Split &split : *splits)
          if (!is_contained(together, split))
            together.push_back(split);
      }
    }
    if (together.size() > 1)
      attempt(together);
    if (tokens)
      attemptTokens();
    for (auto [tensor, spread] : zip(rule.results, wanted))
      if (spread && spread->kind == Share::Split)
        if (std::optional<std::vector<Choice::Split>> splits = derive(rule, tensor, *spread))
          attempt(*splits);
  }

  /// Rows of which ranks have summands, shared; and what operands have been brought to.
  void attemptTokens() {
    auto attemptSpread = [&](const ShardingRule::Tensor &tensor, const Spread &spread) {
      if (std::optional<std::vector<Choice::Split>> splits = derive(rule, tensor, spread))
        attempt(*splits);
    };
    for (auto [index, tensor] : enumerate(rule.operands)) {
      if (given[index].kind == Share::Partial && tensor.dimensions.size() > 1) {
        int64_t rows = 1;
        for (const ShardingRule::Part &part : tensor.dimensions.front())
          rows *= rule.factors[part.factor].size;
        attemptSpread(tensor, Spread::even(0, rows));
      }
      for (const Spread &spread : tokens->known[index])
        if (spread.kind == Share::Split)
          attemptSpread(tensor, spread);
    }
  }

  /// Whether all ranks that share a factor, those of other axes too, have as much of it.
  bool isEven(const Choice::Split &split) const {
    int64_t count = ranks * (tokens ? tokens->taken[split.factor] : 1);
    if (split.pieces.empty())
      return rule.factors[split.factor].size % count == 0;
    return !tokens || none_of(split.pieces, [&](const Piece &piece) { return piece.share == Share::Split && piece.block % count; });
  }

  /// Whether a gradient splits what the op before it splits.
  bool isAsBefore(ArrayRef<Choice::Split> splits) const {
    return !tokens || all_of(enumerate(tokens->before), [&](const auto &entry) {
      return !entry.value() || *entry.value() == any_of(splits, [&](const Choice::Split &split) { return split.factor == entry.index(); });
    });
  }

  int64_t getCost(size_t operand, const Spread &from, const Spread &to, int64_t cost) const {
    return from != to && tokens && is_contained(tokens->known[operand], to) ? 0 : cost;
  }

  /// What is still to be done to a result.
  int64_t getCost(size_t result, const Spread &spread) const {
    const std::optional<Spread> &want = wanted[result];
    bool isWanted = !want || spread.summed() == *want;
    if (!tokens)
      return !isWanted;
    if (!isWanted) // a gradient is made as its parameter is shared
      return kParameterWeight * tokens->bytes[result];
    return !want && spread.kind == Share::Partial && rule.results[result].dimensions.size() > 1 ? tokens->bytes[result] + 2 : 0;
  }

  /// Rows of a rank's own are as many as its part of the factor that orders them, which may be a factor of theirs alone, or go with
  /// others: the rows of a rank's own experts.
  void attemptPrivate(const ShardingRule::Tensor &tensor) {
    for (const ShardingRule::Part &part : tensor.dimensions.front()) {
      if (!part.segment.empty() || rule.factors[part.factor].kind != Kind::Private)
        continue;
      std::vector<Choice::Split> splits = {{part.factor, {}}};
      attempt(splits);
      for (auto [factor, about] : enumerate(rule.factors))
        if (about.kind == Kind::Private && factor != part.factor)
          splits.push_back({unsigned(factor), {}});
      if (splits.size() > 1)
        attempt(splits);
    }
  }

  void note(const std::string &why) { reason += (reason.empty() ? "" : "; ") + why; }

  void attempt(std::vector<Choice::Split> splits) {
    if (!isAsBefore(splits))
      return note("the op whose gradient it is is split otherwise");
    for (size_t i = 0; i < splits.size(); ++i) {
      const ShardingRule::Factor &factor = rule.factors[splits[i].factor];
      if (factor.kind == Kind::Replicate)
        return note("factor '" + factor.name + "' may not be split: " + factor.reason);
      if (keepsOrder && (factor.kind == Kind::Private || splits[i].isPrivate))
        return note("factor '" + factor.name + "' would give rows of a rank's own");
      if (splits.size() > 1 && !factor.independent && factor.kind != Kind::Private)
        return note("factor '" + factor.name + "' may not be split together with others");
      for (size_t j = 0; j < i; ++j)
        if (splits[i].factor == splits[j].factor)
          return note("factor '" + factor.name + "' would be split in two ways");
      if (!isEven(splits[i]))
        return note("factor '" + factor.name + "' has size " + std::to_string(factor.size) + ", which " +
                    std::to_string(ranks * (tokens ? tokens->taken[splits[i].factor] : 1)) + " ranks cannot share evenly");
    }
    attempt(splits, nullptr);
    for (const ShardingRule::Linear &linear : rule.linear)
      if (any_of(linear.operands, [&](unsigned operand) { return given[operand].has(Share::Partial); }))
        attempt(splits, &linear);
  }

  /// `linear`: operands of which ranks may have summands; null: none.
  void attempt(ArrayRef<Choice::Split> splits, const ShardingRule::Linear *linear) {
    ArrayRef<unsigned> summands = linear ? ArrayRef<unsigned>(linear->operands) : ArrayRef<unsigned>();
    std::vector<Choice::Split> whole(splits.begin(), splits.end());
    bool owes = false;
    for (Choice::Split &split : whole)
      for (Piece &piece : split.pieces)
        if (piece.share == Share::Partial)
          piece.share = Share::Whole, owes = true;
    bool isSummand = !summands.empty(), isWhole = false;
    for (unsigned operand : summands)
      isWhole |= splits.empty() && given[operand].kind == Share::Partial;
    if (owes && !isSummand)
      return;
    Choice choice{{splits.begin(), splits.end()}, {}, {}, 0};
    for (auto [index, tensor] : enumerate(rule.operands)) {
      bool summand = is_contained(summands, unsigned(index));
      Spread spread =
          summand && isWhole ? Spread{Share::Partial, 0, {}} : getSpread(rule, tensor, false, summand ? splits : ArrayRef(whole));
      std::optional<int64_t> cost = getReshardCost(given[index], spread, bytes[index]);
      if (!cost)
        return;
      if (tokens && tokens->stays[index] && given[index] != spread)
        return;
      choice.cost += getCost(index, given[index], spread, *cost);
      choice.operands.push_back(spread);
    }
    for (auto [index, tensor] : enumerate(rule.results)) {
      bool gives = linear && linear->gives(index);
      choice.results.push_back(isWhole && gives ? Spread{Share::Partial, 0, {}}
                                                : getSpread(rule, tensor, true, gives ? splits : ArrayRef(whole)));
      if (tokens && tokens->results_stay[index] && choice.results.back().kind != Share::Whole)
        return;
      if (choice.results.back().kind == Share::Partial && countsTwice(splits))
        return;
    }
    for (auto [index, spread] : enumerate(choice.results))
      choice.cost += getCost(index, spread);
    if (!best || choice.cost < best->cost)
      best = std::move(choice);
  }

  /// Whether a sum over a factor would count, once for each rank, what all ranks have of it.
  bool countsTwice(ArrayRef<Choice::Split> splits) const {
    return any_of(splits, [&](const Choice::Split &split) {
      return rule.factors[split.factor].kind == Kind::Reduce &&
             any_of(split.pieces, [](const Piece &piece) { return piece.share == Share::Whole; });
    });
  }

  const ShardingRule &rule;
  ArrayRef<Spread> given;
  ArrayRef<int64_t> bytes;
  ArrayRef<std::optional<Spread>> wanted;
  int64_t ranks;
  const Tokens *tokens;
  bool keepsOrder = false;
  std::optional<Choice> best;
  std::string reason;
};
} // namespace

std::optional<Choice> choose(const ShardingRule &rule, ArrayRef<Spread> operands, ArrayRef<int64_t> bytes,
                             ArrayRef<std::optional<Spread>> wanted, ArrayRef<unsigned> fixed, int64_t ranks, std::string &why,
                             const Tokens *tokens) {
  return Chooser(rule, operands, bytes, wanted, ranks, tokens).run(fixed, why);
}

} // namespace megacc::step

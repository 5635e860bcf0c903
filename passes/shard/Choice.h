// What an op can do with operands that ranks share.
#ifndef MEGACC_PASSES_SHARD_CHOICE_H
#define MEGACC_PASSES_SHARD_CHOICE_H

#include "dialects/Interfaces/Sharding.h"

namespace megacc::step {

/// Factors that one axis splits, with the pieces of those that are a dimension of their own; how operands and results are spread then.
struct Choice {
  struct Split {
    unsigned factor = 0;
    std::vector<Piece> pieces;
    /// The factor is rows, and each rank has rows of its own.
    bool isPrivate = false;
    bool operator==(const Split &) const = default;
  };
  std::vector<Split> splits;
  std::vector<Spread> operands, results;
  /// Bytes that operands move to come to be as needed.
  int64_t cost = 0;

  /// The size that a split factor has on a rank.
  static int64_t getLocalSize(const ShardingRule &rule, const Split &split, int64_t ranks);
};

/// Bytes that a rank receives where a tensor of `bytes` goes from one spread to another; nullopt where no collective does it.
std::optional<int64_t> getReshardCost(const Spread &from, const Spread &to, int64_t bytes);

/// Where ranks share tokens a byte of a parameter counts as so many: it stays where it is, and its gradient is made there.
constexpr int64_t kParameterWeight = 1 << 20;

/// What to know of an op where the ranks of the axis share tokens: rows of two dimensions and more of which they have summands.
struct Tokens {
  /// For each operand, what it has been brought to for another op: that costs nothing more.
  llvm::SmallVector<llvm::SmallVector<Spread>> known;
  /// Operands and results of integers, which no collective moves.
  llvm::SmallVector<bool> stays, results_stay;
  /// Of each result: what is owed of it is still to be moved.
  llvm::SmallVector<int64_t> bytes;
  /// For each factor, ranks of other axes that share it.
  llvm::SmallVector<int64_t> taken;
  /// Of a gradient, for each factor, whether the op before it splits it: what that one caches fits no other choice. Empty: there is none.
  llvm::SmallVector<std::optional<bool>> before;
};

/// The choice that moves the fewest bytes; where several do, one that gives results as they are wanted, then the one that splits least.
/// `fixed` are the factors that the op splits itself, if any. nullopt where none fits, and why in `why`.
/// With `tokens` summands may become parts of rows, and no rank makes rows in an order of its own.
std::optional<Choice> choose(const ShardingRule &rule, llvm::ArrayRef<Spread> operands, llvm::ArrayRef<int64_t> bytes,
                             llvm::ArrayRef<std::optional<Spread>> wanted, llvm::ArrayRef<unsigned> fixed, int64_t ranks, std::string &why,
                             const Tokens *tokens = nullptr);

} // namespace megacc::step

#endif

// How the ranks of a mesh share a tensor.
#ifndef MEGACC_DIALECTS_INTERFACES_SHARDING_H
#define MEGACC_DIALECTS_INTERFACES_SHARDING_H

#include "dialects/Interfaces/ShardingRule.h"
#include "megacc/StepABI.h"

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace megacc {

/// "dp", "tp" or "ep", in the order of enum MgAxisName.
llvm::StringRef getAxisName(int64_t axis);
/// nullopt for another word.
std::optional<int64_t> findAxis(llvm::StringRef name);

/// A piece of a dimension: all of it on every rank, a summand of it on each, or blocks of `block` elements each of which the ranks share
/// evenly, one contiguous part after the other.
struct Piece {
  int64_t size = 0, block = 0;
  Share share = Share::Whole;
  bool operator==(const Piece &) const = default;
};

/// What the ranks of one axis have of a tensor.
struct Spread {
  /// Private: as of a tensor of its own (ShardingRule.h). Split: pieces of one dimension.
  Share kind = Share::Whole;
  unsigned dim = 0;
  std::vector<Piece> pieces;
  bool operator==(const Spread &) const = default;

  /// Of pieces of a dimension: neighbours alike become one, and what is whole, or a summand, in every piece is that.
  static Spread split(unsigned dim, llvm::ArrayRef<Piece> pieces);
  /// `count` blocks of a dimension of `size` elements.
  static Spread even(unsigned dim, int64_t size, int64_t count = 1) { return split(dim, {{size, size / count, Share::Split}}); }
  bool has(Share share) const;
  /// Summands made whole.
  Spread summed() const;
};

/// Elements that a rank has of a dimension of such pieces, on an axis of `ranks`.
int64_t getLocalSize(llvm::ArrayRef<Piece> pieces, int64_t ranks);

/// What ranks have of a tensor, axis by axis. The text form names each axis on which it is not whole:
///   "dp 0:2048/; tp 1:128/,4x64/,5,3+"  over dp, dimension 0 of 2048 elements is split; over tp, of dimension 1 the first 128 are split,
///   then
///                                       4 blocks of 64 each of which is split, then 5 that all ranks have, then 3 of which each has a
///                                       summand
///   "dp 0:8/; ep 0:8/"   dimension 0 is split over dp, and each part over ep
///   "tp +" a summand of the tensor on each rank, "dp ~" a tensor of the rank's own
struct Sharding {
  std::array<Spread, MG_AXIS_COUNT> axes;
  bool operator==(const Sharding &) const = default;

  std::string str() const;
  /// nullopt for a text that str() does not make.
  static std::optional<Sharding> parse(llvm::StringRef text);
  /// The shape of a rank's part of a tensor that is not private; an axis that splits unevenly is not asked for.
  llvm::SmallVector<int64_t> getLocalShape(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> ranks) const;
};

} // namespace megacc

#endif

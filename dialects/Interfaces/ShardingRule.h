// How the dimensions of an op belong together.
#ifndef MEGACC_DIALECTS_INTERFACES_SHARDINGRULE_H
#define MEGACC_DIALECTS_INTERFACES_SHARDINGRULE_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace megacc {

/// Every dimension of every operand and result is a product of factors, or a row of segments which each are such a product. Splitting a
/// factor splits all dimensions that contain it, inside each segment. The text form is
///   ([b s, q.h k.h q.c], [h]) -> ([b s, h c], ~[e]) reduce{h} private{e} replicate{s: reason; c: reason} attributes{batch = b, rows ~ b s}
/// where `b s` is a product (b outermost), `q.h` a factor inside segment q, and `~` marks a tensor whose rows are in the rank's own order.
///   reduce{f}      a result, or a segment of one, without f is a sum over f: with f split, each rank has a partial sum
///   private{f}     with f split, marked tensors are private: in an order of the rank's own, neither whole nor part of a whole tensor; what
///                  is not marked is as for reduce{f}
///   replicate{f: reason}  f may not be split
///   other factors  are in every segment of every result; operands without a split factor are whole on every rank
///   independent{f g}  may be split together over one axis, each in the part of a tensor that it makes; results without it are whole
///   linear{0; 1 2 in 1}  the op is linear in operand 0, and result 1 in operands 1 and 2 together, of which no other result knows:
///   summands
///                  of them, with the others whole, give summands of these results, all where none is named
/// The factor `one` has size 1: a number is `[one]`. Attributes of the op follow the factors:
///   name = f g     equals the product of their sizes
///   name.2 = f g   element 2 of a list does
///   name ~ f g     is in proportion to their sizes, rounded up
///   name @ f       is the mesh axis over which f is split, -1 while it is not
struct ShardingRule {
  enum class Kind { Parallel, Reduce, Private, Replicate };
  struct Factor {
    std::string name;
    int64_t size = 0;
    Kind kind = Kind::Parallel;
    /// Why it may not be split, in words; Replicate only.
    std::string reason;
    /// Whether others that are may be split with it.
    bool independent = false;
  };
  struct Part {
    /// Empty without segments.
    std::string segment;
    unsigned factor = 0;
  };
  using Dimension = std::vector<Part>;
  struct Tensor {
    std::vector<Dimension> dimensions;
    bool isPrivate = false;
  };
  enum class Tie { Product, Proportion, Axis };
  struct Attribute {
    std::string name;
    Tie tie = Tie::Product;
    std::vector<unsigned> factors;
  };

  std::vector<Factor> factors;
  std::vector<Tensor> operands, results;
  std::vector<Attribute> attributes;
  struct Linear {
    std::vector<unsigned> operands, results;
    bool gives(unsigned result) const { return results.empty() || llvm::is_contained(results, result); }
  };
  std::vector<Linear> linear;
  /// What could not be read of the text form; empty if all could.
  std::string error;

  /// Reads the text form. A factor without a size in `sizes` has size 0, which checkShardingRule refuses.
  static ShardingRule get(llvm::StringRef text, llvm::ArrayRef<std::pair<llvm::StringRef, int64_t>> sizes);
  /// The rule of an op that treats every element alike: operands and one result of this shape.
  static ShardingRule getPointwise(unsigned operands, llvm::ArrayRef<int64_t> shape);
  /// The text form; get(str(), sizes) is the same rule.
  std::string str() const;

  /// The index of a factor; nullopt without one of that name.
  std::optional<unsigned> find(llvm::StringRef name) const;
  /// The same rule with another size of one factor.
  ShardingRule withSize(unsigned factor, int64_t size) const;
};

/// What each of the ranks that share a factor has of a segment: an equal part of it, all of it, a summand of it, or a tensor of its own.
enum class Share { Split, Whole, Partial, Private };

/// One segment of a tensor, of `size` elements of the segmented dimension; a tensor without segments is one, without a name.
struct SegmentShare {
  std::string segment;
  int64_t size = 0;
  Share share = Share::Whole;
};

/// What a rank has of every segment of an operand or a result of the rule when `factor` is split.
llvm::SmallVector<SegmentShare> getShares(const ShardingRule &rule, const ShardingRule::Tensor &tensor, bool isResult, unsigned factor);

/// Empty if `parts` ranks can share the factor of the op evenly, else why they cannot.
std::string refuseSplit(mlir::Operation *op, const ShardingRule &rule, unsigned factor, int64_t parts);

/// The attribute "name", or element INDEX of the list "name" for "name.INDEX"; nullopt if it is not that.
std::optional<int64_t> getTied(mlir::Operation *op, llvm::StringRef name);
/// Sets it in `attributes`, whose entry of a list may be there already; the op has it.
void setTied(mlir::Operation *op, llvm::SmallVectorImpl<mlir::NamedAttribute> &attributes, llvm::StringRef name, int64_t value);

/// Types and attributes of an op at other sizes than its own.
struct OpShape {
  llvm::SmallVector<mlir::RankedTensorType> operands, results;
  /// Only those that differ.
  llvm::SmallVector<mlir::NamedAttribute> attributes;
};

/// The element type of `type` in the shape that the sizes of the factors give.
mlir::RankedTensorType getShape(mlir::RankedTensorType type, const ShardingRule &rule, const ShardingRule::Tensor &tensor);

/// What one of `parts` ranks has of a tensor when `factor` is split.
mlir::RankedTensorType localShape(mlir::RankedTensorType type, const ShardingRule &rule, const ShardingRule::Tensor &tensor,
                                  unsigned factor, int64_t parts);

/// The op, whose rule is `rule`, with another size of one factor. Caches, its last operands or results, are in no rule and left out here:
/// their types are the record's.
OpShape resizeOp(mlir::Operation *op, const ShardingRule &rule, unsigned factor, int64_t size);

/// The op as each of `parts` ranks of a mesh axis runs it when `factor` is split; refuseSplit must have accepted. Beside the sizes this
/// sets the axis attributes of the factor to `axis` (enum MgAxisName).
OpShape localizeOp(mlir::Operation *op, const ShardingRule &rule, unsigned factor, int64_t parts, int64_t axis);

} // namespace megacc

#endif

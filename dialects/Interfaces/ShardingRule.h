//===- ShardingRule.h - how the dimensions of an op belong together -------===//
#ifndef MEGACC_DIALECTS_INTERFACES_SHARDINGRULE_H
#define MEGACC_DIALECTS_INTERFACES_SHARDINGRULE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace megacc {

/// Every dimension of every operand and result is a product of factors, or a row of segments which each are such a product. Splitting a
/// factor splits all dimensions that contain it, inside each segment. The text form is
///   ([t, i], [q.h k.h v.h, i]) -> ([t, q.h k.h v.h]) reduce{i} replicate{}
/// where `a b` is a product and `s.a` a factor inside segment s.
struct ShardingRule {
  enum class Kind { Parallel, Reduce, Replicate };
  struct Factor {
    std::string name;
    int64_t size = 0;
    Kind kind = Kind::Parallel;
  };
  struct Part {
    /// Empty without segments.
    std::string segment;
    unsigned factor = 0;
  };
  using Dimension = std::vector<Part>;
  using Tensor = std::vector<Dimension>;

  std::vector<Factor> factors;
  std::vector<std::string> segments;
  std::vector<Tensor> operands, results;

  /// Reads the text form. A factor without a size in `sizes` has size 0, "unknown".
  static ShardingRule get(llvm::StringRef text, llvm::ArrayRef<std::pair<llvm::StringRef, int64_t>> sizes);
  /// The text form; get(str()) is the same rule.
  std::string str() const;
};

} // namespace megacc

#endif

// Tensors of a test, cut and joined by a rule.
#ifndef MEGACC_TEST_E2E_HOSTTENSOR_H
#define MEGACC_TEST_E2E_HOSTTENSOR_H

#include "dialects/Interfaces/ShardingRule.h"
#include <cstddef>
#include <vector>

namespace megacc::test {

/// Dense and row-major, of f32, f64 or i32.
struct HostTensor {
  mlir::RankedTensorType type;
  std::vector<std::byte> bytes;

  HostTensor() = default;
  /// Floats start as NaN, integers as -858993460: what is not written must show.
  explicit HostTensor(mlir::RankedTensorType type);

  int64_t getCount() const { return type.getNumElements(); }
  double get(int64_t index) const;
  void set(int64_t index, double value);
};

/// How a tensor is cut: its place in a rule, and the factor that is split.
struct Cut {
  const ShardingRule &rule;
  const ShardingRule::Tensor &tensor;
  bool isResult = false;
  unsigned factor = 0;
  int64_t parts = 1;

  /// What rank `part` has of the whole tensor: its elements where the factor is in the tensor, else all.
  HostTensor take(const HostTensor &whole, int64_t part) const;
  /// The whole tensor from what the ranks have: segments that are split are concatenated, partial ones summed, whole ones compared. Returns
  /// what is wrong, or an empty string.
  std::string join(llvm::ArrayRef<HostTensor> local, mlir::RankedTensorType type, HostTensor &whole) const;

private:
  struct Place {
    int64_t index;
    Share share;
  };
  /// Where each element of a rank is in the whole tensor.
  std::vector<Place> getPlaces(int64_t part) const;
};

/// Empty if the tensors agree: floats to 1e-5 of the largest of `expected`, integers exactly; else the first difference in words.
std::string compare(const HostTensor &actual, const HostTensor &expected);

} // namespace megacc::test

#endif

// Shapes of tensors.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace megacc::runtime {

/// Number of elements.
inline int64_t countElements(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  return count;
}

/// "(2, 3)".
inline std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ")";
}

} // namespace megacc::runtime

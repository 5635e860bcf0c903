// Tensors of a test, cut and joined by a rule.
#include "test/e2e/HostTensor.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>
#include <cstring>

using namespace mlir;

namespace megacc::test {

HostTensor::HostTensor(RankedTensorType type) : type(type) {
  bytes.resize(getCount() * type.getElementTypeBitWidth() / 8);
  for (int64_t index = 0; index < getCount(); ++index)
    set(index, type.getElementType().isInteger(32) ? -858993460 : NAN);
}

template <typename T> static double load(const std::byte *bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

double HostTensor::get(int64_t index) const {
  Type element = type.getElementType();
  if (element.isF64())
    return load<double>(&bytes[index * 8]);
  return element.isF32() ? load<float>(&bytes[index * 4]) : load<int32_t>(&bytes[index * 4]);
}

template <typename T> static void store(std::byte *bytes, double value) {
  T stored = T(value);
  std::memcpy(bytes, &stored, sizeof(T));
}

void HostTensor::set(int64_t index, double value) {
  Type element = type.getElementType();
  if (element.isF64())
    return store<double>(&bytes[index * 8], value);
  element.isF32() ? store<float>(&bytes[index * 4], value) : store<int32_t>(&bytes[index * 4], value);
}

/// Appends where the elements of one segment of a dimension are in the whole dimension: `begin` on, factors outermost first.
static void addSegment(const ShardingRule &rule, llvm::ArrayRef<ShardingRule::Part> segment, unsigned split, int64_t parts, int64_t part,
                       int64_t begin, std::vector<int64_t> &indices) {
  std::vector<int64_t> local = {0};
  for (const ShardingRule::Part &piece : segment) {
    int64_t size = rule.factors[piece.factor].size, count = piece.factor == split ? size / parts : size;
    int64_t first = piece.factor == split ? part * count : 0;
    std::vector<int64_t> next;
    for (int64_t outer : local)
      for (int64_t inner = 0; inner < count; ++inner)
        next.push_back(outer * size + first + inner);
    local = std::move(next);
  }
  for (int64_t index : local)
    indices.push_back(begin + index);
}

std::vector<Cut::Place> Cut::getPlaces(int64_t part) const {
  llvm::SmallVector<SegmentShare> shares = getShares(rule, tensor, isResult, factor);
  std::vector<Place> places = {{0, shares.front().share}};
  for (const ShardingRule::Dimension &dimension : tensor.dimensions) {
    std::vector<int64_t> indices;
    std::vector<size_t> segments; // of each index
    int64_t whole = 0;
    size_t count = 0;
    for (auto first = dimension.begin(); first != dimension.end(); ++count) {
      auto last = std::find_if(first, dimension.end(), [&](const ShardingRule::Part &piece) { return piece.segment != first->segment; });
      addSegment(rule, llvm::ArrayRef(&*first, last - first), factor, parts, part, whole, indices);
      int64_t size = 1;
      for (auto piece = first; piece != last; ++piece)
        size *= rule.factors[piece->factor].size;
      whole += size;
      segments.resize(indices.size(), count);
      first = last;
    }
    std::vector<Place> next;
    for (const Place &outer : places)
      for (auto [index, segment] : llvm::zip(indices, segments))
        next.push_back({outer.index * whole + index, count > 1 ? shares[segment].share : outer.share});
    places = std::move(next);
  }
  return places;
}

HostTensor Cut::take(const HostTensor &whole, int64_t part) const {
  HostTensor local(localShape(whole.type, rule, tensor, factor, parts));
  for (auto [index, place] : llvm::enumerate(getPlaces(part)))
    local.set(index, whole.get(place.index));
  return local;
}

std::string Cut::join(llvm::ArrayRef<HostTensor> local, RankedTensorType type, HostTensor &whole) const {
  whole = HostTensor(type);
  std::vector<double> sums(whole.getCount(), 0);
  std::vector<int64_t> writers(whole.getCount(), 0);
  for (auto [part, tensor] : llvm::enumerate(local)) {
    std::vector<Place> places = getPlaces(part);
    if (int64_t(places.size()) != tensor.getCount())
      return "a part has " + std::to_string(tensor.getCount()) + " elements, the rule says " + std::to_string(places.size());
    for (auto [index, place] : llvm::enumerate(places)) {
      double value = tensor.get(index);
      bool first = writers[place.index]++ == 0;
      if (place.share == Share::Partial)
        sums[place.index] += value;
      else if (first)
        sums[place.index] = value;
      else if (place.share == Share::Split)
        return "element " + std::to_string(place.index) + " is in two parts";
      else if (sums[place.index] != value)
        return "element " + std::to_string(place.index) + " should be the same on every rank, but is " + std::to_string(sums[place.index]) +
               " and " + std::to_string(value);
    }
  }
  for (auto [index, count] : llvm::enumerate(writers)) {
    if (!count)
      return "element " + std::to_string(index) + " is in no part";
    whole.set(index, sums[index]);
  }
  return "";
}

std::string compare(const HostTensor &actual, const HostTensor &expected) {
  bool exact = expected.type.getElementType().isInteger(32);
  double largest = 0;
  for (int64_t index = 0; index < expected.getCount(); ++index)
    largest = std::max(largest, std::abs(expected.get(index)));
  for (int64_t index = 0; index < expected.getCount(); ++index) {
    double difference = std::abs(actual.get(index) - expected.get(index));
    if (difference <= (exact ? 0 : 1e-5 * largest)) // false for NaN
      continue;
    std::string text;
    llvm::raw_string_ostream(text) << "element " << index << " of " << expected.type << " is " << actual.get(index) << " in parts, "
                                   << expected.get(index) << " uncut (the largest is " << largest << ")";
    return text;
  }
  return "";
}

} // namespace megacc::test

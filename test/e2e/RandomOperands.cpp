// Random operands for an op.
#include "test/e2e/RandomOperands.h"

#include "dialects/Interfaces/StepInterfaces.h"

#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <numeric>
#include <random>

using namespace mlir;

namespace megacc::test {
namespace {

/// Picks of tokens, as a router would make them: experts ascend in a token, rows are sorted by expert, then token.
struct Routing {
  Routing(int64_t tokens, int64_t kept, int64_t experts, std::mt19937 &random)
      : choice(tokens * kept, -1), position(tokens * kept, -1), offsets(experts + 1, 0) {
    std::vector<int32_t> all(experts);
    std::iota(all.begin(), all.end(), 0);
    for (int64_t token = 0; token < tokens; ++token) {
      std::shuffle(all.begin(), all.end(), random);
      int64_t picks = std::min<int64_t>(experts, random() % 4 ? kept : random() % (kept + 1));
      std::copy_n(all.begin(), picks, &choice[token * kept]);
      std::sort(&choice[token * kept], &choice[token * kept] + picks);
    }
    int32_t row = 0;
    for (int64_t expert = 0; expert < experts; ++expert) {
      for (size_t pick = 0; pick < choice.size(); ++pick)
        if (choice[pick] == expert)
          position[pick] = row++;
      offsets[expert + 1] = row;
    }
  }
  std::vector<int32_t> choice, position, offsets;
};

class Contents {
public:
  explicit Contents(Operation *op) : op(op), query(cast<step::KernelOpInterface>(op).getKernelQuery()) {
    for (char letter : op->getName().getStringRef())
      random.seed(random() + letter);
  }

  std::vector<HostTensor> make() {
    Routing routing = makeRouting();
    std::vector<HostTensor> tensors;
    for (auto [index, value] : llvm::enumerate(op->getOperands())) {
      HostTensor &tensor = tensors.emplace_back(cast<RankedTensorType>(value.getType()));
      std::string name = getName(value);
      if (name == "choice")
        copy(routing.choice, tensor);
      else if (name == "position" && query.family.starts_with("mod_"))
        fillKept(tensor);
      else if (name == "position")
        copy(routing.position, tensor);
      else if (name == "offsets")
        copy(routing.offsets, tensor);
      else if (name == "documents")
        fillDocuments(tensor);
      else if (name == "spans")
        fillSpans(tensor);
      else if (name == "bits" || name == "chunk")
        fillRelations(name, tensor);
      else if (name == "support")
        fillSupport(tensor);
      else if (name == "statistics" && query.findInt("all_parts"))
        fillStatistics(tensor);
      else if (tensor.type.getElementType().isInteger(32))
        fillIntegers(name, tensor);
      else
        fillNumbers(name, tensor);
    }
    return tensors;
  }

private:
  std::string getName(Value value) {
    for (const LaunchOperand &operand : query.operands)
      if (operand.value == value)
        return operand.name;
    return "";
  }

  Routing makeRouting() {
    auto getShape = [&](StringRef name) {
      const LaunchOperand *operand = query.find(name);
      return operand && operand->value ? operand->type.getShape() : ArrayRef<int64_t>();
    };
    if (query.family.starts_with("mod_"))
      return Routing(0, 0, 0, random);
    ArrayRef<int64_t> picks = getShape("position"), offsets = getShape("offsets");
    if (picks.empty())
      picks = getShape("choice");
    if (picks.empty() && !offsets.empty()) // only rows: one pick each
      for (StringRef name : {"x", "d_y", "logits"})
        if (ArrayRef<int64_t> rows = getShape(name); !rows.empty())
          return Routing(rows.front(), 1, offsets.front() - 1, random);
    if (picks.empty())
      return Routing(0, 0, 0, random);
    int64_t experts = offsets.empty() ? query.findInt("experts").value_or(picks.back() + 2) : offsets.front() - 1;
    return Routing(picks.front(), picks.back(), experts, random);
  }

  void copy(ArrayRef<int32_t> values, HostTensor &tensor) {
    for (auto [index, value] : llvm::enumerate(values))
      tensor.set(index, value);
  }

  /// Of each row as many tokens as the op keeps, numbered in order; where it does not say how many, any.
  void fillKept(HostTensor &tensor) {
    int64_t sequence = tensor.type.getDimSize(1);
    for (int64_t row = 0; row < tensor.type.getDimSize(0); ++row) {
      std::vector<bool> kept(sequence);
      std::fill_n(kept.begin(), query.findInt("keep").value_or(sequence / 2), true);
      std::shuffle(kept.begin(), kept.end(), random);
      for (int64_t token = 0, next = 0; token < sequence; ++token)
        tensor.set(row * sequence + token, kept[token] ? next++ : -1);
    }
  }

  /// Runs of equal ids that start and end anywhere.
  void fillDocuments(HostTensor &tensor) {
    int32_t id = 0;
    for (int64_t index = 0; index < tensor.getCount(); ++index)
      tensor.set(index, random() % 5 ? id : ++id);
  }

  /// Three ascending places in the row; some spans are not there.
  void fillSpans(HostTensor &tensor) {
    int64_t bases = query.getInt("sequence") ? query.getInt("sequence") - 2 : 7;
    for (int64_t span = 0; span < tensor.getCount(); span += 3) {
      int64_t places[3] = {int64_t(random() % bases), int64_t(random() % bases), int64_t(random() % bases)};
      std::sort(places, places + 3);
      for (int64_t i = 0; i < 3; ++i)
        tensor.set(span + i, random() % 6 == 0 ? -1 : places[i] + i);
    }
  }

  /// The largest logits of the rows in each part of a vocabulary, then sums that are positive.
  void fillStatistics(HostTensor &tensor) {
    int64_t rows = tensor.type.getDimSize(1) / 2;
    for (int64_t index = 0; index < tensor.getCount(); ++index)
      tensor.set(index, index / rows % 2 ? 1.0 + random() % 8 : double(random() % 5) / 4);
  }

  /// Some keys of every query, ascending, then -1; the query's own is among them.
  void fillSupport(HostTensor &tensor) {
    int64_t kept = tensor.type.getDimSize(1), sequence = query.getInt("sequence");
    for (int64_t row = 0; row < tensor.type.getDimSize(0); ++row) {
      int64_t own = row % sequence, count = 0;
      for (int64_t key = 0; key < own && count + 1 < kept; ++key)
        if (random() % 2)
          tensor.set(row * kept + count++, key);
      tensor.set(row * kept + count++, own);
      for (; count < kept; ++count)
        tensor.set(row * kept + count, -1);
    }
  }

  /// Chunks of tokens, some of them none, and any bits between them.
  void fillRelations(StringRef name, HostTensor &tensor) {
    int64_t chunks = query.getInt("chunks");
    for (int64_t index = 0; index < tensor.getCount(); ++index)
      tensor.set(index, name == "chunk" ? int64_t(random() % (chunks + 2)) - 1 : int64_t(random() % 1024));
  }

  void fillIntegers(StringRef name, HostTensor &tensor) {
    int64_t limit = name == "positions" ? query.getInt("sequence") : query.findInt("vocab").value_or(97);
    for (int64_t index = 0; index < tensor.getCount(); ++index)
      tensor.set(index, name == "targets" && random() % 5 == 0 ? -1 : int64_t(random() % limit));
  }

  /// Counts and sums are positive.
  void fillNumbers(StringRef name, HostTensor &tensor) {
    bool positive = name == "valid" || name == "count" || name == "statistics" || name == "part";
    std::normal_distribution<double> normal(0, 0.5);
    for (int64_t index = 0; index < tensor.getCount(); ++index)
      tensor.set(index, positive ? 1 + random() % 7 : normal(random));
  }

  Operation *op;
  KernelQuery query;
  std::mt19937 random{1};
};

} // namespace

std::vector<HostTensor> makeOperands(Operation *op) { return Contents(op).make(); }

} // namespace megacc::test

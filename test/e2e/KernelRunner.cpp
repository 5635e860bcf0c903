// One op of a step, run alone.
#include "test/e2e/KernelRunner.h"

#include "lib/Kernels/Kernels.h"
#include "megacc/KernelSignatures.h"
#include "megacc/StepABI.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include <list>

using namespace mlir;

namespace megacc::test {
namespace {

/// The operands of one launch: pointers into tensors of the caller, and memory of its own for the rest.
class LaunchBuilder {
public:
  LaunchBuilder(const Record &record, const KernelQuery &query, Operation *op, llvm::ArrayRef<HostTensor> operands,
                std::vector<HostTensor> &results)
      : record(record), query(query), op(op), inputs(operands), results(results) {}

  /// One word of a signature, "role:name:type".
  void addWord(StringRef word) {
    auto [role, rest] = word.split(':');
    auto [name, type] = rest.split(':');
    if (role == "scratch")
      return addOwned(record.getScratch(query), MG_RAW, 0xff);
    if (role == "table")
      return addTable();
    auto renamed = llvm::find_if(record.renamed, [&, &name = name](const auto &pair) { return pair.first == name; });
    StringRef asked = renamed == record.renamed.end() ? name : StringRef(renamed->second);
    bool found = false;
    for (const LaunchOperand &operand : query.operands) {
      if (operand.name != asked)
        continue;
      addOperand(operand);
      found = true;
    }
    if (!found && !role.ends_with("_each"))
      add(nullptr, 0, MG_ABSENT);
  }

  std::vector<void *> pointers;
  std::vector<int64_t> bytes;
  std::vector<uint8_t> types;

private:
  void add(void *pointer, int64_t size, uint8_t type) {
    pointers.push_back(pointer);
    bytes.push_back(size);
    types.push_back(type);
  }

  void addOwned(int64_t size, uint8_t type, int fill) {
    owned.emplace_back((size + 7) / 8, fill ? ~uint64_t(0) : 0);
    add(owned.back().data(), size, type);
  }

  void addTable() {
    std::vector<int64_t> table = record.table(query);
    owned.emplace_back(table.begin(), table.end());
    add(owned.back().data(), table.size() * 8, MG_I64);
  }

  static uint8_t getType(RankedTensorType type) {
    Type element = type.getElementType();
    return element.isF32() ? MG_F32 : element.isF64() ? MG_F64 : MG_I32;
  }

  void addOperand(const LaunchOperand &operand) {
    uint8_t type = getType(operand.type);
    if (!operand.value)
      return addOwned(operand.type.getNumElements() * operand.type.getElementTypeBitWidth() / 8, type, 0);
    for (auto [index, result] : llvm::enumerate(op->getResults()))
      if (result == operand.value)
        return add(results[index].bytes.data(), results[index].bytes.size(), type);
    for (auto [index, value] : llvm::enumerate(op->getOperands()))
      if (value == operand.value) // kernels do not write through inputs
        return add(const_cast<std::byte *>(inputs[index].bytes.data()), inputs[index].bytes.size(), type);
  }

  const Record &record;
  const KernelQuery &query;
  Operation *op;
  llvm::ArrayRef<HostTensor> inputs;
  std::vector<HostTensor> &results;
  std::list<std::vector<uint64_t>> owned;
};

template <typename Visit> void forEachWord(StringRef text, Visit visit) {
  llvm::SmallVector<StringRef> words;
  text.split(words, ' ', -1, /*KeepEmpty=*/false);
  llvm::for_each(words, visit);
}

} // namespace

std::string runKernel(step::KernelOpInterface op, llvm::ArrayRef<HostTensor> operands, MeshPlace place, std::vector<HostTensor> &results) {
  KernelQuery query = op.getKernelQuery();
  std::string why;
  const Record *record = match("cpu", query, &why);
  if (!record)
    return "no record serves it: " + why;
  const KernelSignature *signature = llvm::find_if(kernelSignatures, [&](const auto &entry) { return record->symbol == entry.symbol; });
  const MgTarget *target = mg_target();
  const MgKernelEntry *kernel = std::find_if(target->kernels, target->kernels + target->kernel_count,
                                             [&](const MgKernelEntry &entry) { return record->symbol == entry.name; });
  results.clear();
  for (Type type : op->getResultTypes())
    results.emplace_back(cast<RankedTensorType>(type));
  LaunchBuilder builder(*record, query, op, operands, results);
  forEachWord(signature->operands, [&](StringRef word) { builder.addWord(word); });
  std::vector<int64_t> ints;
  forEachWord(signature->ints, [&](StringRef name) {
    std::optional<int64_t> value = getLaunchInt(*record, query, name);
    if (!value)
      why += ("it has no integer '" + name + "'; ").str();
    ints.push_back(value.value_or(0));
  });
  std::vector<double> doubles;
  forEachWord(signature->doubles, [&](StringRef name) {
    auto known = llvm::find_if(query.doubles, [&](const auto &entry) { return entry.first == name; });
    if (known == query.doubles.end())
      why += ("it has no number '" + name + "'; ").str();
    else
      doubles.push_back(known->second);
  });
  if (!why.empty())
    return why;
  MgContext context = {};
  for (MgAxis &axis : context.axes)
    axis.size = 1;
  context.axes[place.axis] = {place.rank, place.size, nullptr};
  MgLaunch launch = {builder.pointers.data(),
                     builder.bytes.data(),
                     builder.types.data(),
                     int64_t(builder.pointers.size()),
                     ints.data(),
                     int64_t(ints.size()),
                     doubles.data(),
                     int64_t(doubles.size()),
                     0,
                     0,
                     0,
                     &context};
  return kernel->function(&launch) == 0 ? "" : target->last_error();
}

} // namespace megacc::test

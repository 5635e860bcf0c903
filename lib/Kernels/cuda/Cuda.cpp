// What the records of the sm_90a target share.
#include "lib/Kernels/cuda/Cuda.h"

#include "megacc/KernelSignatures.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace megacc::cuda {

/// Names of the operands of a kernel that kernels.def gives no fixed type, as the query calls them.
static SmallVector<std::string> getFreeOperands(const Record &record) {
  SmallVector<std::string> names;
  const KernelSignature *signature = find_if(kernelSignatures, [&](const auto &entry) { return record.symbol == entry.symbol; });
  SmallVector<StringRef> words;
  StringRef(signature->operands).split(words, ' ', -1, /*KeepEmpty=*/false);
  for (StringRef word : words) {
    auto [name, type] = word.split(':').second.split(':');
    if (type != "any")
      continue;
    auto renamed = find_if(record.renamed, [&, name = name](const auto &pair) { return pair.first == name; });
    names.push_back(renamed == record.renamed.end() ? name.str() : renamed->second);
  }
  return names;
}

std::string refuseTypes(const KernelQuery &query, ArrayRef<std::string> names) {
  const LaunchOperand *first = nullptr;
  std::string text;
  raw_string_ostream message(text);
  for (const LaunchOperand &operand : query.operands) {
    if (!is_contained(names, operand.name))
      continue;
    mlir::Type type = operand.type.getElementType();
    if (!type.isF32() && !type.isBF16()) {
      message << operand.name << " has type " << type << ", expected f32 or bf16";
      return text;
    }
    if (!first)
      first = &operand;
    if (first->type.getElementType() != type) {
      message << first->name << " has type " << first->type.getElementType() << " and " << operand.name << " type " << type
              << ", expected the same";
      return text;
    }
  }
  return "";
}

Record makeRecord(const std::vector<Record> &records, StringRef name) {
  Record record = *find_if(records, [&](const Record &entry) { return entry.name == ("cpu." + name).str(); });
  record.name = ("sm_90a." + name).str();
  record.target = "sm_90a";
  record.scratch = nullptr;
  alsoRefuse(record, [names = getFreeOperands(record)](const KernelQuery &query) { return refuseTypes(query, names); });
  return record;
}

void alsoRefuse(Record &record, std::function<std::string(const KernelQuery &)> refuses) {
  if (!record.refuses) {
    record.refuses = std::move(refuses);
    return;
  }
  record.refuses = [before = record.refuses, refuses = std::move(refuses)](const KernelQuery &query) {
    std::string why = before(query);
    return why.empty() ? refuses(query) : why;
  };
}

std::string refuseNotBf16(const KernelQuery &query, ArrayRef<StringRef> names) {
  for (StringRef name : names)
    if (const LaunchOperand *operand = query.find(name); operand && !operand->type.getElementType().isBF16())
      return (name + " has type " + (operand->type.getElementType().isF32() ? "f32" : "another type") + ", expected bf16").str();
  return "";
}

std::string refuseAbove(const KernelQuery &query, StringRef name, int64_t most) {
  int64_t value = query.getInt(name);
  return value > most ? (name + " is " + Twine(value) + ", at most " + Twine(most)).str() : "";
}

} // namespace megacc::cuda

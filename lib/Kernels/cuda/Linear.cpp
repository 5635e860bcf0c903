// sm_90a records of dense products.
#include "lib/Kernels/cuda/Cuda.h"

using namespace megacc;
using namespace megacc::cuda;

/// What cuBLASLt may use in any product.
static constexpr int64_t workspaceBytes = int64_t(32) << 20;

static bool isF32(const KernelQuery &query, llvm::StringRef name) { return query.find(name)->type.getElementType().isF32(); }

/// `bf16` is bf16, the others are bf16 or f32.
static std::string refuseLinear(const KernelQuery &query, llvm::StringRef bf16, llvm::ArrayRef<llvm::StringRef> others) {
  if (!query.find(bf16)->type.getElementType().isBF16())
    return (bf16 + " has type " + (isF32(query, bf16) ? "f32" : "another type") + ", expected bf16").str();
  for (llvm::StringRef name : others)
    if (!isF32(query, name) && !query.find(name)->type.getElementType().isBF16())
      return (name + " has another type, expected bf16 or f32").str();
  return "";
}

/// Bytes of three bf16 terms of `out` rows or columns of a length, padded to 8, and of what comes of them.
static int64_t getTermBytes(const KernelQuery &query, llvm::StringRef termLength, llvm::StringRef partLength, int64_t partBytes) {
  int64_t padded = llvm::alignTo(query.getInt("out"), 8);
  return getRoom(3 * padded * query.getInt(termLength), 2) + getRoom(3 * padded * query.getInt(partLength), partBytes);
}

namespace megacc {

/// After the records of the cpu target. Where a tensor is fp32 it is cut into bf16 terms in the scratch.
void addLinearCudaRecords(std::vector<Record> &records) {
  Record linear = makeRecord(records, "linear");
  linear.refuses = [](const KernelQuery &query) { return refuseLinear(query, "x", {"weight", "y"}); };
  linear.scratch = [](const KernelQuery &query) {
    return workspaceBytes + (isF32(query, "weight") ? getTermBytes(query, "in", "rows", 4) : 0);
  };
  records.push_back(linear);
  Record linearAdd = linear;
  linearAdd.refuses = [](const KernelQuery &query) { return refuseNotBf16(query, {"x", "weight", "add.y"}); };
  addWithAddend(records, linearAdd, "y");

  Record gradInput = makeRecord(records, "linear_grad_input");
  // d_x may be f32, the gradient of a parameter, where it is a product of bf16.
  gradInput.refuses = [](const KernelQuery &query) {
    return refuseLinear(query, isF32(query, "d_x") ? "d_y" : "d_x", {"d_y", "weight", "d_x"}) +
           (isF32(query, "d_x") && isF32(query, "weight") ? "weight has type f32, expected bf16 beside a d_x of f32" : "");
  };
  gradInput.scratch = [](const KernelQuery &query) {
    return workspaceBytes + (isF32(query, "d_y") || isF32(query, "weight") ? getTermBytes(query, "rows", "in", 2) : 0);
  };
  records.push_back(gradInput);
  Record gradInputAdd = gradInput;
  gradInputAdd.refuses = [](const KernelQuery &query) { return refuseLinear(query, "add.y", {"d_y", "weight"}); };
  addWithAddend(records, gradInputAdd, "d_x");

  for (llvm::StringRef name : {"linear_grad_weight", "linear_grad_weight+accumulate"}) {
    Record record = makeRecord(records, name);
    bool accumulates = name.ends_with("+accumulate");
    Record cpu = *llvm::find_if(records, [&](const Record &entry) { return entry.name == ("cpu." + name).str(); });
    record.refuses = accumulates ? cpu.refuses : nullptr;
    alsoRefuse(record, [](const KernelQuery &query) { return refuseLinear(query, "x", {"d_y"}); });
    record.scratch = [](const KernelQuery &query) {
      return workspaceBytes + (isF32(query, "d_y") ? getTermBytes(query, "rows", "in", 4) : 0);
    };
    records.push_back(record);
  }
}

} // namespace megacc

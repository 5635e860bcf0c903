//===- Attention.cpp - records of attention on Hopper ---------------------===//
#include "lib/Kernels/Kernels.h"
#include "llvm/Support/MathExtras.h"

using namespace megacc;

/// Bytes that a kernel takes of its scratch, as runtime/core/Scratch.h hands them out.
static int64_t arrayBytes(int64_t count, int64_t elementBytes) { return llvm::alignTo(count * elementBytes, 64); }

/// What neither kernel serves.
static std::string refuseAttention(const KernelQuery &query) {
  for (const LaunchOperand &operand : query.operands)
    if (operand.name != "lse" && operand.name != "documents" && !operand.type.getElementType().isBF16())
      return operand.name + " has elements of " + std::to_string(operand.type.getElementTypeBitWidth()) + " bits, expected bf16";
  for (const char *name : {"qk_dim", "v_dim"})
    if (query.getInt(name) > 256)
      return std::string(name) + " is " + std::to_string(query.getInt(name)) + ", at most 256";
  for (const auto &[name, value] : query.doubles)
    if (name == "scale" && !(value > 0))
      return "scale is " + std::to_string(value) + ", expected more than 0";
  return "";
}

/// The first key of every query, where there are documents.
static int64_t firstKeyBytes(const KernelQuery &query) {
  return query.has("documents") ? arrayBytes(query.getInt("batch") * query.getInt("sequence"), 4) : 0;
}

namespace megacc {

void addAttentionCudaRecords(std::vector<Record> &records) {
  Record attention;
  attention.name = "sm_90a.attention";
  attention.target = "sm_90a";
  attention.family = "attention";
  attention.symbol = "mg_attention";
  attention.refuses = refuseAttention;
  attention.scratch = firstKeyBytes;
  Cache lse;
  lse.name = "lse";
  lse.type = [](const KernelQuery &query) {
    mlir::MLIRContext *context = query.operands.front().type.getContext();
    return mlir::RankedTensorType::get({query.getInt("batch"), query.getInt("heads"), query.getInt("sequence")},
                                       mlir::Float32Type::get(context));
  };
  attention.caches = {lse};
  records.push_back(attention);

  // Two floats a row of queries, rows of a head padded to 64, and lse where it is not cached.
  Record grad;
  grad.name = "sm_90a.attention_grad";
  grad.target = "sm_90a";
  grad.family = "attention_grad";
  grad.symbol = "mg_attention_grad";
  grad.refuses = refuseAttention;
  grad.scratch = [](const KernelQuery &query) {
    int64_t heads = query.getInt("batch") * query.getInt("heads"), sequence = query.getInt("sequence");
    return arrayBytes(heads * llvm::alignTo(sequence, 64), 8) + firstKeyBytes(query) +
           (query.has("lse") ? 0 : arrayBytes(heads * sequence, 4));
  };
  records.push_back(grad);
}

} // namespace megacc

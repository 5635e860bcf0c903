// Records of attention on Hopper.
#include "lib/Kernels/cuda/Cuda.h"
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

/// Packed keys and values (kernels.def): the first ops of a group repeat a shared part for every head, split packed heads and put each
/// head's key together; attention, which the group's query calls `family`, reads them as they were. A backward's group ends in ops that
/// take the gradients apart and pack them again.
static Record makePacked(const Record &plain, llvm::StringRef family, llvm::StringRef after) {
  Record record = plain;
  record.family = ("repeat_groups+split+concat+" + family + after).str();
  record.name = "sm_90a." + record.family;
  record.repeated = 3;
  record.tuning = nullptr;
  record.renamed = {{"k", "split.x"}, {"k_shared", "x"}, {"shared_dim", "width"}, {"d_k", "concat.y"}, {"d_k_shared", "split.part"}};
  std::string prefix = family.str() + ".";
  for (const char *name :
       {"d_q", "d_y", "y", "lse", "q", "documents", "batch", "sequence", "heads", "kv_heads", "qk_dim", "v_dim", "scale"})
    record.renamed.emplace_back(name, prefix + name);
  if (after.empty())
    llvm::erase_if(record.renamed, [](const auto &pair) { return llvm::StringRef(pair.first).starts_with("d_"); });
  // The question that attention alone asks, without keys and values.
  auto getInner = [prefix](const KernelQuery &query) {
    KernelQuery inner = query;
    for (LaunchOperand &operand : inner.operands)
      if (llvm::StringRef(operand.name).starts_with(prefix))
        operand.name.erase(0, prefix.size());
    for (auto &[name, value] : inner.ints)
      if (llvm::StringRef(name).starts_with(prefix))
        name.erase(0, prefix.size());
    return inner;
  };
  record.scratch = [scratch = plain.scratch, getInner](const KernelQuery &query) { return scratch(getInner(query)); };
  record.refuses = [refuses = plain.refuses, getInner](const KernelQuery &query) -> std::string {
    KernelQuery inner = getInner(query);
    if (std::string why = refuses(inner); !why.empty())
      return why;
    int64_t shared = query.getInt("width"), own = inner.getInt("qk_dim") - shared, v_dim = inner.getInt("v_dim");
    for (const char *name : {"groups", "split.groups", "concat.groups"})
      if (query.getInt(name) != inner.getInt("kv_heads"))
        return std::string(name) + " is " + std::to_string(query.getInt(name)) + ", kv_heads " + std::to_string(inner.getInt("kv_heads"));
    for (auto [name, width] : {std::pair("split.width0", own), {"split.width1", v_dim}, {"split.width2", 0}, {"concat.width0", own}})
      if (query.getInt(name) != width)
        return std::string(name) + " is " + std::to_string(query.getInt(name)) + ", expected " + std::to_string(width);
    if (own <= 0 || own % 64 || shared % 8 || v_dim % 8)
      return "a key has " + std::to_string(own) + " channels of its own, a multiple of 64 is expected, and " + std::to_string(shared) +
             " shared ones beside a value of " + std::to_string(v_dim) + ", multiples of 8 are expected";
    return "";
  };
  record.caches = {};
  return record;
}

namespace megacc {

/// Attention with a bias is the simple kernel of runtime/kernels/biased_attention.
static void addBiasedRecords(std::vector<Record> &records) {
  for (bool backward : {false, true}) {
    Record record = cuda::makeRecord(records, backward ? "biased_attention_grad" : "biased_attention");
    cuda::alsoRefuse(record, [](const KernelQuery &query) {
      for (auto [name, most] : {std::pair("qk_dim", 256), {"v_dim", 256}, {"chunks", 4096}})
        if (std::string why = cuda::refuseAbove(query, name, most); !why.empty())
          return why;
      return std::string();
    });
    // Tables of the bias; in the backward their gradients, what every query adds to them, and delta and lse of every query.
    record.scratch = [backward](const KernelQuery &query) {
      int64_t heads = query.getInt("batch") * query.getInt("heads"), chunks = query.getInt("chunks"),
              rows = heads * query.getInt("sequence");
      int64_t tables = cuda::getRoom(heads * chunks * chunks, 4), bytes = tables + firstKeyBytes(query);
      if (backward)
        bytes += tables + cuda::getRoom(rows * chunks, 4) + cuda::getRoom(rows, 4) + (query.has("lse") ? 0 : cuda::getRoom(rows, 4));
      return bytes;
    };
    records.push_back(record);
  }
}

/// After the records of the cpu target.
void addAttentionCudaRecords(std::vector<Record> &records) {
  auto neverPacked = [](const KernelQuery &) { return std::vector<std::pair<std::string, int64_t>>{{"shared_dim", 0}}; };
  Record attention;
  attention.name = "sm_90a.attention";
  attention.target = "sm_90a";
  attention.family = "attention";
  attention.symbol = "mg_attention";
  attention.refuses = refuseAttention;
  attention.scratch = firstKeyBytes;
  attention.tuning = neverPacked;
  Cache lse;
  lse.name = "lse";
  lse.type = [](const KernelQuery &query) {
    mlir::MLIRContext *context = query.operands.front().type.getContext();
    return mlir::RankedTensorType::get({query.getInt("batch"), query.getInt("heads"), query.getInt("sequence")},
                                       mlir::Float32Type::get(context));
  };
  attention.caches = {lse};
  records.push_back(attention);
  records.push_back(makePacked(attention, "attention", ""));

  // Two floats per row of queries, rows of a head padded to 64, and lse where it is not cached.
  Record grad;
  grad.name = "sm_90a.attention_grad";
  grad.target = "sm_90a";
  grad.family = "attention_grad";
  grad.symbol = "mg_attention_grad";
  grad.refuses = refuseAttention;
  grad.tuning = neverPacked;
  grad.scratch = [](const KernelQuery &query) {
    int64_t heads = query.getInt("batch") * query.getInt("heads"), sequence = query.getInt("sequence");
    return arrayBytes(heads * llvm::alignTo(sequence, 64), 8) + firstKeyBytes(query) +
           (query.has("lse") ? 0 : arrayBytes(heads * sequence, 4));
  };
  records.push_back(grad);
  records.push_back(makePacked(grad, "attention_grad", "+split+concat"));

  // A term of each query and head.
  Record entropy = cuda::makeRecord(records, "attention_entropy");
  entropy.scratch = [](const KernelQuery &query) {
    return arrayBytes(query.getInt("batch") * query.getInt("heads") * query.getInt("sequence"), 8);
  };
  records.push_back(entropy);
  addBiasedRecords(records);
}

} // namespace megacc

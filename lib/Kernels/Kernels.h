// Which kernel answers a query.
#ifndef MEGACC_LIB_KERNELS_KERNELS_H
#define MEGACC_LIB_KERNELS_KERNELS_H

#include "dialects/Interfaces/KernelQuery.h"
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace megacc {

/// A result that a forward kernel can keep for its backward. The backward computes it again, to the same bits, where it is not there.
struct Cache {
  /// Name of the operand in kernels.def, the same for both kernels.
  std::string name;
  /// Its type for the forward's query; null where this query has nothing to cache.
  std::function<mlir::RankedTensorType(const KernelQuery &)> type;
  /// Whether it is kept where nobody decides otherwise.
  bool kept = true;
  /// The setting of mega.train that decides (off, auto, on), if one does; then what keeping it costs and saves, and why there can be
  /// nothing to cache, for people.
  std::string setting, trade, nothing;
  /// The environment variable that switches the setting on.
  std::string gate;
  /// Why the record cannot keep it, though another one of the family can; then `type` only says how large it would be.
  std::string refusal;
};

/// Bytes of an element of an operand.
inline int64_t getElementBytes(const KernelQuery &query, llvm::StringRef operand) {
  return query.find(operand)->type.getElementTypeBitWidth() / 8;
}

/// One kernel of one target, for some shapes and types. All functions are of the query alone.
struct Record {
  /// "cpu.rms_norm": unique, what the attribute `record` of an op names.
  std::string name;
  /// "cpu" or "sm_90a".
  std::string target;
  /// The families it answers; of a fused group the families of its ops joined by '+'.
  std::string family;
  /// In a fused group, as many of its first ops are copies, so that the originals' results may be used elsewhere too. They have no
  /// effects and cost nothing worth keeping.
  int repeated = 0;
  /// The kernel's symbol in kernels.def.
  std::string symbol;
  /// Empty if it can serve, else the field that does not fit, with both numbers: "head_dim is 300, at most 256".
  std::function<std::string(const KernelQuery &)> refuses;
  /// Bytes of the SCRATCH operand; null: none (0 bytes, the operand is there all the same where kernels.def lists it).
  std::function<int64_t(const KernelQuery &)> scratch;
  /// Integer parameters that the query does not have: tuning, and constants of a fused group.
  std::function<std::vector<std::pair<std::string, int64_t>>(const KernelQuery &)> tuning;
  /// The contents of the TABLE operand.
  std::function<std::vector<int64_t>(const KernelQuery &)> table;
  /// Of a collective: bytes that a rank sends in a launch.
  std::function<int64_t(const KernelQuery &)> sends;
  /// (output, input) operands, by name, that may share memory.
  std::vector<std::pair<std::string, std::string>> inPlace;
  std::vector<Cache> caches;
  /// Operands and parameters of kernels.def that the query calls otherwise: (kernels.def, query). In a fused group those of op i > 0 are
  /// called "family.name".
  std::vector<std::pair<std::string, std::string>> renamed;
  /// Operands of a fused group's query that must be the value of another, which the kernel reads for both.
  std::vector<std::pair<std::string, std::string>> same;
  /// The same numbers, bit for bit, on every call.
  bool deterministic = true;

  int64_t getScratch(const KernelQuery &query) const { return scratch ? scratch(query) : 0; }
  /// What a query calls an operand or parameter of kernels.def.
  llvm::StringRef getQueryName(llvm::StringRef operand) const {
    for (const auto &[own, other] : renamed)
      if (own == operand)
        return other;
    return operand;
  }
};

/// All records, in order of preference.
const std::vector<Record> &allRecords();
/// The record of a name; null without one.
const Record *findRecord(llvm::StringRef name);

/// The first record of a target that serves a query. Null without one; `why` then lists the nearest records and the field that failed.
const Record *match(llvm::StringRef target, const KernelQuery &query, std::string *why = nullptr);

/// Empty if a record of the query's family serves it, else the field that does not fit.
std::string explainMisfit(const Record &record, const KernelQuery &query);

/// The value of an integer parameter of the launch: the query's, else the record's.
std::optional<int64_t> getLaunchInt(const Record &record, const KernelQuery &query, llvm::StringRef name);
/// The value of a floating point parameter of the launch.
std::optional<double> getLaunchDouble(const Record &record, const KernelQuery &query, llvm::StringRef name);

/// Adds the record of a kernel with an addend for groups of its op and a step.add of its result, which the query calls `result`: twice, as
/// the result may be either side of the sum. The record must serve queries that call the result "add.y".
void addWithAddend(std::vector<Record> &records, const Record &record, llvm::StringRef result);

/// psi_v of mamba3_scan, [T, heads, rank, head_dim], in the type that `projection` has.
Cache makePsiV();

/// The record of mg_rms_norm for groups of a step.add and the norm of its sum; what `record`, the norm's own, refuses is not looked at.
Record makeAddNorm(const Record &record);

// One file per family; each adds its records.
void addExpertRecords(std::vector<Record> &records);
void addAttentionRecords(std::vector<Record> &records);
void addCollectiveRecords(std::vector<Record> &records);
void addDeltanetRecords(std::vector<Record> &records);
void addDenseRecords(std::vector<Record> &records);
void addLossRecords(std::vector<Record> &records);
void addM2rnnRecords(std::vector<Record> &records);
void addMamba3Records(std::vector<Record> &records);
void addPlacementRecords(std::vector<Record> &records);
void addSparseRecords(std::vector<Record> &records);
void addStateRecords(std::vector<Record> &records);
void addStreamRecords(std::vector<Record> &records);
void addTokenRecords(std::vector<Record> &records);

} // namespace megacc

#endif

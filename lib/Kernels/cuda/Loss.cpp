// sm_90a records of the head and its losses.
#include "lib/Kernels/cuda/Cuda.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cuda;

/// The same number as in runtime/cuda/CublasLt.h.
static constexpr int64_t cublasWorkspaceBytes = int64_t(32) << 20;

static int64_t countRows(const KernelQuery &query) {
  std::optional<int64_t> rows = query.findInt("rows");
  return rows ? *rows : query.getInt("batch") * query.getInt("sequence");
}

/// Rows whose logits exist at a time: parts of about the same size, of at most 1 GiB, that begin at multiples of 64 bytes. Every part reads
/// and writes the whole gradient of the weight.
static int64_t getLogitRows(const KernelQuery &query) {
  constexpr int64_t mostBytes = int64_t(1) << 30, unit = 128;
  int64_t rows = countRows(query), most = std::max<int64_t>(mostBytes / (2 * query.getInt("vocab")) / unit, 1) * unit;
  int64_t parts = llvm::divideCeil(rows, most);
  return std::min<int64_t>(rows, llvm::alignTo(llvm::divideCeil(rows, parts), unit));
}

/// The products take bf16.
static std::string refuseFloats(const KernelQuery &query) {
  return query.find("x")->type.getElementType().isBF16() ? "" : "x has type f32, expected bf16";
}

/// A kernel that has the logits of some rows and the losses of all rows in its scratch.
static Record makeHeadRecord(const std::vector<Record> &records, llvm::StringRef name) {
  Record record = makeRecord(records, name);
  alsoRefuse(record, refuseFloats);
  record.tuning = [tuning = record.tuning](const KernelQuery &query) {
    auto parameters = tuning(query);
    for (auto &[name, value] : parameters)
      if (name == "logit_rows")
        value = getLogitRows(query);
    return parameters;
  };
  record.scratch = [](const KernelQuery &query) {
    int64_t rows = countRows(query), logitRows = std::min(rows, query.findInt("logit_rows").value_or(getLogitRows(query)));
    return cublasWorkspaceBytes + getRoom(logitRows * query.getInt("vocab"), 2) + getRoom(rows, 4);
  };
  return record;
}

namespace megacc {

void addLossCudaRecords(std::vector<Record> &records) {
  for (llvm::StringRef name : {"linear_cross_entropy", "linear_cross_entropy+accumulate", "linear_cross_entropy_evaluate",
                               "linear_cross_entropy_parts", "linear_cross_entropy_parts+accumulate"})
    records.push_back(makeHeadRecord(records, name));
  Record statistics = makeHeadRecord(records, "head_statistics"); // logits of a part of the vocabulary at a time
  statistics.scratch = [](const KernelQuery &query) {
    int64_t rows = countRows(query), logitRows = std::min(rows, query.findInt("logit_rows").value_or(getLogitRows(query)));
    return cublasWorkspaceBytes + getRoom(logitRows * (query.getInt("vocab") / query.getInt("parts")), 2);
  };
  records.push_back(statistics);
  Record evaluateParts = makeRecord(records, "linear_cross_entropy_evaluate_parts");
  alsoRefuse(evaluateParts, refuseFloats);
  records.push_back(evaluateParts);
  Record logitsAt = makeRecord(records, "logits_at");
  alsoRefuse(logitsAt, refuseFloats);
  logitsAt.scratch = [](const KernelQuery &query) {
    return cublasWorkspaceBytes + getRoom(query.getInt("batch") * query.getInt("cols"), 2);
  };
  records.push_back(logitsAt);
}

} // namespace megacc

// Records of the head and its losses.
#include "lib/Kernels/Cpu.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cpu;

/// Rows whose logits exist at a time.
static int64_t getLogitRows(int64_t rows, int64_t vocab) {
  constexpr int64_t elements = 4194304, mostRows = 1024;
  return std::clamp<int64_t>(elements / vocab, 1, std::min(rows, mostRows));
}

/// A kernel that has the logits of some rows in its scratch.
template <typename CountRows> static Record makeHeadRecord(llvm::StringRef family, CountRows countRows) {
  auto logitRows = [countRows](const KernelQuery &query) { return getLogitRows(countRows(query), query.getInt("vocab")); };
  Record record = makeRecord(family);
  record.tuning = [logitRows](const KernelQuery &query) {
    return std::vector<std::pair<std::string, int64_t>>{{"logit_rows", logitRows(query)}};
  };
  record.scratch = [logitRows](const KernelQuery &query) {
    return floats(query.findInt("logit_rows").value_or(logitRows(query)) * query.getInt("vocab"));
  };
  return record;
}

void megacc::addLossRecords(std::vector<Record> &records) {
  records.push_back(makeRecord("count_valid"));
  addWithAccumulation(records, makeHeadRecord("linear_cross_entropy", [](const KernelQuery &query) { return query.getInt("rows"); }),
                      "d_weight");
  records.push_back(makeHeadRecord("linear_cross_entropy_evaluate",
                                   [](const KernelQuery &query) { return query.getInt("batch") * query.getInt("sequence"); }));
  records.push_back(makeRecord("logits_at"));

  // Logits of a part of the vocabulary at a time.
  Record statistics = makeRecord("head_statistics");
  auto logitRows = [](const KernelQuery &query) {
    return getLogitRows(query.getInt("rows"), query.getInt("vocab") / query.getInt("parts"));
  };
  statistics.tuning = [logitRows](const KernelQuery &query) {
    return std::vector<std::pair<std::string, int64_t>>{{"logit_rows", logitRows(query)}};
  };
  statistics.scratch = [logitRows](const KernelQuery &query) {
    return floats(query.findInt("logit_rows").value_or(logitRows(query)) * (query.getInt("vocab") / query.getInt("parts")));
  };
  records.push_back(statistics);
  Record parts = makeHeadRecord("linear_cross_entropy_parts", [](const KernelQuery &query) { return query.getInt("rows"); });
  parts.scratch = [logits = parts.scratch](const KernelQuery &query) { return logits(query) + doubles(query.getInt("rows")); };
  addWithAccumulation(records, parts, "d_weight");
  records.push_back(makeRecord("linear_cross_entropy_evaluate_parts"));
}

// sm_90a records of attention to picked keys.
#include "lib/Kernels/cuda/Cuda.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cuda;

static int64_t countRows(const KernelQuery &query) { return query.getInt("batch") * query.getInt("sequence"); }

/// The record "cpu.NAME" with this scratch; the scores of a support, and q of a query's indexer, lie in shared memory.
static Record makeSparse(const std::vector<Record> &records, llvm::StringRef name, std::function<int64_t(const KernelQuery &)> scratch) {
  Record record = makeRecord(records, name);
  record.scratch = std::move(scratch);
  alsoRefuse(record, [](const KernelQuery &query) { return refuseAbove(query, "kept", 4096); });
  return record;
}

namespace megacc {

/// After the records of the cpu target.
void addSparseCudaRecords(std::vector<Record> &records) {
  Record select = makeSparse(records, "select_keys", [](const KernelQuery &query) {
    return getRoom(std::min<int64_t>(countRows(query), 1056) * query.getInt("sequence"), 4); // scores of the queries at once
  });
  alsoRefuse(select, [](const KernelQuery &query) -> std::string {
    int64_t heads = query.getInt("heads"), dim = query.getInt("dim");
    return heads * (dim + 1) <= 10240 ? ""
                                      : "heads is " + std::to_string(heads) + " and dim " + std::to_string(dim) +
                                            ", their product is at most " + std::to_string(10240 - heads);
  });
  records.push_back(select);
  records.push_back(makeSparse(records, "sparse_attention", nullptr));
  records.push_back(makeSparse(records, "sparse_attention_grad", [](const KernelQuery &query) {
    return 2 * getRoom(countRows(query) * query.getInt("heads"), 4); // log-sum-exp and delta
  }));
  records.push_back(makeSparse(records, "support_kl", [](const KernelQuery &query) { return getRoom(countRows(query), 8); }));
  records.push_back(makeSparse(records, "support_kl_grad", nullptr));
}

} // namespace megacc

// sm_90a records of what placements compute beside the blocks, and of attention to a bank.
#include "lib/Kernels/cuda/Cuda.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cuda;

namespace megacc {

/// After the records of the cpu target.
void addPlacementCudaRecords(std::vector<Record> &records) {
  for (llvm::StringRef name : {"window_sum", "unit_norm", "unit_norm_grad", "alignment", "alignment_grad", "weighted_parts", "count_spans",
                               "straightness", "straightness_grad"})
    records.push_back(makeRecord(records, name));
  // Its operands of no fixed type are ids, i32 as on the cpu target.
  Record rows = makeRecord(records, "component_rows");
  rows.refuses = llvm::find_if(records, [](const Record &record) { return record.name == "cpu.component_rows"; })->refuses;
  records.push_back(rows);
  // Scratch: sums of tiles of 64 rows.
  for (llvm::StringRef name : {"weighted_parts_grad", "weighted_parts_grad+accumulate"}) {
    Record record = makeRecord(records, name);
    record.scratch = [](const KernelQuery &query) {
      return getRoom(llvm::divideCeil(query.getInt("rows"), 64) * query.getInt("parts"), 4);
    };
    records.push_back(record);
  }
  Record *straightness = &*llvm::find_if(records, [](const Record &record) { return record.name == "sm_90a.straightness"; });
  straightness->scratch = [](const KernelQuery &query) { return getRoom(query.getInt("batch") * query.getInt("spans"), 4); };

  // Scores of a row lie in the 48 KiB of shared memory that every block has.
  auto refuseLong = [](const KernelQuery &query) { return refuseAbove(query, "bank", 4096); };
  Record attention = makeRecord(records, "bank_attention");
  alsoRefuse(attention, refuseLong);
  records.push_back(attention);
  // Scratch: d_k and d_v of every tile of rows.
  Record grad = makeRecord(records, "bank_attention_grad");
  grad.scratch = [](const KernelQuery &query) {
    int64_t parts = std::min<int64_t>(llvm::divideCeil(query.getInt("rows"), 64), 32);
    return 2 * getRoom(parts * query.getInt("bank") * query.getInt("heads") * query.getInt("dim"), 4);
  };
  alsoRefuse(grad, refuseLong);
  records.push_back(grad);
}

} // namespace megacc

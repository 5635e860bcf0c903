// sm_90a records of embeddings, norms, moved rows.
#include "lib/Kernels/cuda/Cuda.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cuda;

namespace megacc {

/// After the records of the cpu target.
void addPointwiseCudaRecords(std::vector<Record> &records) {
  for (llvm::StringRef name : {"embedding",
                               "add",
                               "activation",
                               "activation_grad",
                               "activation_grad_swiglu",
                               "activation+row_scale",
                               "activation+row_scale_grad+activation_grad",
                               "rope",
                               "partial_rope",
                               "split",
                               "concat",
                               "repeat_groups",
                               "repeat_groups+add",
                               "repeat_groups+add_to_b",
                               "sum_groups",
                               "row_gate",
                               "row_gate_grad",
                               "state_gate",
                               "state_gate_grad",
                               "row_scale",
                               "row_scale_grad",
                               "ngram_rows",
                               "shift",
                               "shift_targets",
                               "count_valid"})
    records.push_back(makeRecord(records, name));
  for (llvm::StringRef name : {"embedding_grad", "embedding_grad+accumulate"}) {
    Record record = makeRecord(records, name);
    // Scratch of the sort: 256 counts per tile of 2048, keys and values before and after a pass.
    record.scratch = [](const KernelQuery &query) {
      int64_t rows = query.getInt("rows");
      return getRoom(llvm::divideCeil(rows, 2048) * 256, 4) + 4 * getRoom(rows, 4);
    };
    records.push_back(record);
  }
  for (llvm::StringRef name : {"rms_norm", "rms_norm_grad", "rms_norm_grad+accumulate"}) {
    Record record = makeRecord(records, name);
    alsoRefuse(record, [](const KernelQuery &query) { return refuseAbove(query, "cols", 16384); });
    if (record.symbol == "mg_rms_norm_grad")
      record.scratch = [](const KernelQuery &query) {
        return getRoom(std::min<int64_t>(query.getInt("rows"), 528) * query.getInt("cols"), 4);
      };
    records.push_back(record);
    if (name == "rms_norm_grad+accumulate")
      addWithAddend(records, record, "d_x");
  }

  records.push_back(makeRecord(records, "layer_norm"));
  Record layerNormGrad = makeRecord(records, "layer_norm_grad");
  layerNormGrad.scratch = [](const KernelQuery &query) {
    return 2 * getRoom(std::min<int64_t>(query.getInt("rows"), 528) * query.getInt("cols"), 4);
  };
  records.push_back(layerNormGrad);

  // Scratch: partial rows of at most 528 blocks.
  Record dytGrad = makeRecord(records, "dyt_grad");
  dytGrad.scratch = [](const KernelQuery &query) {
    int64_t partials = std::min<int64_t>(query.getInt("rows"), 528);
    return 2 * getRoom(partials * query.getInt("cols"), 4) + getRoom(partials, 4);
  };
  records.push_back(makeRecord(records, "dyt"));
  records.push_back(dytGrad);
  for (llvm::StringRef name : {"scale", "scale_grad"}) {
    Record record = makeRecord(records, name);
    record.refuses = [](const KernelQuery &query) { return refuseTypes(query, {"y", "d_x", "d_y", "x"}); }; // the scale has its own
    if (name == "scale_grad")
      record.scratch = [](const KernelQuery &query) {
        return getRoom(std::min<int64_t>(query.getInt("rows"), 528) * query.getInt("scales"), 4);
      };
    records.push_back(record);
  }

  Record addNorm = makeAddNorm(*llvm::find_if(records, [](const Record &record) { return record.name == "sm_90a.rms_norm"; }));
  addNorm.refuses = [](const KernelQuery &query) {
    std::string why = refuseTypes(query, {"y", "a", "b", "rms_norm.y", "rms_norm.weight"});
    return why.empty() ? refuseAbove(query, "rms_norm.cols", 16384) : why;
  };
  records.push_back(addNorm);
}

} // namespace megacc

// sm_90a records of residuals of several streams and of blocks that some tokens enter.
#include "lib/Kernels/cuda/Cuda.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cuda;

namespace megacc {

/// After the records of the cpu target.
void addStreamCudaRecords(std::vector<Record> &records) {
  for (llvm::StringRef name :
       {"mhc_read", "mhc_write", "mhc_write_grad", "mod_select", "mod_take", "mod_put", "mod_put_grad", "mod_loss", "mod_loss_grad"})
    records.push_back(makeRecord(records, name));
  for (llvm::StringRef name : {"mhc_read_grad", "mhc_read_grad+accumulate"}) {
    Record record = makeRecord(records, name);
    // Scratch: a sum for the bias of each block, of which there are as many as rows, at most 528.
    record.scratch = [](const KernelQuery &query) {
      int64_t streams = query.getInt("streams");
      return getRoom(std::min<int64_t>(query.getInt("rows"), 528) * streams * (streams + 2), 4);
    };
    records.push_back(record);
    if (name == "mhc_read_grad+accumulate")
      addWithAddend(records, record, "d_x");
  }
}

} // namespace megacc

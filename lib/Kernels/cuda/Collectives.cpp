// sm_90a records of what moves between ranks: NCCL has buffers of its own.
#include "lib/Kernels/cuda/Cuda.h"

using namespace megacc;
using namespace megacc::cuda;

namespace megacc {

/// After the records of the cpu target.
void addCollectiveCudaRecords(std::vector<Record> &records) {
  for (const char *family : {"all_reduce", "all_reduce_f64", "all_reduce_state", "take_part"})
    records.push_back(makeRecord(records, family));
  Record gather = makeRecord(records, "gather_parts");
  // Parts that are not whole come one rank after the other and are then put in their places.
  gather.scratch = [](const KernelQuery &query) {
    int64_t outer = query.getInt("outer"), bytes = query.find("x")->type.getElementTypeBitWidth() / 8;
    return outer > 1 ? getRoom(outer * query.getInt("inner") * query.getInt("ranks"), bytes) : 0;
  };
  records.push_back(gather);
}

} // namespace megacc

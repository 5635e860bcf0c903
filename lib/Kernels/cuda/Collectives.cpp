// sm_90a records of what moves between ranks: NCCL has buffers of its own.
#include "lib/Kernels/cuda/Cuda.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cuda;

/// Elements that mg_exchange_rows and mg_return_rows move at a time.
static constexpr int64_t kExchangeElements = 1 << 24;

/// Scratch: where all ranks' groups begin, and a piece to give and one to take.
static int64_t getExchangeScratch(const KernelQuery &query) {
  int64_t ranks = query.getInt("ranks"), cols = query.getInt("cols"), bytes = getElementBytes(query, "rows");
  int64_t piece = std::clamp<int64_t>(kExchangeElements / (ranks * cols), 1, query.getInt("received") / ranks);
  return getRoom(ranks * (query.getInt("groups") + 1), 4) + 2 * getRoom(ranks * piece * cols, bytes);
}

/// No card knows how many rows there are for another: a block goes to each that holds the most, and where the groups begin.
static int64_t getBlockBytes(const KernelQuery &query) {
  int64_t ranks = query.getInt("ranks"), bytes = getElementBytes(query, "rows");
  return (query.getInt("received") / ranks * query.getInt("cols") * bytes + 4 * (query.getInt("groups") + 1)) * (ranks - 1);
}

namespace megacc {

/// After the records of the cpu target.
void addCollectiveCudaRecords(std::vector<Record> &records) {
  for (const char *family : {"all_reduce", "all_reduce_f64", "all_reduce_state", "reduce_scatter_state", "gather_state", "take_part"})
    records.push_back(makeRecord(records, family));
  Record gather = makeRecord(records, "gather_parts");
  // Parts that are not whole come one rank after the other and are then put in their places.
  gather.scratch = [](const KernelQuery &query) {
    int64_t outer = query.getInt("outer"), bytes = getElementBytes(query, "x");
    return outer > 1 ? getRoom(outer * query.getInt("inner") * query.getInt("ranks"), bytes) : 0;
  };
  records.push_back(gather);
  for (const char *family : {"exchange_rows", "return_rows"}) {
    Record rows = makeRecord(records, family);
    rows.scratch = getExchangeScratch;
    rows.sends = getBlockBytes;
    records.push_back(rows);
  }
  Record scatter = makeRecord(records, "reduce_scatter");
  scatter.scratch = gather.scratch; // parts that are not whole are put one rank after the other first
  records.push_back(scatter);
}

} // namespace megacc

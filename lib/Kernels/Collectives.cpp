// Records of what moves between ranks.
#include "lib/Kernels/Cpu.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cpu;

/// Elements that mg_all_reduce sums at a time.
static constexpr int64_t kReduceElements = 1 << 18;

/// Elements that mg_exchange_rows and mg_return_rows move at a time.
static constexpr int64_t kExchangeElements = 1 << 20;

/// What it takes and gives of a piece: at most kReduceElements, rounded up to as many as the ranks share evenly.
static std::function<int64_t(const KernelQuery &)> getReduceScratch(int64_t width) {
  return [width](const KernelQuery &query) {
    int64_t ranks = query.getInt("ranks"), count = query.getInt("count");
    int64_t part = std::min(llvm::divideCeil(count, ranks), llvm::divideCeil(kReduceElements, ranks));
    return 2 * int64_t(llvm::alignTo(width * part * ranks, 64));
  };
}

/// A sum sends each of the other ranks its part, and the sum of its own part to each.
static int64_t getSumBytes(const KernelQuery &query) {
  int64_t ranks = query.getInt("ranks");
  return 2 * (query.getInt("count") * getElementBytes(query, "x")) / ranks * (ranks - 1);
}

/// A part goes to each of the other ranks.
static int64_t getPartBytes(const KernelQuery &query) {
  return query.getInt("outer") * query.getInt("inner") * getElementBytes(query, "x") * (query.getInt("ranks") - 1);
}

/// Of a sweep's part, a rank's share goes to each of the other ranks.
static int64_t getSweepBytes(const KernelQuery &query) {
  int64_t ranks = query.getInt("ranks");
  return query.getInt("count") * getElementBytes(query, "x") / query.getInt("parts") / ranks * (ranks - 1);
}

/// Rows as many as there are for the others where all groups take alike, and where they begin.
static int64_t getRowBytes(const KernelQuery &query) {
  int64_t ranks = query.getInt("ranks"), rows = query.getInt("given") / ranks;
  return (rows * query.getInt("cols") * getElementBytes(query, "rows") + 4 * (query.getInt("groups") + 1)) * (ranks - 1);
}

void megacc::addCollectiveRecords(std::vector<Record> &records) {
  for (auto [family, width] : {std::pair("all_reduce", 4), {"all_reduce_f64", 8}, {"all_reduce_state", 4}}) {
    Record record = makeRecord(family);
    record.scratch = getReduceScratch(width);
    record.sends = getSumBytes;
    if (family != llvm::StringRef("all_reduce_state"))
      record.inPlace = {{"y", "x"}};
    records.push_back(record);
  }
  // A piece of every rank's part to take, and to sum them as much to give.
  for (auto [family, pieces] : {std::pair("reduce_scatter_state", 2), {"gather_state", 1}}) {
    Record sweep = makeRecord(family);
    sweep.scratch = [pieces](const KernelQuery &query) {
      int64_t ranks = query.getInt("ranks"), part = query.getInt("count") / query.getInt("parts") / ranks;
      return pieces * floats(ranks * std::min<int64_t>(part, llvm::divideCeil(kReduceElements, ranks)));
    };
    sweep.sends = getSweepBytes;
    records.push_back(sweep);
  }
  records.push_back(makeRecord("take_part"));
  Record gather = makeRecord("gather_parts");
  gather.scratch = [](const KernelQuery &query) { return floats(query.getInt("outer") * query.getInt("inner") * query.getInt("ranks")); };
  gather.sends = getPartBytes;
  records.push_back(gather);
  Record scatter = makeRecord("reduce_scatter");
  scatter.scratch = [](const KernelQuery &query) { // what it takes and gives of a piece
    int64_t ranks = query.getInt("ranks"), part = query.getInt("outer") * query.getInt("inner");
    return 2 * int64_t(llvm::alignTo(4 * ranks * std::min<int64_t>(part, llvm::divideCeil(kReduceElements, ranks)), 64));
  };
  scatter.sends = getPartBytes;
  records.push_back(scatter);

  // Scratch: where all ranks' groups begin, where the rows of each of them go, and a piece to give and one to take.
  for (const char *family : {"exchange_rows", "return_rows"}) {
    Record rows = makeRecord(family);
    rows.scratch = [](const KernelQuery &query) {
      int64_t ranks = query.getInt("ranks"), cols = query.getInt("cols"), groups = query.getInt("groups");
      int64_t piece = std::clamp<int64_t>(kExchangeElements / (ranks * cols), 1, query.getInt("given"));
      return floats(ranks * (groups + 1)) + floats(groups) + 2 * floats(ranks * piece * cols);
    };
    rows.sends = getRowBytes;
    records.push_back(rows);
  }

  Record squareSum = makeRecord("square_sum_shared");
  squareSum.scratch = [](const KernelQuery &query) {
    return doubles(llvm::divideCeil(query.getInt("count") / query.getInt("ranks"), 4096));
  };
  squareSum.table = [](const KernelQuery &query) {
    std::vector<int64_t> bounds;
    for (int64_t index = 0; index < 3 * query.getInt("ranges"); ++index)
      bounds.push_back(query.getInt("shared" + std::to_string(index)));
    return bounds;
  };
  records.push_back(squareSum);
}

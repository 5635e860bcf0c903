// Records of positions and attention.
#include "lib/Kernels/Cpu.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cpu;

/// The first key of every query, where there are documents.
static int64_t firstKeyBytes(const KernelQuery &query) {
  return query.has("documents") ? llvm::alignTo(4 * query.getInt("batch") * query.getInt("sequence"), 64) : 0;
}

/// The tables of a bias of every head.
static int64_t tableBytes(const KernelQuery &query) {
  int64_t chunks = query.getInt("chunks");
  return floats(query.getInt("batch") * query.getInt("heads") * chunks * chunks);
}

/// The record of attention whose scores get a bias, with tables of it in scratch.
static Record makeBiased(const Record &plain, llvm::StringRef family, int64_t tables) {
  Record record = makeRecord(family);
  record.caches = plain.caches;
  record.scratch = [scratch = plain.scratch, tables](const KernelQuery &query) { return scratch(query) + tables * tableBytes(query); };
  return record;
}

void megacc::addAttentionRecords(std::vector<Record> &records) {
  Record rope = makeRecord("rope");
  rope.inPlace = {{"y", "x"}};
  records.push_back(rope);
  Record partial = makeRecord("partial_rope");
  partial.inPlace = rope.inPlace;
  records.push_back(partial);

  auto neverPacked = [](const KernelQuery &) { return std::vector<std::pair<std::string, int64_t>>{{"shared_dim", 0}}; };
  Record attention = makeRecord("attention");
  attention.tuning = neverPacked;
  attention.scratch = firstKeyBytes;
  attention.caches = {makeCache("lse", [](const KernelQuery &query) {
    return llvm::SmallVector<int64_t>{query.getInt("batch"), query.getInt("heads"), query.getInt("sequence")};
  })};
  records.push_back(attention);

  // delta, d_k and d_v of every query head, and lse where it is not cached.
  Record grad = makeRecord("attention_grad");
  grad.tuning = neverPacked;
  grad.scratch = [](const KernelQuery &query) {
    int64_t rows = query.getInt("batch") * query.getInt("heads") * query.getInt("sequence");
    return floats(rows) + floats(rows * query.getInt("qk_dim")) + floats(rows * query.getInt("v_dim")) +
           (query.has("lse") ? 0 : floats(rows)) + firstKeyBytes(query);
  };
  records.push_back(grad);

  // Scratch: the scores of a query for at most 32 tasks, which are 64 queries of a head, and the sum of every task.
  Record entropy = makeRecord("attention_entropy");
  entropy.scratch = [](const KernelQuery &query) {
    int64_t sequence = query.getInt("sequence"), tasks = query.getInt("batch") * query.getInt("heads") * tiles(sequence);
    return floats(std::min<int64_t>(tasks, 32) * sequence) + doubles(tasks);
  };
  records.push_back(entropy);
  records.push_back(makeBiased(attention, "biased_attention", 1));
  records.push_back(makeBiased(grad, "biased_attention_grad", 2));
}

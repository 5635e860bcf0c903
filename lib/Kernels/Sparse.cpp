// Records of attention to picked keys.
#include "lib/Kernels/Cpu.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cpu;

/// Tiles of 64 queries of a row, and how many of them have scratch of their own (runtime/kernels/sparse_attention/Support.h).
static int64_t countTiles(const KernelQuery &query) { return query.getInt("batch") * tiles(query.getInt("sequence")); }
static int64_t countLanes(const KernelQuery &query) { return std::min<int64_t>(countTiles(query), 32); }

void megacc::addSparseRecords(std::vector<Record> &records) {
  // Scratch: of every query of a lane its best keys and those of one more tile, with their scores.
  Record select = makeRecord("select_keys");
  select.scratch = [](const KernelQuery &query) { return doubles(countLanes(query) * 64 * (query.getInt("kept") + 256)); };
  records.push_back(select);

  // Scratch: probabilities of one query and head, in the backward their gradients too.
  Record attention = makeRecord("sparse_attention"), attentionGrad = makeRecord("sparse_attention_grad");
  attention.scratch = [](const KernelQuery &query) { return floats(countLanes(query) * query.getInt("kept")); };
  attentionGrad.scratch = [](const KernelQuery &query) {
    return 2 * floats(query.getInt("batch") * query.getInt("heads") * query.getInt("kept"));
  };
  records.push_back(attention);
  records.push_back(attentionGrad);

  // Scratch: values of one query and the sums of tiles; values of every row and head, and its part of d_index_k.
  Record kl = makeRecord("support_kl"), klGrad = makeRecord("support_kl_grad");
  kl.scratch = [](const KernelQuery &query) { return floats(2 * countLanes(query) * query.getInt("kept")) + doubles(countTiles(query)); };
  klGrad.scratch = [](const KernelQuery &query) {
    int64_t heads = query.getInt("batch") * query.getInt("index_heads");
    return floats(heads * query.getInt("kept")) + floats(heads * query.getInt("sequence") * query.getInt("index_dim"));
  };
  records.push_back(kl);
  records.push_back(klGrad);
}

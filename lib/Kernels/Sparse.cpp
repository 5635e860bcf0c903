// Records of attention to picked keys.
#include "lib/Kernels/Cpu.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cpu;

/// Tiles of 64 queries of a row, and how many of them have scratch of their own (runtime/kernels/sparse_attention/Support.h).
static int64_t countTiles(const KernelQuery &query) { return query.getInt("batch") * tiles(query.getInt("sequence")); }
static int64_t countLanes(const KernelQuery &query) { return std::min<int64_t>(countTiles(query), 32); }

/// Keys and values of all heads.
static int64_t packedBytes(const KernelQuery &query) {
  return floats(query.getInt("batch") * query.getInt("sequence") * query.getInt("heads") *
                (query.getInt("qk_dim") + query.getInt("v_dim")));
}

void megacc::addSparseRecords(std::vector<Record> &records) {
  // Scratch: of every query of a lane twice as many keys as it keeps and those of one tile, with their scores; the keys of a tile.
  Record select = makeRecord("select_keys");
  select.scratch = [](const KernelQuery &query) {
    return 2 * floats(countLanes(query) * 64 * (2 * query.getInt("kept") + 256)) + floats(countLanes(query) * query.getInt("dim") * 272);
  };
  records.push_back(select);

  // Scratch: probabilities of a query for every lane, and keys and values, those of a head together; in the backward probabilities and
  // their gradients for every head, and the gradients of keys and values too.
  Record attention = makeRecord("sparse_attention"), attentionGrad = makeRecord("sparse_attention_grad");
  attention.scratch = [](const KernelQuery &query) {
    return floats(std::min<int64_t>(countTiles(query) * query.getInt("heads"), 32) * query.getInt("kept")) + packedBytes(query);
  };
  attentionGrad.scratch = [](const KernelQuery &query) {
    return floats(2 * query.getInt("batch") * query.getInt("heads") * query.getInt("kept")) + 2 * packedBytes(query);
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

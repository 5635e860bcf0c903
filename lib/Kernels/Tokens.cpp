// Records of what a token takes from its neighbours.
#include "lib/Kernels/Cpu.h"
#include "megacc/Random.h"

using namespace megacc;
using namespace megacc::cpu;

/// Rows [order, size, bias, a multiplier per token back] of the n-gram tables (conventions 11.3). The query has `seed`, `count`, `longest`,
/// and an `order` and a `size` for each table, in order.
static std::vector<int64_t> makeNgramTable(const KernelQuery &query) {
  std::vector<int64_t> orders, sizes, table;
  for (const auto &[name, value] : query.ints) {
    if (name == "order")
      orders.push_back(value);
    if (name == "size")
      sizes.push_back(value);
  }
  uint64_t seed = uint64_t(query.getInt("seed")), longest = uint64_t(query.getInt("longest"));
  uint64_t multipliers = streamKey(seed, "ngram_hash.multipliers"), biases = streamKey(seed, "ngram_hash.bias");
  for (uint64_t j = 0; j < orders.size(); ++j) {
    table.insert(table.end(), {orders[j], sizes[j], int64_t(draw(biases, j) >> 33)});
    for (uint64_t i = 0; i < longest; ++i)
      table.push_back(int64_t(draw(multipliers, j * longest + i) >> 33 | 1));
  }
  return table;
}

/// Empty if there are as many orders and sizes as tables, and none is longer than the longest.
static std::string refuseNgrams(const KernelQuery &query) {
  int64_t count = query.getInt("count"), longest = query.getInt("longest"), orders = 0, sizes = 0;
  for (const auto &[name, value] : query.ints) {
    orders += name == "order";
    sizes += name == "size";
    if (name == "order" && value > longest)
      return "order is " + std::to_string(value) + ", at most " + std::to_string(longest);
  }
  if (!query.findInt("seed"))
    return "the integer seed is missing";
  if (orders != count || sizes != count)
    return "there are " + std::to_string(orders) + " orders and " + std::to_string(sizes) + " sizes, expected " + std::to_string(count);
  return "";
}

void megacc::addTokenRecords(std::vector<Record> &records) {
  Record ngrams = makeRecord("ngram_rows");
  ngrams.table = makeNgramTable;
  ngrams.refuses = refuseNgrams;
  records.push_back(ngrams);
  records.push_back(makeRecord("shift"));
  records.push_back(makeRecord("shift_targets"));
}

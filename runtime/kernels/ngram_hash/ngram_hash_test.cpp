#include "megacc/Random.h"
#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

/// 16 tables of the defaults: orders 2 and 3, eight heads, primes from 499800.
std::vector<int64_t> makeDefaultTables() {
  auto isPrime = [](int64_t n) {
    for (int64_t d = 2; d * d <= n; ++d)
      if (n % d == 0)
        return false;
    return true;
  };
  std::vector<int64_t> tables;
  for (int64_t n = 499800; tables.size() < 32; ++n)
    if (isPrime(n))
      tables.insert(tables.end(), {tables.size() < 16 ? 2 : 3, n});
  return tables;
}

std::vector<int32_t> findRows(int64_t batch, int64_t sequence, std::vector<int32_t> tokens, const std::vector<int32_t> &documents,
                              int64_t seed, int64_t longest, const std::vector<int64_t> &tables) {
  int64_t count = int64_t(tables.size()) / 2;
  std::vector<int32_t> rows(tokens.size() * count, -1);
  std::vector<int64_t> table; // conventions 11.3
  for (int64_t j = 0; j < count; ++j) {
    int64_t bias = int64_t(megacc::draw(megacc::streamKey(seed, "ngram_hash.bias"), j) >> 33);
    table.insert(table.end(), {tables[2 * j], tables[2 * j + 1], bias});
    for (int64_t i = 0; i < longest; ++i)
      table.push_back(int64_t(megacc::draw(megacc::streamKey(seed, "ngram_hash.multipliers"), j * longest + i) >> 33 | 1));
  }
  EXPECT_EQ(call("mg_ngram_rows", {{"ids", rows}, {"tokens", tokens}, Operand::documents(documents), {"table", table}},
                 {{"batch", batch}, {"sequence", sequence}, {"count", count}, {"longest", longest}}),
            0);
  return rows;
}

} // namespace

TEST(NgramRows, MatchesTheConventions) {
  std::vector<int64_t> tables = makeDefaultTables();
  EXPECT_EQ(tables.back(), 500041);
  std::vector<int32_t> rows = findRows(1, 3, {5, 9, 65535}, {}, 0, 3, tables);
  EXPECT_EQ(rows[0], 50998);
  EXPECT_EQ(rows[16], 70820);
  EXPECT_EQ(rows[32], 306473);
  EXPECT_EQ(rows[15], 7592608);
  EXPECT_EQ(rows[31], 7906708);
  EXPECT_EQ(rows[47], 7676569);
}

TEST(NgramRows, ARowAndADocumentBeginFromNothing) {
  std::vector<int64_t> tables = {2, 101, 4, 103};
  std::vector<int32_t> alone = findRows(1, 3, {7, 8, 9}, {}, 3, 4, tables);
  EXPECT_EQ(findRows(2, 3, {1, 2, 3, 7, 8, 9}, {}, 3, 4, tables)[6], alone[0]);
  std::vector<int32_t> packed = findRows(1, 6, {1, 2, 3, 7, 8, 9}, {4, 4, 4, 5, 5, 5}, 3, 4, tables);
  EXPECT_EQ(std::vector<int32_t>(packed.begin() + 6, packed.end()), alone);
  std::vector<int32_t> joined = findRows(1, 6, {1, 2, 3, 7, 8, 9}, {}, 3, 4, tables);
  EXPECT_NE(joined[6], packed[6]);
  for (int32_t row : joined)
    EXPECT_TRUE(row >= 0 && row < 204);
}

TEST(NgramRows, SameAtAnyNumberOfThreads) {
  std::vector<int32_t> tokens(2 * 700), first;
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = int32_t(i * 7919 % 1000);
  for (int threads : {1, 2, 3}) {
    mg_cpu_set_threads(threads);
    std::vector<int32_t> rows = findRows(2, 700, tokens, {}, 0, 3, makeDefaultTables());
    if (first.empty())
      first = rows;
    EXPECT_EQ(rows, first);
  }
}

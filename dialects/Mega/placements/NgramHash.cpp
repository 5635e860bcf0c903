// ngram_hash: hashed n-gram embeddings beside the token's (conventions section 11).
#include "dialects/Mega/placements/NgramHash.h"
#include "dialects/Mega/Spec.h"

#include <numeric>

namespace megacc::mega {

std::vector<int64_t> ngramSizes(const KeyValues &keys) {
  auto isPrime = [](int64_t n) {
    for (int64_t d = 2; d * d <= n; ++d)
      if (n % d == 0)
        return false;
    return n > 1;
  };
  std::vector<int64_t> sizes;
  size_t tables = keys.getInts("orders").size() * keys.getInt("heads");
  for (int64_t n = keys.getInt("rows") - keys.getInt("rows") / 2500; sizes.size() < tables; ++n)
    if (isPrime(n))
      sizes.push_back(n);
  return sizes;
}

namespace {

/// The most tables: a prime is looked for each.
constexpr int64_t kMostTables = 1024;

void complete(KeyValues &keys, const Model &, const KeyValues &, ErrorAt error) {
  if (!keys.hasAll({"orders", "heads", "rows"}))
    return;
  int64_t orders = keys.getInts("orders").size(), heads = keys.getInt("heads"), rows = keys.getInt("rows");
  if (orders * heads > kMostTables) // mega.ngram_hash.c1
    error("heads") << orders << " orders times heads = " << heads << " are " << orders * heads << " tables, at most " << kMostTables
                   << "; fix: fewer heads";
  else if (orders * heads * rows > largestSize) // mega.ngram_hash.c2
    error("rows") << orders * heads << " tables of rows = " << rows << " are " << orders * heads * rows << " rows, at most " << largestSize
                  << "; fix: at most " << largestSize / (orders * heads) << " rows";
}

void addParameters(ParameterList &list, const KeyValues &keys) {
  std::vector<int64_t> sizes = ngramSizes(keys);
  list.setScope("ngram_hash.", -1);
  list.normal("table.weight", {std::accumulate(sizes.begin(), sizes.end(), int64_t(0)), keys.getInt("dim")});
  list.constant("proj.weight", {list.getModel().hidden, Size(sizes.size()) * keys.getInt("dim")}, 0)
      .matrix({{"proj", list.getModel().hidden}});
}

double flops(const Model &model, const KeyValues &keys) {
  return 2.0 * model.hidden * double(keys.getInts("orders").size() * keys.getInt("heads") * keys.getInt("dim"));
}

} // namespace

PlacementSpec ngramHashPlacement() {
  KeySpec orders = keys::list("orders", {2, 3});
  orders.most = 1024; // a table has a multiplier for each token of the longest
  return {.word = "ngram_hash",
          .role = Role::input,
          .keys = {orders, keys::integer("heads", 8), keys::integer("rows", 500000), keys::integer("dim", 16), keys::seed()},
          .complete = complete,
          .addParameters = addParameters,
          .flops = flops};
}

} // namespace megacc::mega

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

void addParameters(ParameterList &list, const KeyValues &keys) {
  std::vector<int64_t> sizes = ngramSizes(keys);
  list.setScope("ngram_hash.", -1);
  list.normal("table.weight", {std::accumulate(sizes.begin(), sizes.end(), int64_t(0)), keys.getInt("dim")});
  list.constant("proj.weight", {list.getModel().hidden, int64_t(sizes.size()) * keys.getInt("dim")}, 0);
}

double flops(const Model &model, const KeyValues &keys) {
  return 2.0 * model.hidden * double(keys.getInts("orders").size() * keys.getInt("heads") * keys.getInt("dim"));
}

} // namespace

PlacementSpec ngramHashPlacement() {
  return {.word = "ngram_hash",
          .role = Role::input,
          .keys = {keys::list("orders", {2, 3}), keys::integer("heads", 8), keys::integer("rows", 500000), keys::integer("dim", 16),
                   keys::seed()},
          .addParameters = addParameters,
          .flops = flops};
}

} // namespace megacc::mega

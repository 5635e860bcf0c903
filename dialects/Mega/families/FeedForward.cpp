#include "dialects/Mega/families/FeedForward.h"

namespace megacc::mega {

int64_t upMatrices(const std::string &activation) { return activation == "swiglu" ? 2 : 1; }

void addFeedForward(ParameterList &list, const std::string &prefix, Size width, const std::string &activation,
                    const std::vector<Size> &experts, double active_share) {
  int64_t hidden = list.getModel().hidden;
  std::vector<Size> up = experts, down = experts;
  up.insert(up.end(), {width * upMatrices(activation), hidden});
  down.insert(down.end(), {hidden, width});
  std::vector<Size> matrices(upMatrices(activation), width);
  unsigned first = experts.size();
  list.normal(prefix + "up.weight", up).split(MG_TP, first, matrices).active_share = active_share;
  list.normal(prefix + "down.weight", down, list.getDownDeviation()).split(MG_TP, first + 1, {width}).active_share = active_share;
}

} // namespace megacc::mega

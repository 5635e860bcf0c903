#include "dialects/Mega/families/FeedForward.h"

namespace megacc::mega {

int64_t upMatrices(const std::string &activation) { return activation == "swiglu" ? 2 : 1; }

void addFeedForward(ParameterList &list, const std::string &prefix, Size width, const std::string &activation,
                    const std::vector<Size> &experts, double active_share) {
  int64_t hidden = list.getModel().hidden;
  std::vector<Size> up = experts, down = experts;
  up.insert(up.end(), {width * upMatrices(activation), hidden});
  down.insert(down.end(), {hidden, width});
  std::vector<Segment> matrices = {{"up", width}};
  if (upMatrices(activation) == 2)
    matrices.insert(matrices.begin(), {"gate", width});
  Parameter &first = list.normal(prefix + "up.weight", up).matrix(matrices).splitSegments(MG_TP);
  first.active_share = active_share;
  if (!experts.empty())
    first.split(MG_EP, 0, experts);
  Parameter &second = list.normal(prefix + "down.weight", down, list.getDownDeviation());
  second.matrix({{"down", hidden}}).split(MG_TP, experts.size() + 1, {width}).active_share = active_share;
  if (!experts.empty())
    second.split(MG_EP, 0, experts);
}

} // namespace megacc::mega

// Records of routed experts.
#include "lib/Kernels/Cpu.h"

using namespace megacc;
using namespace megacc::cpu;

void megacc::addExpertRecords(std::vector<Record> &records) {
  // Scratch: scores, preferences and counts of every tile of tokens.
  Record route = makeRecord("moe_route");
  route.refuses = [](const KernelQuery &query) -> std::string {
    if (query.has("bias") == (query.getInt("sigmoid") != 0))
      return "";
    return query.has("bias") ? "there is a bias, but sigmoid is 0" : "sigmoid is 1, but there is no bias";
  };
  route.scratch = [](const KernelQuery &query) {
    int64_t count = tiles(query.getInt("rows")), experts = query.getInt("experts");
    return 2 * floats(count * experts) + floats(count * (experts + (query.getInt("nulls") > 0)));
  };
  records.push_back(route);
  // Scratch: sums and scores of every tile of tokens.
  Record statistics = makeRecord("moe_statistics");
  statistics.scratch = [](const KernelQuery &query) {
    int64_t count = tiles(query.getInt("rows")), experts = query.getInt("experts");
    return doubles(count * (experts + 1)) + floats(count * experts);
  };
  records.push_back(statistics);
  records.push_back(makeRecord("moe_losses"));
  records.push_back(makeRecord("moe_route_grad"));

  records.push_back(makeRecord("moe_count_picks"));
  records.push_back(makeRecord("moe_bias_update"));

  records.push_back(makeRecord("moe_dispatch"));
  records.push_back(makeRecord("moe_combine"));
  addWithAddend(records, makeRecord("moe_combine"), "y");
  records.push_back(makeRecord("moe_dispatch_weights"));
  records.push_back(makeRecord("moe_dispatch_weights_grad"));

  records.push_back(makeRecord("grouped_linear"));
  records.push_back(makeRecord("grouped_linear_grad_input"));
  addWithAccumulation(records, makeRecord("grouped_linear_grad_weight"), "d_weight");
}

// Records of residuals of several streams and of blocks that some tokens enter.
#include "lib/Kernels/Cpu.h"

using namespace megacc;
using namespace megacc::cpu;

/// The kernels keep a token's maps, and what the iterations divided by, in arrays of these sizes.
static std::string refuseStreams(const KernelQuery &query) {
  for (auto [name, most] : {std::pair<const char *, int64_t>{"streams", 16}, {"iterations", 64}})
    if (std::optional<int64_t> value = query.findInt(name); value && *value > most)
      return std::string(name) + " is " + std::to_string(*value) + ", at most " + std::to_string(most);
  return "";
}

void megacc::addStreamRecords(std::vector<Record> &records) {
  Record read = makeRecord("mhc_read"), readGrad = makeRecord("mhc_read_grad");
  read.refuses = readGrad.refuses = refuseStreams;
  records.push_back(read);
  // Scratch: sums of the bias' gradient over every tile of tokens.
  readGrad.scratch = [](const KernelQuery &query) {
    int64_t streams = query.getInt("streams");
    return floats(tiles(query.getInt("rows")) * streams * (streams + 2));
  };
  addWithAccumulation(records, readGrad, "d_bias");
  addWithAddend(records, Record(records.back()), "d_x");
  Record write = makeRecord("mhc_write"), writeGrad = makeRecord("mhc_write_grad");
  write.refuses = writeGrad.refuses = refuseStreams;
  writeGrad.inPlace = {{"d_x", "d_y"}};
  records.push_back(write);
  records.push_back(writeGrad);

  for (const char *family : {"mod_select", "mod_take", "mod_put", "mod_put_grad", "mod_loss_grad"})
    records.push_back(makeRecord(family));
  Record loss = makeRecord("mod_loss"); // scratch: the sum of every tile of tokens
  loss.scratch = [](const KernelQuery &query) { return floats(tiles(query.getInt("rows"))); };
  records.push_back(loss);
}

// Records of embeddings, norms, projections, pointwise.
#include "lib/Kernels/Cpu.h"

using namespace megacc;
using namespace megacc::cpu;

void megacc::addDenseRecords(std::vector<Record> &records) {
  records.push_back(makeRecord("embedding"));
  addWithAccumulation(records, makeRecord("embedding_grad"), "d_table");

  Record norm = makeRecord("rms_norm");
  norm.caches = {makeCache("rstd", [](const KernelQuery &query) { return llvm::SmallVector<int64_t>{query.getInt("rows")}; })};
  records.push_back(norm);
  records.push_back(makeAddNorm(norm));
  Record normGrad = makeRecord("rms_norm_grad");
  normGrad.scratch = [](const KernelQuery &query) { return floats(tiles(query.getInt("rows")) * query.getInt("cols")); };
  addWithAccumulation(records, normGrad, "d_weight");
  addWithAddend(records, Record(records.back()), "d_x");

  records.push_back(makeRecord("linear"));
  addWithAddend(records, makeRecord("linear"), "y");
  records.push_back(makeRecord("linear_grad_input"));
  addWithAddend(records, makeRecord("linear_grad_input"), "d_x");
  addWithAccumulation(records, makeRecord("linear_grad_weight"), "d_weight");

  records.push_back(makeRecord("layer_norm"));
  Record layerNormGrad = makeRecord("layer_norm_grad");
  layerNormGrad.scratch = [](const KernelQuery &query) { return 2 * floats(tiles(query.getInt("rows")) * query.getInt("cols")); };
  records.push_back(layerNormGrad);

  Record dyt = makeRecord("dyt"), dytGrad = makeRecord("dyt_grad"), scale = makeRecord("scale"), scaleGrad = makeRecord("scale_grad");
  dyt.inPlace = scale.inPlace = {{"y", "x"}};
  dytGrad.inPlace = scaleGrad.inPlace = {{"d_x", "d_y"}, {"d_x", "x"}};
  dytGrad.scratch = [](const KernelQuery &query) {
    return 2 * floats(tiles(query.getInt("rows")) * query.getInt("cols")) + doubles(tiles(query.getInt("rows")));
  };
  scaleGrad.scratch = [](const KernelQuery &query) { return floats(tiles(query.getInt("rows")) * query.getInt("scales")); };
  for (const Record &record : {dyt, dytGrad, scale, scaleGrad})
    records.push_back(record);

  Record add = makeRecord("add");
  add.inPlace = {{"y", "a"}, {"y", "b"}};
  records.push_back(add);

  records.push_back(makeRecord("activation"));
  Record activationGrad = makeRecord("activation_grad");
  activationGrad.inPlace = {{"d_x", "d_y"}, {"d_x", "x"}};
  activationGrad.refuses = [](const KernelQuery &query) -> std::string { return query.getInt("kind") == 3 ? "kind is 3, at most 2" : ""; };
  records.push_back(activationGrad);
  // swiglu: d_x has twice the width of d_y, so only x has room; each element is read before it is written.
  Record swigluGrad = makeRecord("activation_grad");
  swigluGrad.name = "cpu.activation_grad_swiglu";
  swigluGrad.inPlace = {{"d_x", "x"}};
  records.push_back(swigluGrad);

  // Rows that are scaled behind their activation, whose value the backward computes again.
  Record scaled = makeRecord("activation");
  scaled.name += "+row_scale";
  scaled.family += "+row_scale";
  scaled.renamed = {{"y", "row_scale.y"}, {"scale", "row_scale.scale"}};
  records.push_back(scaled);
  Record scaledGrad = makeRecord("activation_grad");
  scaledGrad.family = "activation+row_scale_grad+activation_grad";
  scaledGrad.name = "cpu." + scaledGrad.family;
  scaledGrad.repeated = 1;
  scaledGrad.renamed = {{"d_x", "activation_grad.d_x"},
                        {"d_scale", "row_scale_grad.d_scale"},
                        {"d_y", "row_scale_grad.d_y"},
                        {"scale", "row_scale_grad.scale"}};
  scaledGrad.same = {{"activation_grad.x", "x"}};
  records.push_back(scaledGrad);

  records.push_back(makeRecord("split"));
  records.push_back(makeRecord("concat"));
  records.push_back(makeRecord("repeat_groups"));
  addWithAddend(records, makeRecord("repeat_groups"), "y");
  records.push_back(makeRecord("sum_groups"));

  Record rowGate = makeRecord("row_gate"), rowGateGrad = makeRecord("row_gate_grad");
  rowGate.inPlace = {{"y", "x"}};
  rowGateGrad.inPlace = {{"d_x", "d_y"}};
  records.push_back(rowGate);
  records.push_back(rowGateGrad);
  Record rowScale = makeRecord("row_scale"), rowScaleGrad = makeRecord("row_scale_grad");
  rowScale.inPlace = {{"y", "x"}};
  rowScaleGrad.inPlace = {{"d_x", "d_y"}};
  records.push_back(rowScale);
  records.push_back(rowScaleGrad);
}

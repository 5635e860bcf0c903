#include "lib/Plan/MeshTable.h"

#include "dialects/Interfaces/Sharding.h"
#include "dialects/Rt/Rt.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Format.h"

using namespace mlir;

namespace megacc {

static std::string getShapeText(Type type) {
  std::string text;
  for (int64_t size : cast<RankedTensorType>(type).getShape())
    text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text;
}

/// "blocks.2.mixer.D" of the blocks of letter M is "M mixer.D".
static std::string getRowName(const mega::Model &model, rt::ParameterOp op) {
  int64_t slot = op.getBlock();
  StringRef name = op.getName();
  if (slot < 0 || slot >= int64_t(model.blocks.size()) || !name.consume_front("blocks." + std::to_string(slot) + "."))
    return op.getName().str();
  return (Twine(model.blocks[slot].letter) + " " + name).str();
}

/// "dp, ep": the axes of which ranks share the update.
static std::string getUpdate(rt::ParameterOp op) {
  std::string text;
  for (int64_t axis = 0; op.getSwept() && axis < MG_AXIS_COUNT; ++axis)
    if (op.getSwept()->front() >> axis & 1)
      text += (text.empty() ? "" : ", ") + getAxisName(axis).str();
  return text;
}

/// How far the ranks of an axis stand apart, the first and the last of them counted: tp varies first, then ep, then dp.
static int64_t getSpan(StringRef axis, const Plan::Mesh &mesh) {
  return mesh.tp * (axis == "tp" ? 1 : mesh.ep) * (axis == "dp" ? mesh.dp : 1);
}

Plan::Mesh gatherMesh(const mega::Model &model, ModuleOp launches, const Costs &costs) {
  Plan::Mesh mesh;
  const auto &ranks = model.train->mesh;
  mesh.dp = ranks[MG_DP], mesh.tp = ranks[MG_TP], mesh.ep = ranks[MG_EP];
  if (mesh.countRanks() == 1)
    return mesh;
  llvm::StringMap<size_t> rows;
  for (auto op : launches.getOps<rt::ParameterOp>()) {
    std::string name = getRowName(model, op);
    auto [row, isNew] = rows.try_emplace(name, mesh.parameters.size());
    if (isNew)
      mesh.parameters.push_back({name, getShapeText(op.getWhole().value_or(op.getType())), getShapeText(op.getType()),
                                 op.getSharding().value_or("").str(), 0, getUpdate(op)});
    ++mesh.parameters[row->second].count;
  }
  if (auto collectives = launches->getAttrOfType<ArrayAttr>("megacc.collectives"))
    for (auto entry : collectives.getAsRange<DictionaryAttr>()) {
      auto integer = [&](StringRef key) { return cast<IntegerAttr>(entry.get(key)).getInt(); };
      auto text = [&](StringRef key) { return cast<StringAttr>(entry.get(key)).getValue().str(); };
      std::string axis = text("axis");
      mesh.collectives.push_back({text("collective"), text("function"), axis, integer("launches"), integer("bytes"),
                                  costs.estimateSending(integer("launches"), integer("bytes"), getSpan(axis, mesh))});
    }
  return mesh;
}

void printMesh(const Plan::Mesh &mesh, llvm::raw_ostream &os) {
  os << "\nmesh dp = " << mesh.dp << ", tp = " << mesh.tp << ", ep = " << mesh.ep << ": " << mesh.countRanks() << " ranks\n";
  os << "  parameter                            blocks                 shape          of one rank  split as\n";
  for (const Plan::Mesh::Parameter &row : mesh.parameters) {
    os << "  " << llvm::left_justify(row.name, 36) << llvm::right_justify(row.count > 1 ? std::to_string(row.count) : "", 7)
       << llvm::right_justify(row.shape, 22) << llvm::right_justify(row.local, 21) << "  ";
    os << (row.sharding.empty() ? "on every rank" : row.sharding);
    os << (row.update.empty() ? "" : "; updated in parts over " + row.update) << "\n";
  }
  if (mesh.collectives.empty())
    return;
  os << "\n  a rank sends in a step                  axis      launches         MiB          ms\n";
  for (const Plan::Mesh::Collective &row : mesh.collectives)
    os << "  " << llvm::left_justify(row.collective + " in " + row.function, 40) << llvm::left_justify(row.axis, 4)
       << llvm::right_justify(std::to_string(row.launches), 14)
       << llvm::format("%12.3f%12.3f", double(row.bytes) / 0x1p20, row.milliseconds) << "\n";
}

} // namespace megacc

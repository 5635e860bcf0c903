#include "dialects/Mega/Parameters.h"
#include "dialects/Mega/Spec.h"

#include <cmath>

namespace megacc::mega {

int64_t Parameter::elements() const {
  Size count = 1;
  for (int64_t size : shape)
    count = count * size;
  return count.get();
}

Parameter &Parameter::matrix(std::vector<Segment> parts, Size runs) {
  segments = std::move(parts), repeats = runs.get();
  return *this;
}

Parameter &Parameter::splitSegments(int64_t axis) {
  unsigned rows = shape.size() - 2;
  if (repeats > 1) // whole heads
    return split(axis, rows, {Size(shape[rows])});
  std::vector<Piece> pieces;
  for (const Segment &segment : segments)
    pieces.push_back({segment.rows.get(), segment.block.get() ? segment.block.get() : segment.rows.get(), segment.share});
  return split(axis, rows, pieces);
}

Parameter &Parameter::split(int64_t axis, unsigned dim, llvm::ArrayRef<Size> sizes) {
  std::vector<Piece> pieces;
  for (Size size : sizes)
    pieces.push_back({size.get(), size.get(), Share::Split});
  return split(axis, dim, pieces);
}

Parameter &Parameter::split(int64_t axis, unsigned dim, llvm::ArrayRef<Piece> pieces) {
  sharding.axes[axis] = Spread::split(dim, pieces);
  return *this;
}

void ParameterList::setScope(std::string prefix, int64_t block) {
  scope = std::move(prefix);
  slot = block;
}

Parameter &ParameterList::add(const std::string &name, const std::vector<Size> &shape, std::string initializer, double a) {
  bool decays = shape.size() > 1;
  std::vector<int64_t> sizes;
  for (Size size : shape)
    sizes.push_back(size.get());
  all.push_back({scope + name, std::move(sizes), std::move(initializer), a, false, decays, true, 1.0, slot, {}});
  return all.back();
}

Parameter &ParameterList::normal(const std::string &name, const std::vector<Size> &shape, double deviation) {
  return add(name, shape, "normal", deviation);
}

Parameter &ParameterList::constant(const std::string &name, const std::vector<Size> &shape, double value) {
  return add(name, shape, "constant", value);
}

void ParameterList::addNorm(const std::string &name, bool attends) {
  constant(name + ".weight", {model.hidden}, 1);
  if (model.norm.kind == "rms")
    return;
  constant(name + ".bias", {model.hidden}, 0);
  constant(name + ".alpha", {1}, model.norm.keys.getFloat(attends ? "attention_alpha" : "alpha")).fp32 = true;
}

double ParameterList::getDownDeviation() const { return 0.02 / std::sqrt(double(model.depth)); }

void ParameterList::makeWhole(size_t first, int64_t axis) {
  for (Parameter &parameter : llvm::drop_begin(all, first))
    parameter.sharding.axes[axis] = Spread();
}

void addBlockParameters(ParameterList &list, const std::string &name, const Block &block) {
  auto addPlacements = [&](BlockPart part) {
    for (const PlacementSpec &spec : allPlacements())
      if (const Feature *feature = spec.part == part && spec.addBlockParameters ? block.find(spec.word) : nullptr)
        spec.addBlockParameters(list, block, *feature);
  };
  list.setScope(name + ".", block.slot);
  addPlacements(BlockPart::before);
  list.addNorm("norm", findFamily(block.kind)->attends);
  list.setScope(name + ".mixer.", block.slot);
  const FamilySpec &family = *findFamily(block.kind);
  size_t first = list.size();
  family.addParameters(list, block.keys);
  for (const MeshRule &rule : family.mesh)
    if (list.getModel().train && rule.or_whole && block.keys.getInt(rule.key) % list.getModel().train->mesh[rule.axis])
      list.makeWhole(first, rule.axis);
  addPlacements(BlockPart::mixer);
  list.setScope(name + ".", block.slot);
  addPlacements(BlockPart::after);
  if (double scale = list.getModel().layer_scale; scale != 0)
    list.constant("layer_scale", {list.getModel().hidden}, scale);
}

std::vector<Parameter> parameters(const Model &model) {
  ParameterList list(model);
  auto addPlacements = [&](Role role) {
    for (const PlacementSpec &spec : allPlacements())
      if (const Feature *feature = spec.role == role && spec.addParameters ? model.find(spec.word) : nullptr)
        spec.addParameters(list, feature->keys);
  };
  list.normal("embedding.weight", {model.vocab, model.hidden}).split(MG_TP, 0, {Size(model.vocab)});
  if (model.norm.kind == "dyt")
    list.constant("embedding.scale", {1}, std::sqrt(double(model.hidden))).fp32 = true;
  addPlacements(Role::input);
  for (const Block &block : model.blocks)
    addBlockParameters(list, "blocks." + std::to_string(block.slot), block);
  list.setScope("", -1);
  list.addNorm("final_norm");
  list.normal("head.weight", {model.vocab, model.hidden}).split(MG_TP, 0, {Size(model.vocab)});
  addPlacements(Role::objective);
  return list.take();
}

double blockFlops(const Model &model, const Block &block) {
  double flops = findFamily(block.kind)->flops(model, block.keys);
  for (const Feature &feature : block.features)
    if (auto with = findPlacement(feature.kind)->blockFlops)
      flops = with(model, block, feature, flops);
  return flops;
}

double outerFlops(const Model &model) {
  double flops = headFlops(model);
  for (const PlacementSpec &spec : allPlacements())
    if (const Feature *feature = spec.flops ? model.find(spec.word) : nullptr)
      flops += spec.flops(model, feature->keys);
  return flops;
}

double headFlops(const Model &model) { return 2.0 * double(model.hidden) * double(model.vocab); }

} // namespace megacc::mega

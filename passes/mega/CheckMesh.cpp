#include "passes/mega/CheckMesh.h"

#include "dialects/Mega/Spec.h"
#include "dialects/Mega/Stack.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <functional>

using namespace mlir;

namespace megacc::mega {

namespace {
class MeshChecker {
public:
  MeshChecker(StackOp stack, TrainOp train, const Model &model, bool remarks)
      : stack(stack), train(train), model(model), ranks(model.train->mesh), remarks(remarks) {}

  bool run() {
    if (ranks[MG_EP] > 1 && !hasPartsOver(MG_EP)) // mega.mesh.c2
      error(getAxisLocation(MG_EP)) << getAxis(MG_EP) << " has nothing to share: no family of @" << model.name
                                    << " has experts; fix: ep = 1, and dp = " << ranks[MG_DP] * ranks[MG_EP] << " for as many ranks";
    int64_t data = ranks[MG_DP] * ranks[MG_EP], rows = model.train->micro_batch;
    if (rows % data) // mega.mesh.c3
      error(keyLocation(train, "micro_batch")) << "micro_batch = " << rows << " rows cannot be shared by dp * ep = " << data
                                               << " ranks; fix: micro_batch = " << nearest(rows, data) << ", or " << getLegal(MG_DP, rows);
    if (ranks[MG_TP] > 1 && model.train->muon) // mega.mesh.c1
      error(getAxisLocation(MG_TP)) << "muon with " << getAxis(MG_TP)
                                    << ", which cuts its matrices, is not supported yet; fix: tp = 1, or optimizer = adamw<...>";
    if (model.train->zero && model.train->muon) // mega.mesh.c7
      error(getAxisLocation("zero")) << "muon with zero = 1, which gives ranks ranges of elements and not whole matrices, is not supported"
                                     << " yet; fix: zero = 0, or optimizer = adamw<...>";
    if (model.train->zero && data == 1) // mega.mesh.c8
      error(getAxisLocation("zero")) << "zero = 1 has no ranks that could share the optimizer's state: dp * ep = 1; fix: zero = 0, "
                                        "or dp = 2";
    for (auto [number, intervention] : llvm::enumerate(model.train->interventions)) {
      auto at = keyLocation(train, "interventions." + std::to_string(number));
      if (ranks[MG_TP] > 1) // mega.mesh.c9
        emitError(at) << intervention.kind << " with " << getAxis(MG_TP)
                      << ", which cuts its matrices, is not supported yet; fix: tp = 1, or no " << intervention.kind;
      else if (ranks[MG_EP] > 1 && intervention.kind == "redo") // mega.mesh.c10
        emitError(at) << "redo with " << getAxis(MG_EP) << ", which shares experts that it judges, is not supported yet; fix: ep = 1, or "
                      << "no redo";
      good &= ranks[MG_TP] == 1 && (ranks[MG_EP] == 1 || intervention.kind != "redo");
    }
    if (int64_t tp = ranks[MG_TP]; model.vocab % tp) // mega.mesh.c4
      error(keyLocation(stack, "vocab")) << "vocab = " << model.vocab << " cannot be shared by " << getAxis(MG_TP)
                                         << " ranks; fix: pad it, vocab = " << llvm::alignTo(model.vocab, tp) << " ("
                                         << getCost([&](Model &other) { other.vocab = llvm::alignTo(model.vocab, tp); }) << "), or "
                                         << getLegal(MG_TP, model.vocab);
    if (int64_t tp = ranks[MG_TP], tokens = rows / data * model.sequence;
        model.train->sequence_parallel && rows % data == 0 && tokens % tp) // mega.mesh.c6
      error(keyLocation(train, "sequence_parallel"))
          << "sequence_parallel: the " << tokens << " tokens of a rank (micro_batch = " << rows << " of sequence = " << model.sequence
          << " over dp * ep = " << data << ") cannot be shared by " << getAxis(MG_TP)
          << " ranks; fix: sequence = " << nearest(model.sequence, tp) << ", or micro_batch = " << llvm::alignTo(rows, data * tp) << ", or "
          << getLegal(MG_TP, tokens) << ", or sequence_parallel = false";
    for (auto family : stack.getBody().getOps<FamilyOp>())
      checkFamily(family);
    for (auto place : stack.getBody().getOps<PlaceOp>())
      checkPlacement(place);
    return good;
  }

private:
  InFlightDiagnostic error(Location where) {
    good = false;
    return emitError(where);
  }

  Location getAxisLocation(StringRef key) { return keyLocation(train, ("mesh." + key).str()); }
  Location getAxisLocation(int64_t axis) { return keyLocation(train, ("mesh." + getAxisName(axis)).str()); }
  std::string getAxis(int64_t axis) const { return (getAxisName(axis) + " = " + Twine(ranks[axis])).str(); }

  bool hasPartsOver(int64_t axis) const {
    return llvm::any_of(model.families, [&](const auto &entry) {
      return llvm::any_of(findFamily(entry.second.first)->mesh, [&](const MeshRule &rule) { return rule.axis == axis; });
    });
  }

  /// Sets a key in the families or placements of a model.
  using SetKey = std::function<void(Model &, llvm::StringRef key, int64_t value)>;

  void checkFamily(FamilyOp op) {
    char letter = op.getLetter().front();
    const auto &[kind, keys] = model.families.at(letter);
    const FamilySpec &spec = *findFamily(kind);
    auto set = [letter](Model &changed, llvm::StringRef key, int64_t value) {
      changed.families[letter].second.set(key.str(), value);
      for (Block &block : changed.blocks)
        if (block.letter == letter)
          block.keys.set(key.str(), value);
    };
    checkRules(op, ("\"" + op.getLetter() + "\"").str(), spec.mesh, spec.keys, keys, set);
  }

  void checkPlacement(PlaceOp op) {
    const Feature *feature = model.find(op.getKind().getWord());
    if (!feature)
      return;
    const PlacementSpec &spec = *findPlacement(feature->kind);
    auto set = [&](Model &changed, llvm::StringRef key, int64_t value) {
      for (Feature &other : changed.placements)
        if (other.kind == feature->kind)
          other.keys.set(key.str(), value);
    };
    checkRules(op, feature->kind, spec.mesh, spec.keys, feature->keys, set);
  }

  void checkRules(Operation *op, const std::string &owner, llvm::ArrayRef<MeshRule> rules, const std::vector<KeySpec> &specs,
                  const KeyValues &keys, const SetKey &set) {
    for (const MeshRule &rule : rules) {
      int64_t size = keys.getInt(rule.key);
      if (size % ranks[rule.axis] == 0)
        continue;
      bool isGiven = llvm::any_of(specs, [&](const KeySpec &key) { return key.name == rule.key; });
      if (rule.or_whole) {
        if (remarks)
          emitRemark(keyLocation(op, rule.key))
              << rule.key << " = " << size << " of " << owner << " cannot be split over " << getAxis(rule.axis)
              << ": each rank has all of it; " << getSizes(rule, size, set) << " would be split";
        continue;
      }
      auto diagnostic = error(isGiven ? keyLocation(op, rule.key) : opLocation(op)); // mega.mesh.c5
      diagnostic << rule.key << " = " << size << " of " << owner << " cannot be split over " << getAxis(rule.axis) << "; fix: ";
      if (isGiven)
        diagnostic << getSizes(rule, size, set) << ", or ";
      diagnostic << getLegal(rule.axis, size);
    }
  }

  /// The sizes on either side that the ranks share evenly, with their cost.
  std::string getSizes(const MeshRule &rule, int64_t size, const SetKey &set) const {
    std::string text;
    int64_t count = ranks[rule.axis];
    for (int64_t other : {size / count * count, int64_t(llvm::alignTo(size, count))})
      if (other > 0)
        text += (text.empty() ? "" : " or ") + rule.key + " = " + std::to_string(other) + " (" +
                getCost([&](Model &changed) { set(changed, rule.key, other); }) + ")";
    return text;
  }

  /// What the change does to the fp32 values, gradients and moments of a rank.
  std::string getCost(llvm::function_ref<void(Model &)> change) const {
    Model other = model;
    change(other);
    double bytes = 16.0 * (countLocal(other) - countLocal(model));
    return llvm::formatv("{0}{1:f1} MiB of state a rank", bytes < 0 ? "-" : "+", std::abs(bytes) / 0x1p20).str();
  }

  double countLocal(const Model &of) const {
    double count = 0;
    for (const Parameter &parameter : parameters(of)) {
      double local = parameter.elements();
      for (auto [spread, size] : llvm::zip(parameter.sharding.axes, ranks))
        if (spread.kind == Share::Split)
          local *= getShare(spread.pieces, size);
      count += local;
    }
    return count;
  }

  /// Of the pieces of a dimension, also where they are not shared evenly.
  static double getShare(llvm::ArrayRef<Piece> pieces, int64_t count) {
    double all = 0, local = 0;
    for (const Piece &piece : pieces) {
      all += double(piece.size);
      local += double(piece.size) / (piece.share == Share::Split ? double(count) : 1.0);
    }
    return local / all;
  }

  static std::string nearest(int64_t size, int64_t count) {
    int64_t below = size / count * count, above = llvm::alignTo(size, count);
    return (below ? std::to_string(below) + " or " : std::string()) + std::to_string(above);
  }

  /// "tp = 4": the most ranks below that share a size evenly.
  std::string getLegal(int64_t axis, int64_t size) const {
    int64_t count = ranks[axis];
    while (count > 1 && size % count)
      --count;
    if (count == ranks[axis])
      count = 1;
    return (getAxisName(axis) + " = " + Twine(count)).str();
  }

  StackOp stack;
  TrainOp train;
  const Model &model;
  std::array<int64_t, MG_AXIS_COUNT> ranks;
  bool remarks;
  bool good = true;
};
} // namespace

bool checkMesh(StackOp stack, TrainOp train, bool remarks) {
  bool good = true;
  for (const Model &model : readStacks(stack->getParentOfType<ModuleOp>()))
    if (model.name == stack.getSymbol() && model.name == train.getModel() && model.train)
      good &= MeshChecker(stack, train, model, remarks).run();
  return good;
}

} // namespace megacc::mega

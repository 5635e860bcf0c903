#include "dialects/Mega/Matrices.h"

#include <algorithm>

namespace megacc::mega {

std::vector<Pieces> cutRows(const Parameter &parameter, llvm::StringRef split) {
  if (parameter.segments.empty())
    return {};
  int64_t rows = parameter.shape[parameter.shape.size() - 2], stride = rows / parameter.repeats, first = 0;
  if (split == "none")
    return {{0, rows, rows, rows}};
  std::vector<Pieces> pieces;
  for (const Segment &segment : parameter.segments) {
    int64_t size = segment.rows.get(), head = split == "heads" ? segment.head.get() : 0;
    if (!head)
      pieces.push_back({first, size, stride, size * parameter.repeats});
    else if (parameter.repeats == 1)
      pieces.push_back({first, head, head, head, size / head, head});
    else
      for (int64_t row = 0; row < size; row += head)
        pieces.push_back({first + row, head, head, head, parameter.repeats, stride});
    first += size;
  }
  return pieces;
}

/// '*' is any run of characters, everything else itself.
static bool matchesGlob(llvm::StringRef glob, llvm::StringRef text) {
  llvm::SmallVector<llvm::StringRef> parts;
  glob.split(parts, '*');
  if (parts.size() == 1)
    return glob == text;
  if (!text.consume_front(parts.front()) || !text.consume_back(parts.back()))
    return false;
  for (llvm::StringRef part : llvm::ArrayRef(parts).drop_front().drop_back()) {
    size_t at = text.find(part); // the leftmost leaves most for the others
    if (at == llvm::StringRef::npos)
      return false;
    text = text.drop_front(at + part.size());
  }
  return true;
}

bool matchesKey(const Model &model, llvm::StringRef pattern, llvm::StringRef key) {
  if (pattern.size() < 2 || pattern[1] != ':')
    return matchesGlob(pattern, key);
  return llvm::any_of(model.blocks, [&](const Block &block) {
    llvm::StringRef inside = key;
    return block.letter == pattern[0] && inside.consume_front("blocks." + std::to_string(block.slot) + ".") &&
           matchesGlob(pattern.drop_front(2), inside);
  });
}

std::vector<std::string> findUnmatched(const Model &model, llvm::ArrayRef<std::string> patterns) {
  std::vector<std::string> unmatched;
  const std::vector<Parameter> all = parameters(model);
  for (const std::string &pattern : patterns)
    if (llvm::none_of(all, [&](const Parameter &each) { return !each.segments.empty() && matchesKey(model, pattern, each.name); }))
      unmatched.push_back(pattern);
  return unmatched;
}

/// Whether [LETTER:]GLOB[#SEGMENT] takes a segment of a matrix.
static bool takesSegment(const Model &model, llvm::StringRef pattern, llvm::StringRef key, llvm::StringRef segment) {
  auto [matrix, name] = pattern.split('#');
  return matchesKey(model, matrix, key) && (name == segment || !pattern.contains('#'));
}

/// Hidden layers are known by the key of what leads into them.
static bool canChange(const Intervention &intervention, const Parameter &parameter) {
  return !parameter.segments.empty() && (intervention.kind != "redo" || llvm::StringRef(parameter.name).ends_with(".up.weight"));
}

std::vector<Target> findTargets(const Model &model, const Intervention &intervention) {
  std::vector<Target> targets;
  for (const Parameter &parameter : parameters(model)) {
    if (!canChange(intervention, parameter))
      continue;
    Target target = {parameter, {}};
    std::vector<Pieces> pieces = cutRows(parameter, "segments");
    for (size_t index = 0; index < pieces.size(); ++index) {
      auto takes = [&](llvm::StringRef list) {
        return llvm::any_of(intervention.keys.getTexts(list), [&](const std::string &pattern) {
          return takesSegment(model, pattern, parameter.name, parameter.segments[index].name);
        });
      };
      if (takes("on") && !takes("except"))
        target.pieces.push_back(pieces[index]);
    }
    if (!target.pieces.empty())
      targets.push_back(std::move(target));
  }
  return targets;
}

std::vector<std::string> findUnmatched(const Model &model, const Intervention &intervention, llvm::ArrayRef<std::string> patterns) {
  std::vector<std::string> unmatched;
  std::vector<Parameter> all = parameters(model);
  for (const std::string &pattern : patterns)
    if (llvm::none_of(all, [&](const Parameter &parameter) {
          return canChange(intervention, parameter) && llvm::any_of(parameter.segments, [&](const Segment &segment) {
                   return takesSegment(model, pattern, parameter.name, segment.name);
                 });
        }))
      unmatched.push_back(pattern);
  return unmatched;
}

std::set<std::string> findMuonMatrices(const Model &model) {
  std::set<std::string> names;
  if (model.train && model.train->muon)
    for (const Parameter &parameter : parameters(model))
      if (!parameter.segments.empty() &&
          llvm::none_of(model.train->muon->except, [&](const std::string &pattern) { return matchesKey(model, pattern, parameter.name); }))
        names.insert(parameter.name);
  return names;
}

double muonFlops(int64_t rows, int64_t columns, int64_t iterations) {
  double shorter = double(std::min(rows, columns)), longer = double(std::max(rows, columns));
  return double(iterations) * (4 * shorter * shorter * longer + 2 * shorter * shorter * shorter);
}

MuonWork countMuonWork(const Model &model) {
  MuonWork work;
  std::set<std::string> names = findMuonMatrices(model);
  for (const Parameter &parameter : parameters(model)) {
    if (!names.count(parameter.name))
      continue;
    int64_t columns = parameter.shape.back(), experts = parameter.shape.size() == 3 ? parameter.shape.front() : 1;
    ++work.matrices, work.parameters += parameter.elements();
    for (const Pieces &piece : cutRows(parameter, model.train->muon->split)) {
      work.pieces += experts * piece.count;
      work.flops += double(experts * piece.count) * muonFlops(piece.rows, columns, model.train->muon->iterations);
    }
  }
  return work;
}

} // namespace megacc::mega

// structure: embeddings of where a token stands in its syntax tree (conventions section 11).
#include "dialects/Mega/Spec.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <numeric>

namespace megacc::mega {
namespace {

struct Component {
  llvm::StringRef name;
  int64_t size; // rows of its table
};
constexpr Component kComponents[] = {{"structure", 9}, {"dep_level", 16}, {"ast_depth", 64}, {"sibling_index", 64}, {"ast_node_type", 256}};

/// The components asked for, as written but for blanks: "core" are the first two, "all" every one.
llvm::SmallVector<llvm::StringRef> getNames(const KeyValues &keys) {
  llvm::SmallVector<llvm::StringRef> names;
  llvm::StringRef text = llvm::StringRef(keys.getText("components")).trim();
  if (text == "core" || text == "all") {
    for (const Component &component : llvm::ArrayRef(kComponents).take_front(text == "core" ? 2 : std::size(kComponents)))
      names.push_back(component.name);
    return names;
  }
  text.split(names, ',');
  for (llvm::StringRef &name : names)
    name = name.trim();
  return names;
}

void check(const KeyValues &keys, const Model &, ErrorAt error) {
  if (!keys.has("components"))
    return;
  llvm::SmallVector<llvm::StringRef> known, parts = getNames(keys);
  for (const Component &component : kComponents)
    known.push_back(component.name);
  for (auto [index, part] : llvm::enumerate(parts)) {
    if (!llvm::is_contained(known, part)) // mega.structure.c1
      error("components") << "there is no component '" << part << "'; " << suggest(part, known);
    else if (llvm::is_contained(llvm::ArrayRef(parts).take_front(index), part)) // mega.structure.c2
      error("components") << "component '" << part << "' is given twice; fix: remove one";
  }
  size_t count = parts.size(), sizes = keys.getInts("sizes").size();
  if (sizes > count) // mega.structure.c3
    error("sizes") << sizes << " sizes for " << count << " components; fix: give at most " << count;
}

/// Rows of the table of each component in use.
std::vector<int64_t> getSizes(const KeyValues &keys) {
  llvm::SmallVector<llvm::StringRef> names = getNames(keys);
  std::vector<int64_t> sizes;
  const std::vector<int64_t> &given = keys.getInts("sizes");
  for (const Component &component : kComponents)
    if (llvm::is_contained(names, component.name))
      sizes.push_back(sizes.size() < given.size() ? given[sizes.size()] : component.size);
  return sizes;
}

void addParameters(ParameterList &list, const KeyValues &keys) {
  std::vector<int64_t> sizes = getSizes(keys);
  list.setScope("structure.", -1);
  list.normal("table.weight", {std::accumulate(sizes.begin(), sizes.end(), int64_t(0)), keys.getInt("dim")});
  list.constant("scale", {int64_t(sizes.size())}, 1.0 / sizes.size());
  list.constant("proj.weight", {list.getModel().hidden, keys.getInt("dim")}, 0);
}

} // namespace

PlacementSpec structurePlacement() {
  KeySpec sizes = keys::list("sizes", {});
  sizes.may_be_empty = true;
  return {.word = "structure",
          .role = Role::input,
          .keys = {keys::text("components", "core"), keys::integer("dim", 64), sizes},
          .check = check,
          .addParameters = addParameters,
          .flops = [](const Model &model, const KeyValues &keys) { return 2.0 * model.hidden * keys.getInt("dim"); }};
}

} // namespace megacc::mega

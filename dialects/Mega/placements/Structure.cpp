// structure: embeddings of where a token stands in its syntax tree (conventions section 11).
#include "dialects/Mega/placements/Structure.h"
#include "dialects/Mega/Spec.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

namespace megacc::mega {
namespace {

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

} // namespace

std::vector<Component> structureComponents(const KeyValues &keys) {
  llvm::SmallVector<llvm::StringRef> names = getNames(keys);
  std::vector<Component> components;
  const std::vector<int64_t> &given = keys.getInts("sizes");
  for (const Component &component : kComponents)
    if (llvm::is_contained(names, component.name))
      components.push_back({component.name, components.size() < given.size() ? given[components.size()] : component.size});
  return components;
}

namespace {

/// Spells out the components and all sizes, which a run compares with its data.
void complete(KeyValues &keys, const Model &, const KeyValues &, ErrorAt) {
  if (!keys.hasAll({"components", "sizes"}))
    return;
  llvm::SmallVector<llvm::StringRef> names;
  std::vector<int64_t> sizes;
  for (const Component &component : structureComponents(keys))
    names.push_back(component.name), sizes.push_back(component.size);
  keys.set("components", llvm::join(names, ","));
  keys.set("sizes", sizes);
}

void addParameters(ParameterList &list, const KeyValues &keys) {
  std::vector<Component> components = structureComponents(keys);
  int64_t rows = 0, count = components.size();
  for (const Component &component : components)
    rows += component.size;
  list.setScope("structure.", -1);
  list.normal("table.weight", {rows, keys.getInt("dim")});
  list.constant("scale", {count}, 1.0 / count);
  list.constant("proj.weight", {list.getModel().hidden, keys.getInt("dim")}, 0).matrix({{"proj", list.getModel().hidden}});
}

} // namespace

PlacementSpec structurePlacement() {
  KeySpec sizes = keys::list("sizes", {});
  sizes.may_be_empty = true;
  return {.word = "structure",
          .role = Role::input,
          .keys = {keys::text("components", "core"), keys::integer("dim", 64), sizes},
          .check = check,
          .complete = complete,
          .addParameters = addParameters,
          .flops = [](const Model &model, const KeyValues &keys) { return 2.0 * model.hidden * keys.getInt("dim"); }};
}

} // namespace megacc::mega

// The kinds of families and placements, listed once, a line each. Their order is that of parameters and of lists in messages.
#include "dialects/Mega/Spec.h"

#include "llvm/ADT/STLExtras.h"

namespace megacc::mega {

// families/
FamilySpec attentionFamily();
FamilySpec mlaFamily();
FamilySpec moeFamily();
FamilySpec mlpFamily();
FamilySpec mamba3Family();
FamilySpec m2rnnFamily();
FamilySpec gatedDeltanetFamily();
FamilySpec conceptFamily();

// placements/
PlacementSpec ngramHashPlacement();
PlacementSpec structurePlacement();
PlacementSpec dsaPlacement();
PlacementSpec nopePlacement();
PlacementSpec relationBiasPlacement();
PlacementSpec engramPlacement();
PlacementSpec mhcPlacement();
PlacementSpec modPlacement();
PlacementSpec mtpPlacement();
PlacementSpec stpPlacement();

llvm::ArrayRef<FamilySpec> allFamilies() {
  static const FamilySpec all[] = {attentionFamily(), mlaFamily(),   moeFamily(),           mlpFamily(),
                                   mamba3Family(),    m2rnnFamily(), gatedDeltanetFamily(), conceptFamily()};
  return all;
}

llvm::ArrayRef<PlacementSpec> allPlacements() {
  static const PlacementSpec all[] = {ngramHashPlacement(), structurePlacement(), dsaPlacement(), nopePlacement(), relationBiasPlacement(),
                                      engramPlacement(),    mhcPlacement(),       modPlacement(), mtpPlacement(),  stpPlacement()};
  return all;
}

const FamilySpec *findFamily(llvm::StringRef word) {
  auto found = llvm::find_if(allFamilies(), [&](const FamilySpec &spec) { return spec.word == word; });
  return found == allFamilies().end() ? nullptr : found;
}

const PlacementSpec *findPlacement(llvm::StringRef word) {
  auto found = llvm::find_if(allPlacements(), [&](const PlacementSpec &spec) { return spec.word == word; });
  return found == allPlacements().end() ? nullptr : found;
}

const std::vector<KeySpec> *findKeys(llvm::StringRef word) {
  if (const FamilySpec *family = findFamily(word))
    return &family->keys;
  if (const PlacementSpec *placement = findPlacement(word))
    return &placement->keys;
  return findSettings(word);
}

} // namespace megacc::mega

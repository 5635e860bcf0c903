// The kinds of families and placements that are built.
#include "passes/train/Builders.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::step {

// families/
Value buildAttention(ForwardBuilder &builder, const mega::KeyValues &keys, Value n);
Value buildConcept(ForwardBuilder &builder, const mega::KeyValues &keys, Value n);
Value buildGatedDeltanet(ForwardBuilder &builder, const mega::KeyValues &keys, Value n);
Value buildM2rnn(ForwardBuilder &builder, const mega::KeyValues &keys, Value n);
Value buildMamba3(ForwardBuilder &builder, const mega::KeyValues &keys, Value n);
Value buildMla(ForwardBuilder &builder, const mega::KeyValues &keys, Value n);
Value buildMlp(ForwardBuilder &builder, const mega::KeyValues &keys, Value n);
Value buildMoe(ForwardBuilder &builder, const mega::KeyValues &keys, Value n);

// placements/
std::unique_ptr<BlockHooks> buildDsa(const mega::Feature &feature);
std::unique_ptr<BlockHooks> buildEngram(const mega::Feature &feature);
std::unique_ptr<BlockHooks> buildMhc(const mega::Feature &feature);
std::unique_ptr<BlockHooks> buildMod(const mega::Feature &feature);
std::unique_ptr<BlockHooks> buildNope(const mega::Feature &feature);
std::unique_ptr<BlockHooks> buildRelationBias(const mega::Feature &feature);
void buildMtp(ForwardBuilder &builder, const mega::Feature &feature, const Forward &forward);
Value buildNgramHash(ForwardBuilder &builder, const mega::Feature &feature, Value tokens);
void buildStp(ForwardBuilder &builder, const mega::Feature &feature, const Forward &forward);
Value buildStructure(ForwardBuilder &builder, const mega::Feature &feature, Value tokens);

FamilyBuilder findFamilyBuilder(StringRef kind) {
  static const std::pair<StringRef, FamilyBuilder> all[] = {{"attention", buildAttention},
                                                            {"concept", buildConcept},
                                                            {"gated_deltanet", buildGatedDeltanet},
                                                            {"m2rnn", buildM2rnn},
                                                            {"mamba3", buildMamba3},
                                                            {"mla", buildMla},
                                                            {"mlp", buildMlp},
                                                            {"moe", buildMoe}};
  auto found = llvm::find_if(all, [&](const auto &entry) { return entry.first == kind; });
  return found == std::end(all) ? nullptr : found->second;
}

const PlacementBuilder *findPlacementBuilder(StringRef kind) {
  static const std::pair<StringRef, PlacementBuilder> all[] = {
      {"dsa", {.block = buildDsa}},     {"engram", {.block = buildEngram}},
      {"mhc", {.block = buildMhc}},     {"mod", {.block = buildMod}},
      {"nope", {.block = buildNope}},   {"relation_bias", {.block = buildRelationBias}},
      {"mtp", {.objective = buildMtp}}, {"ngram_hash", {.input = buildNgramHash}},
      {"stp", {.objective = buildStp}}, {"structure", {.input = buildStructure}}};
  auto found = llvm::find_if(all, [&](const auto &entry) { return entry.first == kind; });
  return found == std::end(all) ? nullptr : &found->second;
}

} // namespace megacc::step

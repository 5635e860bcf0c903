#include "dialects/Mega/KeyTable.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>

namespace megacc::mega {
namespace keys {

KeySpec required(std::string name, int64_t least) { return {std::move(name), KeyType::integer, std::nullopt, true, {}, least}; }
KeySpec derived(std::string name, std::string otherwise, int64_t least) {
  return {.name = std::move(name), .type = KeyType::integer, .least = least, .otherwise = std::move(otherwise)};
}
KeySpec integer(std::string name, int64_t value, int64_t least) { return {std::move(name), KeyType::integer, value, false, {}, least}; }
KeySpec seed() { return {"seed", KeyType::integer, int64_t(0), false, {}, 0, std::numeric_limits<int64_t>::max()}; }
KeySpec number(std::string name, double value) { return {std::move(name), KeyType::number, value, false, {}, 0}; }
KeySpec flag(std::string name, bool value) { return {std::move(name), KeyType::boolean, value, false, {}, 0}; }
KeySpec text(std::string name, std::string value) { return {std::move(name), KeyType::string, value, false, {}, 0}; }
KeySpec list(std::string name, std::vector<int64_t> value) { return {std::move(name), KeyType::integers, value, false, {}, 1}; }
KeySpec word(std::string name, std::vector<std::string> words) { return {std::move(name), KeyType::word, words.front(), false, words, 0}; }
KeySpec table(std::string name, std::vector<std::string> kinds) {
  return {std::move(name), KeyType::table, std::nullopt, false, std::move(kinds), 0};
}
KeySpec activation() { return word("activation", {"gelu", "gelu_tanh", "relu2", "swiglu"}); }
KeySpec option(std::string name) { return {.name = std::move(name), .type = KeyType::boolean, .otherwise = "`false`"}; }
KeySpec gate() {
  return {.name = "gate", .type = KeyType::word, .words = {"none", "head", "channel"}, .otherwise = "`none`", .brief = true};
}

} // namespace keys

namespace {

struct Settings {
  std::string word;
  std::vector<KeySpec> keys;
};

/// A number in [0, highest] and a word of an intervention, whose errors have the words of the specification.
KeySpec share(const std::string &kind, std::string name, double value, double highest, const char *range) {
  KeySpec key = keys::number(name, value);
  key.refusal = kind + ": " + name + " is in [0, " + range + "]", key.highest = highest;
  return key;
}
KeySpec choice(const std::string &kind, std::string name, std::vector<std::string> words) {
  KeySpec key = keys::word(name, words);
  key.refusal = kind + ": " + name + " is one of " + llvm::join(words, " | ");
  return key;
}

/// When and where an intervention runs, before the keys that are its own.
Settings makeIntervention(std::string word, std::vector<KeySpec> own) {
  KeySpec at = keys::list("at", {}), every = keys::integer("every", 0, 0);
  at.refusal = word + ": at counts updates from 1 and ascends", at.may_be_empty = true;
  KeySpec on = {.name = "on", .type = KeyType::strings, .value = std::vector<std::string>{"*"}, .may_be_empty = true};
  KeySpec except = {.name = "except", .type = KeyType::strings, .value = std::vector<std::string>(), .may_be_empty = true};
  std::vector<KeySpec> all = {at, every, keys::integer("start", 0, 0), keys::integer("stop", 0, 0), on, except};
  all.insert(all.end(), own.begin(), own.end());
  return {std::move(word), std::move(all)};
}

std::vector<Settings> makeSettings() {
  using namespace keys;
  KeySpec lr = {"lr", KeyType::number, std::nullopt, true, {}, 0};
  KeySpec final_lr = {.name = "final", .type = KeyType::number, .otherwise = "lr / 10"};
  KeySpec alpha = number("alpha", 0.5);
  KeySpec attention_alpha = {.name = "attention_alpha", .type = KeyType::number, .positive = true, .otherwise = "alpha"};
  alpha.positive = true;
  KeySpec optimizer = {"optimizer", KeyType::table, std::nullopt, true, {"adamw", "muon"}, 0};
  optimizer.refusal = "optimizer is adamw<...> or muon<...>";
  KeySpec moments = word("moments", {"fp32", "bf16"});
  moments.refusal = "moments is fp32 or bf16";
  KeySpec iterations = integer("iterations", 5);
  iterations.refusal = "muon: iterations is at least 1";
  KeySpec split = word("split", {"segments", "heads", "none"});
  split.refusal = "muon: split is one of segments | heads | none";
  KeySpec except = {.name = "except", .type = KeyType::strings, .value = std::vector<std::string>(), .may_be_empty = true};
  KeySpec schedule = table("schedule", {"constant", "cosine"});
  KeySpec zero = integer("zero", 0, 0);
  zero.most = 1;
  KeySpec interventions = {.name = "interventions", .type = KeyType::tables, .words = {"fire", "dash", "redo"}, .otherwise = "none"};
  KeySpec fire_iterations = integer("iterations", 10), tokens = integer("tokens", 4096);
  fire_iterations.refusal = "fire: iterations is in [1, 20]", fire_iterations.most = 20;
  tokens.refusal = "redo: tokens is at least 1", tokens.most = std::numeric_limits<int64_t>::max();
  KeySpec memory = {.name = "memory", .type = KeyType::string, .otherwise = "no limit"};
  return {
      {"train",
       {required("micro_batch"), integer("accumulate", 1), word("precision", {"fp32", "bf16"}), seed(), number("clip", 1.0), optimizer,
        moments, interventions, table("mesh", {""}), memory, flag("documents", false), flag("sequence_parallel", false),
        word("recompute", {"auto", "none", "full"}), word("psiv_cache", {"off", "auto", "on"})}},
      {"adamw", {lr, number("beta1", 0.9), number("beta2", 0.95), number("eps", 1e-8), number("decay", 0.1), schedule}},
      {"muon",
       {lr, number("momentum", 0.95), flag("nesterov", true), iterations, number("rms", 0.2), split, except, number("beta1", 0.9),
        number("beta2", 0.95), number("eps", 1e-8), number("decay", 0.1), schedule}},
      makeIntervention("fire", {fire_iterations, choice("fire", "scale", {"norm", "shape"}), choice("fire", "moments", {"reset", "keep"})}),
      makeIntervention("dash", {choice("dash", "rule", {"clamp", "gentle"}), share("dash", "floor", 0.3, 1, "1"),
                                share("dash", "rate", 0.01, 0.5, "0.5"), share("dash", "margin", 0.05, 1, "1"),
                                choice("dash", "direction", {"moment", "gradient"}), choice("dash", "moments", {"keep", "reset"})}),
      makeIntervention("redo", {share("redo", "tau", 0.025, 1, "1"), tokens}),
      {"constant", {}},
      {"cosine", {integer("warmup", 0, 0), derived("steps", "the run's total"), final_lr}},
      {"rms", {}},
      {"dyt", {alpha, attention_alpha}},
      {"", {integer("dp", 1), integer("tp", 1), integer("ep", 1), zero}},
  };
}

} // namespace

const std::vector<KeySpec> *findSettings(llvm::StringRef word) {
  static const std::vector<Settings> all = makeSettings();
  auto found = llvm::find_if(all, [&](const Settings &settings) { return settings.word == word; });
  return found == all.end() ? nullptr : &found->keys;
}

llvm::StringRef explainMissingKey(llvm::StringRef table, llvm::StringRef key) {
  if (table == "train" && key == "gradients")
    return "gradients are accumulated in fp32; to save memory use moments = bf16, which is 4 bytes a parameter";
  return "";
}

/// Edits from one word to another; two neighbours swapped are one.
static unsigned getDistance(llvm::StringRef word, llvm::StringRef name, unsigned most) {
  size_t at = std::mismatch(word.begin(), word.end(), name.begin(), name.end()).first - word.begin();
  if (word.size() == name.size() && at + 1 < word.size() && word[at] == name[at + 1] && word[at + 1] == name[at] &&
      word.drop_front(at + 2) == name.drop_front(at + 2))
    return 1;
  return word.edit_distance(name, true, most);
}

std::string suggest(llvm::StringRef word, llvm::ArrayRef<llvm::StringRef> names) {
  std::string best;
  unsigned distance = 4;
  for (llvm::StringRef name : names)
    if (unsigned d = getDistance(word, name, distance); d < distance)
      best = name.str(), distance = d;
  return best.empty() ? "known: " + llvm::join(names, ", ") : "did you mean '" + best + "'?";
}

bool KeyValues::hasAll(std::initializer_list<llvm::StringRef> names) const {
  return llvm::all_of(names, [&](llvm::StringRef name) { return has(name); });
}

std::string shortText(double number) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%g", number);
  return text;
}

} // namespace megacc::mega

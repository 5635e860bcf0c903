// megacc-keys: prints the key tables in Markdown, for tools/make-references.
#include "dialects/Mega/Spec.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace megacc::mega;

namespace {

/// As a declaration writes it: a number has a point.
std::string printNumber(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%g", value);
  if (text.find('.') == std::string::npos)
    text.insert(std::min(text.find('e'), text.size()), ".0");
  return text;
}

std::string printDefault(const KeySpec &key) {
  if (key.required)
    return "required";
  if (key.type == KeyType::table)
    return key.words.front().empty() ? "all keys at their defaults" : "`" + key.words.front() + "`";
  if (!key.value)
    return key.otherwise;
  if (const auto *number = std::get_if<int64_t>(&*key.value))
    return "`" + std::to_string(*number) + "`";
  if (const auto *number = std::get_if<double>(&*key.value))
    return "`" + printNumber(*number) + "`";
  if (const auto *flag = std::get_if<bool>(&*key.value))
    return *flag ? "`true`" : "`false`";
  if (const auto *text = std::get_if<std::string>(&*key.value))
    return key.type == KeyType::word ? "`" + *text + "`" : "`\"" + *text + "\"`";
  if (const auto *texts = std::get_if<std::vector<std::string>>(&*key.value))
    return texts->empty() ? "`[]`" : "`[\"" + llvm::join(*texts, "\", \"") + "\"]`";
  std::string list;
  for (int64_t entry : std::get<std::vector<int64_t>>(*key.value))
    list += (list.empty() ? "" : ", ") + std::to_string(entry);
  return "`[" + list + "]`";
}

std::string printRange(const KeySpec &key) {
  std::string most = key.most == largestSize                           ? "2^31 - 1"
                     : key.most == std::numeric_limits<int64_t>::max() ? "2^63 - 1"
                                                                       : std::to_string(key.most);
  return "from " + std::to_string(key.least) + " to " + most;
}

std::string printType(const KeySpec &key) {
  switch (key.type) {
  case KeyType::integer:
    return "integer " + printRange(key);
  case KeyType::number:
    return key.positive                                       ? "number above 0"
           : key.highest == std::numeric_limits<float>::max() ? "number"
                                                              : "number from 0 to " + printNumber(key.highest);
  case KeyType::boolean:
    return "`true` or `false`";
  case KeyType::string:
    return "string";
  case KeyType::integers:
    return std::string(key.may_be_empty ? "list, may be empty, of integers " : "list of integers ") + printRange(key);
  case KeyType::strings:
    return "list, may be empty, of strings";
  case KeyType::word:
  case KeyType::table:
  case KeyType::tables:
    break;
  }
  bool has_keys = key.type == KeyType::table || key.type == KeyType::tables;
  std::string words = key.type == KeyType::tables ? "list of " : "";
  for (const std::string &word : key.words)
    words +=
        (&word == &key.words.front() ? "" : ", ") + (word.empty() ? std::string("`<...>`") : "`" + word + (has_keys ? "<...>" : "") + "`");
  return words;
}

void printKeys(llvm::StringRef title, const std::vector<KeySpec> &keys) {
  llvm::outs() << "\n### " << title << "\n\n";
  if (keys.empty()) {
    llvm::outs() << "It has no keys.\n";
    return;
  }
  llvm::outs() << "| key | value | default |\n|---|---|---|\n";
  for (const KeySpec &key : keys)
    llvm::outs() << "| `" << key.name << "` | " << printType(key) << " | " << printDefault(key) << " |\n";
}

} // namespace

int main() {
  llvm::outs() << "# Keys\n\nWhat may stand between the angle brackets of a declaration; `hidden` is the model's width. A number needs a "
                  "point: `3.0e-4`.\n\n## Families\n";
  for (const FamilySpec &family : allFamilies())
    printKeys(family.word, family.keys);
  llvm::outs() << "\n## Placements\n";
  for (const PlacementSpec &placement : allPlacements())
    printKeys(placement.word, placement.keys);
  llvm::outs()
      << "\n## Norms\n\nOn the first line of a model, `norm dyt<...>` in place of `norm rms`, which it has without; beside it there "
         "may be `layer_scale` with a number.\n";
  for (llvm::StringRef word : {"rms", "dyt"})
    printKeys(word, *findSettings(word));
  llvm::outs() << "\n## Training\n";
  for (llvm::StringRef word : {"train", "adamw", "muon", "fire", "dash", "redo", "constant", "cosine", ""})
    printKeys(word.empty() ? "mesh" : word == "train" ? "mega.train" : word, *findSettings(word));
  return 0;
}

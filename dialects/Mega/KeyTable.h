// The key tables: what may be written between the angle brackets of each kind (conventions section 15).
#pragma once
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace megacc::mega {

/// A typed value; words (keywords such as `gelu`) and strings are both text.
using Value = std::variant<int64_t, double, bool, std::string, std::vector<int64_t>, std::vector<std::string>>;

enum class KeyType { integer, number, boolean, word, string, integers, strings, table, tables };

/// Keeps products of a few sizes within 64 bits.
constexpr int64_t largestSize = (int64_t(1) << 31) - 1;

struct KeySpec {
  std::string name;
  KeyType type;
  std::optional<Value> value;     // default
  bool required = false;          // neither required nor default: follows from other sizes
  std::vector<std::string> words; // allowed words, or kinds of a table or of each of several; empty = any
  int64_t least = 0;              // smallest integer allowed, in a list too
  int64_t most = largestSize;     // largest
  bool may_be_empty = false;      // a list
  bool positive = false;          // a number above 0
  std::string otherwise = {};     // what is meant where neither the key nor a default is given, in words
  bool brief = false;             // a value out of range is answered with what is allowed alone
  std::string refusal = {};       // of a value that is not allowed, where it has words of its own; ", not <value>" follows
  double highest = std::numeric_limits<float>::max(); // number allowed
};

/// The common kinds of keys.
namespace keys {
KeySpec required(std::string name, int64_t least = 1);
/// An integer that follows from others unless it is given.
KeySpec derived(std::string name, std::string otherwise, int64_t least = 1);
KeySpec integer(std::string name, int64_t value, int64_t least = 1);
KeySpec seed();
KeySpec number(std::string name, double value);
KeySpec flag(std::string name, bool value);
KeySpec text(std::string name, std::string value);
KeySpec list(std::string name, std::vector<int64_t> value);
/// The first word is the default.
KeySpec word(std::string name, std::vector<std::string> words);
KeySpec table(std::string name, std::vector<std::string> kinds);
/// The activation of a feed-forward layer.
KeySpec activation();
/// A boolean that is false where it is not written, and then is no part of what a step knows of its declaration.
KeySpec option(std::string name);
/// The gate of the output of attention; none where it is not written, as option().
KeySpec gate();
} // namespace keys

/// Keys of the settings of a train block and of the tables inside them, the mesh under the empty word, and of the norms of a model; null
/// for an unknown word.
const std::vector<KeySpec> *findSettings(llvm::StringRef word);

/// Why a table of settings has no such key, where somebody might expect one; empty otherwise.
llvm::StringRef explainMissingKey(llvm::StringRef table, llvm::StringRef key);

/// Which of the names a misspelt word may have meant, for the end of an error.
std::string suggest(llvm::StringRef word, llvm::ArrayRef<llvm::StringRef> names);

/// Resolved keys of one kind, defaults filled in.
class KeyValues {
public:
  void set(llvm::StringRef name, Value value) { values[name.str()] = std::move(value); }
  bool has(llvm::StringRef name) const { return values.count(name.str()); }
  bool hasAll(std::initializer_list<llvm::StringRef> names) const;
  int64_t getInt(llvm::StringRef name) const { return get<int64_t>(name); }
  double getFloat(llvm::StringRef name) const { return get<double>(name); }
  bool getBool(llvm::StringRef name) const { return get<bool>(name); }
  const std::string &getText(llvm::StringRef name) const { return get<std::string>(name); }
  const std::vector<int64_t> &getInts(llvm::StringRef name) const { return get<std::vector<int64_t>>(name); }
  const std::vector<std::string> &getTexts(llvm::StringRef name) const { return get<std::vector<std::string>>(name); }
  const std::map<std::string, Value> &all() const { return values; }

private:
  template <typename T> const T &get(llvm::StringRef name) const {
    static const T none{};
    auto found = values.find(name.str());
    if (found == values.end())
      return none;
    const T *value = std::get_if<T>(&found->second);
    return value ? *value : none;
  }
  std::map<std::string, Value> values;
};

/// A number as errors show it, "0.95".
std::string shortText(double number);

} // namespace megacc::mega

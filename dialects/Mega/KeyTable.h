// The key tables: what may be written between the angle brackets of each kind (conventions section 15).
#pragma once
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace megacc::mega {

/// A typed value; words (keywords such as `gelu`) and strings are both text.
using Value = std::variant<int64_t, double, bool, std::string, std::vector<int64_t>>;

enum class KeyType { integer, number, boolean, word, string, integers, table };

struct KeySpec {
  std::string name;
  KeyType type;
  std::optional<Value> value;     // default
  bool required = false;          // neither required nor default: follows from other sizes
  std::vector<std::string> words; // allowed words, or kinds of a table; empty = any
  int64_t least = 0;              // smallest integer allowed
};

enum class Role { family, input, block, objective, settings };

struct KindSpec {
  std::string word;
  Role role;
  std::vector<std::string> families; // a block placement fits these families
  std::vector<KeySpec> keys;
};

/// All kinds; `findKind` returns null for an unknown word.
llvm::ArrayRef<KindSpec> allKinds();
const KindSpec *findKind(llvm::StringRef word);

/// Resolved keys of one kind, defaults filled in.
class KeyValues {
public:
  void set(llvm::StringRef name, Value value) { values[name.str()] = std::move(value); }
  bool has(llvm::StringRef name) const { return values.count(name.str()); }
  int64_t getInt(llvm::StringRef name) const { return get<int64_t>(name); }
  double getFloat(llvm::StringRef name) const { return get<double>(name); }
  bool getBool(llvm::StringRef name) const { return get<bool>(name); }
  const std::string &getText(llvm::StringRef name) const { return get<std::string>(name); }
  const std::vector<int64_t> &getInts(llvm::StringRef name) const { return get<std::vector<int64_t>>(name); }
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

} // namespace megacc::mega

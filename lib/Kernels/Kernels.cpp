// Matching queries with records.
#include "lib/Kernels/Kernels.h"
#include "lib/Kernels/cuda/Cuda.h"

#include "megacc/KernelSignatures.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace megacc {

const std::vector<Record> &allRecords() {
  static const std::vector<Record> records = [] {
    std::vector<Record> all;
    addStreamRecords(all);
    addTokenRecords(all);
    addDenseRecords(all);
    addAttentionRecords(all);
    addSparseRecords(all);
    addM2rnnRecords(all);
    addMamba3Records(all);
    addDeltanetRecords(all);
    addExpertRecords(all);
    addLossRecords(all);
    addPlacementRecords(all);
    addStateRecords(all);
    addCollectiveRecords(all);
    addPointwiseCudaRecords(all);
    addM2rnnCudaRecords(all);
    addMamba3CudaRecords(all);
    addDeltanetCudaRecords(all);
    addAttentionCudaRecords(all);
    addSparseCudaRecords(all);
    addLinearCudaRecords(all);
    addExpertCudaRecords(all);
    addLossCudaRecords(all);
    addPlacementCudaRecords(all);
    addStateCudaRecords(all);
    addStreamCudaRecords(all);
    addCollectiveCudaRecords(all);
    return all;
  }();
  return records;
}

const Record *findRecord(StringRef name) {
  for (const Record &record : allRecords())
    if (record.name == name)
      return &record;
  return nullptr;
}

std::optional<int64_t> getLaunchInt(const Record &record, const KernelQuery &query, StringRef name) {
  if (std::optional<int64_t> value = query.findInt(record.getQueryName(name)))
    return value;
  if (record.tuning)
    for (const auto &[key, value] : record.tuning(query))
      if (key == name)
        return value;
  return std::nullopt;
}

std::optional<double> getLaunchDouble(const Record &record, const KernelQuery &query, StringRef name) {
  for (const auto &[key, value] : query.doubles)
    if (key == record.getQueryName(name))
      return value;
  return std::nullopt;
}

static SmallVector<StringRef> splitWords(StringRef text) {
  SmallVector<StringRef> words;
  text.split(words, ' ', -1, /*KeepEmpty=*/false);
  return words;
}

namespace {
/// A line of kernels.def, cut once.
struct SignatureWords {
  struct Operand {
    StringRef role, name, typeClass;
  };
  SmallVector<Operand> operands;
  SmallVector<StringRef> ints, doubles;
};
} // namespace

static const SignatureWords *findWords(StringRef symbol) {
  static const StringMap<SignatureWords> table = [] {
    StringMap<SignatureWords> all;
    for (const KernelSignature &signature : kernelSignatures) {
      SignatureWords &words = all[signature.symbol];
      words.ints = splitWords(signature.ints), words.doubles = splitWords(signature.doubles);
      for (StringRef word : splitWords(signature.operands)) {
        auto [role, rest] = word.split(':');
        auto [name, typeClass] = rest.split(':');
        words.operands.push_back({role, name, typeClass});
      }
    }
    return all;
  }();
  auto found = table.find(symbol);
  return found == table.end() ? nullptr : &found->second;
}

static std::string print(mlir::Type type) {
  std::string text;
  raw_string_ostream(text) << type;
  return text;
}

/// Empty if the elements of an operand are of a class of kernels.def; on the cpu every `any` is fp32, but for moments, which are
/// stored as the declaration says.
static std::string checkType(const Record &record, const LaunchOperand &operand, StringRef typeClass) {
  mlir::Type type = operand.type.getElementType();
  bool takes_half =
      record.target != "cpu" || operand.kind == LaunchOperand::Kind::FirstMoment || operand.kind == LaunchOperand::Kind::SecondMoment;
  bool fits = typeClass == "any"   ? type.isF32() || (takes_half && type.isBF16())
              : typeClass == "f32" ? type.isF32()
              : typeClass == "f64" ? type.isF64()
              : typeClass == "i32" ? type.isInteger(32)
              : typeClass == "i64" ? type.isInteger(64)
                                   : type.isBF16();
  if (fits)
    return "";
  StringRef expected = typeClass != "any" ? typeClass : takes_half ? "f32 or bf16" : "f32";
  return "operand " + operand.name + " is " + print(type) + ", expected " + expected.str();
}

/// Empty if the query has what the kernel's line of kernels.def asks for, else the first difference.
static std::string checkSignature(const Record &record, const KernelQuery &query) {
  const SignatureWords *signature = findWords(record.symbol);
  if (!signature)
    return record.symbol + " is not in kernels.def";

  SmallVector<StringRef> known;
  for (auto [role, ours, typeClass] : signature->operands) {
    if (role == "scratch" || role == "table")
      continue;
    StringRef name = record.getQueryName(ours);
    known.push_back(name);
    int64_t count = 0;
    for (const LaunchOperand &operand : query.operands) {
      if (operand.name != name)
        continue;
      ++count;
      if (role.ends_with("each") && (operand.type.getElementType().isF64() || operand.type.getElementType().isInteger(32)))
        continue; // the sums of mg_norm, the ids of mg_component_rows
      if (std::string misfit = checkType(record, operand, typeClass); !misfit.empty())
        return misfit;
    }
    if (role.ends_with("each")) {
      if (int64_t parts = getLaunchInt(record, query, "parts").value_or(count); parts != count)
        return "operand " + name.str() + " is given " + std::to_string(count) + " times, but parts is " + std::to_string(parts);
    } else if (count > 1 || (count == 0 && !role.starts_with("opt"))) {
      return "operand " + name.str() + " is given " + std::to_string(count) + " times, expected 1";
    }
  }
  for (const auto &[repeated, name] : record.same) {
    if (const LaunchOperand *first = query.find(name), *second = query.find(repeated); !first || !second || first->value != second->value)
      return "operand " + repeated + " is another value than " + name;
    known.push_back(repeated);
  }
  for (const LaunchOperand &operand : query.operands)
    if (!is_contained(known, operand.name))
      return operand.name + " is not an operand of " + record.symbol;
  for (StringRef name : signature->ints)
    if (!getLaunchInt(record, query, name))
      return "the integer " + name.str() + " is missing";
  for (StringRef name : signature->doubles)
    if (!getLaunchDouble(record, query, name))
      return "the number " + name.str() + " is missing";
  return "";
}

std::string explainMisfit(const Record &record, const KernelQuery &query) {
  std::string misfit = checkSignature(record, query);
  return misfit.empty() && record.refuses ? record.refuses(query) : misfit;
}

const Record *match(StringRef target, const KernelQuery &query, std::string *why) {
  for (const Record &record : allRecords())
    if (record.target == target && record.family == query.family && explainMisfit(record, query).empty())
      return &record;
  if (!why)
    return nullptr;
  std::string near;
  for (const Record &record : allRecords())
    if (record.family == query.family)
      near += "\n  " + record.name + ": " + (record.target == target ? explainMisfit(record, query) : "is of target " + record.target);
  *why = "no kernel of target " + target.str() + " serves '" + query.family +
         (near.empty() ? "': no target has one" : "'; the nearest are:" + near);
  return nullptr;
}

void addWithAddend(std::vector<Record> &records, const Record &record, StringRef result) {
  for (StringRef side : {"a", "b"}) {
    Record fused = record;
    fused.name += (side == "a" ? "+add" : "+add_to_b");
    fused.family += "+add";
    std::string own = result.str();
    for (const auto &[kernels, query] : record.renamed)
      if (query == result)
        own = kernels;
    erase_if(fused.renamed, [&](const auto &pair) { return pair.first == own; });
    fused.renamed.emplace_back(own, "add.y");
    fused.renamed.emplace_back("addend", ("add." + side).str());
    fused.inPlace = {{own, "addend"}};
    records.push_back(fused);
  }
}

Record makeAddNorm(const Record &record) {
  Record fused = record;
  fused.name = record.target + ".add+rms_norm", fused.family = "add+rms_norm";
  fused.renamed = {{"sum", "y"}, {"x", "a"}, {"addend", "b"}};
  for (const char *name : {"y", "rstd", "nonfinite", "weight", "rows", "cols", "eps"})
    fused.renamed.emplace_back(name, std::string("rms_norm.") + name);
  fused.inPlace = {{"sum", "x"}, {"sum", "addend"}};
  fused.refuses = nullptr;
  return fused;
}

} // namespace megacc

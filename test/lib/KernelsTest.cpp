#include "mlir/IR/Builders.h"

#include "lib/Kernels/Kernels.h"
#include "megacc/KernelSignatures.h"
#include "megacc/StepABI.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "gtest/gtest.h"

using namespace megacc;

extern "C" {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) int32_t symbol(const MgLaunch *launch);
#include "megacc/kernels.def"
const char *mg_last_error();
}

namespace {

mlir::MLIRContext &getContext() {
  static mlir::MLIRContext context;
  return context;
}

mlir::Type parseElement(llvm::StringRef word) {
  mlir::Builder builder(&getContext());
  return word == "f64"    ? builder.getF64Type()
         : word == "i32"  ? builder.getI32Type()
         : word == "i64"  ? builder.getI64Type()
         : word == "bf16" ? mlir::Type(builder.getBF16Type())
                          : builder.getF32Type();
}

/// Adds an operand; the shapes play no role, parameters tell them.
KernelQuery &give(KernelQuery &query, llvm::StringRef name, llvm::StringRef element = "f32") {
  return query.addState(name, LaunchOperand::Kind::Value, "", mlir::RankedTensorType::get({1}, parseElement(element)));
}

llvm::SmallVector<llvm::StringRef> splitWords(llvm::StringRef text) {
  llvm::SmallVector<llvm::StringRef> words;
  text.split(words, ' ', -1, /*KeepEmpty=*/false);
  return words;
}

const KernelSignature &getSignature(llvm::StringRef symbol) {
  return *llvm::find_if(kernelSignatures, [&](const KernelSignature &signature) { return symbol == signature.symbol; });
}

/// A query for a record: every required operand of its kernel, the optional ones that `optional` names, and the parameters given.
KernelQuery ask(const Record &record, const std::vector<std::pair<std::string, int64_t>> &ints,
                llvm::ArrayRef<llvm::StringRef> optional = {}, int64_t parts = 0) {
  KernelQuery query(record.family);
  const KernelSignature &signature = getSignature(record.symbol);
  for (llvm::StringRef word : splitWords(signature.operands)) {
    auto [role, rest] = word.split(':');
    auto [name, element] = rest.split(':');
    std::string ours = name.str();
    for (const auto &[kernel, renamed] : record.renamed)
      if (kernel == name)
        ours = renamed;
    if (role == "scratch" || role == "table" || (role.starts_with("opt") && !llvm::is_contained(optional, name)))
      continue;
    for (int64_t i = 0; i < (role.ends_with("each") ? parts : 1); ++i)
      give(query, ours, element);
  }
  for (const auto &[name, value] : ints)
    query.set(name, value);
  for (llvm::StringRef name : splitWords(signature.doubles))
    query.setReal(name, 1.0);
  return query;
}

/// Bytes that the kernel itself asks for, when it is given another number.
int64_t getKernelScratch(const Record &record, const KernelQuery &query) {
  static const std::pair<llvm::StringRef, MgKernel> kernels[] = {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) {#symbol, symbol},
#include "megacc/kernels.def"
  };
  static char memory[64];
  const KernelSignature &signature = getSignature(record.symbol);
  std::vector<void *> operands;
  std::vector<int64_t> bytes, ints;
  std::vector<uint8_t> types;
  for (llvm::StringRef word : splitWords(signature.operands)) {
    auto [role, rest] = word.split(':');
    llvm::StringRef name = rest.split(':').first;
    int64_t count = role.ends_with("each") ? *getLaunchInt(record, query, "parts") : 1;
    bool present = role == "scratch" || !role.starts_with("opt") || query.has(name);
    operands.insert(operands.end(), count, present ? memory : nullptr);
    bytes.insert(bytes.end(), count, role == "scratch" ? record.getScratch(query) + 64 : 0);
    types.insert(types.end(), count, MG_RAW);
  }
  for (llvm::StringRef name : splitWords(signature.ints))
    ints.push_back(*getLaunchInt(record, query, name));
  std::vector<double> doubles(splitWords(signature.doubles).size(), 1.0);
  MgContext context = {};
  MgLaunch launch = {operands.data(),
                     bytes.data(),
                     types.data(),
                     int64_t(operands.size()),
                     ints.data(),
                     int64_t(ints.size()),
                     doubles.data(),
                     int64_t(doubles.size()),
                     0,
                     0,
                     0,
                     &context};
  for (const auto &[symbol, kernel] : kernels)
    if (symbol == record.symbol && kernel(&launch) != 0) {
      llvm::StringRef message = mg_last_error();
      int64_t wanted = -1;
      message.substr(message.find("it needs ") + 9).consumeInteger(10, wanted);
      return wanted;
    }
  return -1;
}

using Ints = std::vector<std::pair<std::string, int64_t>>;

const Ints kNorm = {{"rows", 130}, {"cols", 45}};
const Ints kAttention = {{"batch", 2}, {"sequence", 70}, {"heads", 6}, {"kv_heads", 2}, {"qk_dim", 5}, {"v_dim", 3}};
const Ints kM2rnn = {{"batch", 3}, {"sequence", 130}, {"heads", 14}, {"key", 9}, {"value", 5}};
const Ints kDelta = {{"batch", 3}, {"sequence", 130}, {"heads", 14}, {"key_heads", 7},
                     {"key", 9},   {"value", 5},      {"chunk", 32}, {"neg_eigval", 0}};

Ints makeMamba3(int64_t batch, int64_t sequence, int64_t heads, int64_t groups, int64_t rank, int64_t mimo) {
  return {{"batch", batch}, {"sequence", sequence}, {"heads", heads}, {"groups", groups}, {"rank", rank}, {"head_dim", 10},
          {"state", 12},    {"angles", 3},          {"heavy", 0},     {"mimo", mimo},     {"out_norm", 0}};
}

} // namespace

TEST(Kernels, NamesAreUniqueAndSymbolsAreListed) {
  llvm::StringSet<> names;
  for (const Record &record : allRecords()) {
    EXPECT_TRUE(names.insert(record.name).second) << record.name;
    EXPECT_TRUE(llvm::any_of(kernelSignatures, [&](const KernelSignature &s) { return record.symbol == s.symbol; })) << record.symbol;
    EXPECT_EQ(findRecord(record.name), &record);
  }
  EXPECT_EQ(findRecord("cpu.nothing"), nullptr);
}

TEST(Kernels, EveryKernelButTheInitialiserHasARecord) {
  for (const KernelSignature &signature : kernelSignatures)
    EXPECT_EQ(llvm::any_of(allRecords(), [&](const Record &r) { return r.target == "cpu" && r.symbol == signature.symbol; }),
              llvm::StringRef(signature.symbol) != "mg_initialize")
        << signature.symbol;
}

TEST(Kernels, NamesOfOperandsAreThoseOfKernelsDef) {
  for (const Record &record : allRecords()) {
    llvm::StringSet<> operands;
    for (llvm::StringRef word : splitWords(getSignature(record.symbol).operands))
      operands.insert(word.split(':').second.split(':').first);
    for (const auto &[result, operand] : record.inPlace)
      EXPECT_TRUE(operands.contains(result) && operands.contains(operand)) << record.name << ": " << result << ", " << operand;
    for (const Cache &cache : record.caches)
      EXPECT_TRUE(operands.contains(cache.name)) << record.name << ": " << cache.name;
    llvm::StringSet<> names = operands;
    for (llvm::StringRef text : {getSignature(record.symbol).ints, getSignature(record.symbol).doubles})
      for (llvm::StringRef word : splitWords(text))
        names.insert(word);
    for (const auto &[ours, theirs] : record.renamed)
      EXPECT_TRUE(names.contains(ours)) << record.name << ": " << ours << " for " << theirs;
  }
}

TEST(Kernels, AnswersAQueryAndIgnoresParametersItDoesNotKnow) {
  KernelQuery query = ask(*findRecord("cpu.rms_norm"), kNorm);
  query.set("sequence", 5);
  const Record *record = match("cpu", query);
  ASSERT_NE(record, nullptr);
  EXPECT_EQ(record->name, "cpu.rms_norm");
  EXPECT_EQ(record->getScratch(query), 0);
  EXPECT_EQ(getLaunchInt(*record, query, "cols"), 45);
  EXPECT_EQ(getLaunchInt(*record, query, "accumulate"), std::nullopt);
}

TEST(Kernels, SaysWhichFieldDoesNotFit) {
  const Record &norm = *findRecord("cpu.rms_norm");
  auto expectRefusal = [](llvm::StringRef target, const KernelQuery &query, llvm::StringRef part) {
    std::string why;
    EXPECT_EQ(match(target, query, &why), nullptr);
    EXPECT_NE(why.find(part.str()), std::string::npos) << why << "\n lacks: " << part.str();
  };
  expectRefusal("cpu", give(ask(norm, kNorm).set("unused", 0), "gate"), "cpu.rms_norm: gate is not an operand of mg_rms_norm");
  expectRefusal("cpu", ask(norm, {{"rows", 1}}), "cpu.rms_norm: the integer cols is missing");
  expectRefusal("cpu", KernelQuery("rms_norm"), "cpu.rms_norm: operand y is given 0 times, expected 1");
  expectRefusal("cpu", KernelQuery("rms_norms"), "'rms_norms': no target has one");
  expectRefusal("tpu", ask(norm, kNorm), "cpu.rms_norm: is of target cpu");
  KernelQuery half = ask(norm, kNorm);
  half.operands.front().type = mlir::RankedTensorType::get({1}, parseElement("bf16"));
  expectRefusal("cpu", half, "cpu.rms_norm: operand y is bf16, expected f32");
  KernelQuery numberless = ask(norm, kNorm);
  numberless.doubles.clear();
  expectRefusal("cpu", numberless, "the number eps is missing");
  const Record &split = *findRecord("cpu.split");
  Ints widths = {{"rows", 2}, {"groups", 1}, {"width0", 1}, {"width1", 2}, {"width2", 0}, {"width3", 0}, {"parts", 3}};
  expectRefusal("cpu", ask(split, widths, {}, 2), "operand part is given 2 times, but parts is 3");
  expectRefusal("cpu", ask(*findRecord("cpu.mamba3_scan"), makeMamba3(1, 8, 2, 1, 2, 1), {}, 7), "cpu.mamba3_scan: parts is 7, expected 9");
  expectRefusal("cpu", ask(*findRecord("cpu.mamba3_scan"), makeMamba3(1, 8, 2, 1, 2, 0), {}, 6),
                "cpu.mamba3_scan: rank is 2 without mimo, expected 1");
}

TEST(Kernels, AGradientMayBeAccumulatedAtOnce) {
  const Record &plain = *findRecord("cpu.linear_grad_weight"), &fused = *findRecord("cpu.linear_grad_weight+accumulate");
  Ints sizes = {{"rows", 4}, {"in", 3}, {"out", 2}};
  KernelQuery query = ask(plain, sizes);
  EXPECT_EQ(match("cpu", query), &plain);
  EXPECT_EQ(getLaunchInt(plain, query, "accumulate"), 0);
  for (int64_t accumulate : {1, 2}) {
    KernelQuery both = ask(fused, sizes);
    EXPECT_TRUE(both.has("accumulate.sum"));
    both.set("accumulate.accumulate", accumulate).setReal("accumulate.scale", 1.0);
    EXPECT_EQ(match("cpu", both), &fused);
    EXPECT_EQ(getLaunchInt(fused, both, "accumulate"), accumulate);
    both.doubles.back().second = 0.5;
    EXPECT_EQ(match("cpu", both), nullptr);
    both.doubles.back().second = 1.0;
    give(both, "accumulate.x"); // a value that stays inside is not an operand
    EXPECT_EQ(match("cpu", both), nullptr);
  }
  for (const char *family : {"embedding_grad", "rms_norm_grad", "grouped_linear_grad_weight", "linear_cross_entropy", "causal_conv_grad",
                             "skip_gate_grad", "m2rnn_scan_grad", "gated_norm_grad", "zero"})
    EXPECT_NE(findRecord(std::string("cpu.") + family + "+accumulate"), nullptr) << family;
}

TEST(Kernels, ASumMayBeMadeByTheKernelBesideIt) {
  auto setTypes = [](KernelQuery &query, llvm::ArrayRef<llvm::StringRef> f32) {
    for (LaunchOperand &operand : query.operands)
      operand.type = mlir::RankedTensorType::get({1}, parseElement(llvm::is_contained(f32, operand.name) ? "f32" : "bf16"));
  };
  for (const char *name : {"linear", "linear_grad_input"})
    for (const char *side : {"+add", "+add_to_b"}) {
      const Record &record = *findRecord((llvm::StringRef("sm_90a.") + name + side).str());
      KernelQuery query = ask(record, {{"rows", 4}, {"in", 16}, {"out", 8}, {"add.count", 32}}, {"addend"});
      setTypes(query, {});
      EXPECT_EQ(match("sm_90a", query), &record);
      setTypes(query, {"add.y"});
      EXPECT_EQ(match("sm_90a", query), nullptr);
    }
  // On the cpu everything is f32.
  for (const char *name : {"linear", "linear_grad_input", "rms_norm_grad+accumulate", "moe_combine"})
    for (const char *side : {"+add", "+add_to_b"})
      EXPECT_NE(findRecord((llvm::StringRef("cpu.") + name + side).str()), nullptr) << name << side;
  EXPECT_NE(findRecord("cpu.add+rms_norm"), nullptr);
  // Parameters, too, have the names of the group.
  const Record &norm = *findRecord("sm_90a.add+rms_norm");
  KernelQuery query = ask(norm, {{"count", 8}, {"rms_norm.rows", 2}, {"rms_norm.cols", 4}}, {"addend", "sum", "rstd"});
  query.doubles = {{"rms_norm.eps", 1e-5}};
  setTypes(query, {"rms_norm.rstd"});
  EXPECT_EQ(match("sm_90a", query), &norm);
  EXPECT_EQ(getLaunchInt(norm, query, "cols"), 4);
  EXPECT_EQ(getLaunchDouble(norm, query, "eps"), 1e-5);
  query.ints = {{"count", 40000}, {"rms_norm.rows", 2}, {"rms_norm.cols", 20000}};
  std::string why;
  EXPECT_EQ(match("sm_90a", query, &why), nullptr);
  EXPECT_NE(why.find("rms_norm.cols is 20000, at most 16384"), std::string::npos) << why;
}

TEST(Kernels, InPlaceDependsOnTheActivation) {
  const Record &plain = *findRecord("cpu.activation_grad"), &swiglu = *findRecord("cpu.activation_grad_swiglu");
  EXPECT_EQ(match("cpu", ask(plain, {{"rows", 2}, {"width", 3}, {"kind", 1}})), &plain);
  EXPECT_EQ(match("cpu", ask(plain, {{"rows", 2}, {"width", 3}, {"kind", 3}})), &swiglu);
}

TEST(Kernels, CachesHaveTypes) {
  auto expectShape = [](const Record &record, size_t index, const KernelQuery &query, const std::vector<int64_t> &shape, bool kept) {
    const Cache &cache = record.caches[index];
    EXPECT_EQ(cache.type(query).getShape().vec(), shape) << cache.name;
    EXPECT_TRUE(cache.type(query).getElementType().isF32());
    EXPECT_EQ(cache.kept, kept) << cache.name;
  };
  auto find = [](llvm::StringRef name, const Ints &ints, int64_t parts = 0) {
    const Record &record = *findRecord(name);
    KernelQuery query = ask(record, ints, {}, parts);
    EXPECT_EQ(match("cpu", query), &record);
    return std::pair<const Record &, KernelQuery>(record, query);
  };
  auto [norm, normQuery] = find("cpu.rms_norm", kNorm);
  expectShape(norm, 0, normQuery, {130}, true);
  auto [attention, attentionQuery] = find("cpu.attention", kAttention);
  expectShape(attention, 0, attentionQuery, {2, 6, 70}, true);
  auto [recurrence, recurrenceQuery] = find("cpu.m2rnn_scan", kM2rnn);
  expectShape(recurrence, 0, recurrenceQuery, {3, 14, 3, 9, 5}, true);
  auto [delta, deltaQuery] = find("cpu.gated_delta", kDelta);
  expectShape(delta, 0, deltaQuery, {3, 14, 5, 9, 5}, true);
  auto [scan, scanQuery] = find("cpu.mamba3_scan", makeMamba3(2, 300, 4, 2, 3, 1), 9);
  expectShape(scan, 0, scanQuery, {2, 4, 2, 12, 10}, true);
  expectShape(scan, 1, scanQuery, {600, 4, 3, 10}, false);
  EXPECT_EQ(getLaunchInt(scan, scanQuery, "parts"), 9);
  auto [siso, sisoQuery] = find("cpu.mamba3_scan", makeMamba3(2, 300, 4, 2, 1, 0), 6);
  EXPECT_FALSE(siso.caches[1].type(sisoQuery)) << "psi_v would be x itself";
}

TEST(Kernels, LogitsExistForAFewRowsAtATime) {
  const Record &record = *findRecord("cpu.linear_cross_entropy");
  for (auto [rows, vocab, expected] :
       {std::tuple<int64_t, int64_t, int64_t>{2048, 1000, 1024}, {7, 1000, 7}, {2048, 65536, 64}, {2048, 5000000, 1}}) {
    KernelQuery query = ask(record, {{"rows", rows}, {"cols", 8}, {"vocab", vocab}});
    EXPECT_EQ(getLaunchInt(record, query, "logit_rows"), expected);
  }
  const Record &onCard = *findRecord("sm_90a.linear_cross_entropy+accumulate");
  for (auto [rows, vocab, expected] : {std::tuple<int64_t, int64_t, int64_t>{16384, 65536, 8192},
                                       {16384, 100352, 4096},
                                       {16500, 65536, 5504},
                                       {7, 1000, 7},
                                       {2048, 500000000, 128}}) {
    KernelQuery query = ask(onCard, {{"rows", rows}, {"cols", 8}, {"vocab", vocab}, {"accumulate.accumulate", 2}});
    EXPECT_EQ(getLaunchInt(onCard, query, "logit_rows"), expected);
    EXPECT_EQ(getLaunchInt(onCard, query, "accumulate"), 2);
    EXPECT_EQ(onCard.getScratch(query), (32 << 20) + llvm::alignTo(2 * expected * vocab, 64) + llvm::alignTo(4 * rows, 64));
  }
}

TEST(Kernels, PartsThatAreWholeAreGatheredIntoTheirPlaces) {
  const Record &record = *findRecord("sm_90a.gather_parts");
  auto getScratch = [&](int64_t outer, llvm::StringRef element) {
    KernelQuery query = ask(record, {{"outer", outer}, {"inner", 5}, {"ranks", 2}, {"axis", 1}});
    for (LaunchOperand &operand : query.operands)
      operand.type = mlir::RankedTensorType::get({1}, parseElement(element));
    EXPECT_EQ(match("sm_90a", query), &record);
    return record.getScratch(query);
  };
  EXPECT_EQ(getScratch(1, "bf16"), 0);
  EXPECT_EQ(getScratch(3, "bf16"), 64);
  EXPECT_EQ(getScratch(3, "f32"), 128);
}

// The record's bytes are those that the kernel takes.
TEST(Kernels, ScratchIsWhatTheKernelTakes) {
  auto check = [](llvm::StringRef name, const Ints &ints, llvm::ArrayRef<llvm::StringRef> optional = {}, int64_t parts = 0) {
    const Record &record = *findRecord(name);
    KernelQuery query = ask(record, ints, optional, parts);
    std::string why;
    ASSERT_EQ(match("cpu", query, &why), &record) << why;
    EXPECT_EQ(getKernelScratch(record, query), record.getScratch(query)) << record.name;
  };
  Ints lookup = {{"rows", 5}, {"cols", 3}, {"vocab", 7}, {"vocab_axis", -1}};
  Ints product = {{"rows", 5}, {"in", 3}, {"out", 7}}, experts = product;
  experts.emplace_back("experts", 3);
  check("cpu.embedding_grad", lookup);
  for (const char *name : {"cpu.linear", "cpu.linear_grad_input", "cpu.linear_grad_weight"})
    check(name, product);
  for (const char *name : {"cpu.grouped_linear", "cpu.grouped_linear_grad_input", "cpu.grouped_linear_grad_weight"})
    check(name, experts);
  check("cpu.rms_norm_grad", kNorm);
  check("cpu.skip_gate_grad", kNorm);
  check("cpu.attention", kAttention);
  check("cpu.attention_grad", kAttention);
  check("cpu.attention_grad", kAttention, {"lse"});
  check("cpu.layer_norm_grad", kNorm);
  check("cpu.dyt_grad", kNorm);
  for (int64_t scales : {1, 7}) {
    Ints sizes = {{"rows", 200}, {"cols", 7}, {"scales", scales}};
    check("cpu.scale_grad", sizes);
  }
  for (int64_t sequence : {9, 300}) { // fewer and more tasks than lanes
    Ints sizes = {{"batch", 3}, {"sequence", sequence}, {"heads", 4}, {"kv_heads", 2}, {"qk_dim", 5}, {"kept", 0}};
    check("cpu.attention_entropy", sizes);
  }
  for (int64_t sequence : {9, 1000}) { // fewer and more tiles of queries than lanes
    Ints indexer = {{"batch", 3}, {"sequence", sequence}, {"index_heads", 5}, {"index_dim", 7}, {"kept", 9},
                    {"heads", 3}, {"qk_dim", 11},         {"v_dim", 13},      {"dim", 17},      {"tokens", 3 * sequence}};
    for (const char *name :
         {"cpu.select_keys", "cpu.sparse_attention", "cpu.sparse_attention_grad", "cpu.support_kl", "cpu.support_kl_grad"})
      check(name, indexer);
  }
  Ints conv = {{"batch", 2}, {"sequence", 9}, {"channels", 37}, {"taps", 3}, {"silu", 1}};
  check("cpu.causal_conv", conv);
  check("cpu.causal_conv_grad", conv);
  check("cpu.m2rnn_scan", kM2rnn);
  check("cpu.m2rnn_scan_grad", kM2rnn);
  check("cpu.m2rnn_scan_grad", kM2rnn, {"states"});
  check("cpu.gated_delta", kDelta);
  check("cpu.gated_delta_grad", kDelta);
  check("cpu.gated_delta_grad", kDelta, {"states"});
  check("cpu.gated_norm_grad", kNorm);
  check("cpu.m2rnn_state_norm", kM2rnn);
  Ints head = {{"rows", 13}, {"cols", 3}, {"vocab", 29}, {"batch", 13}, {"sequence", 1}};
  check("cpu.linear_cross_entropy", head);
  check("cpu.linear_cross_entropy_evaluate", head);
  check("cpu.logits_at", head);
  Ints part = {{"rows", 13}, {"cols", 3}, {"vocab", 28}, {"parts", 2}, {"all_parts", 4}, {"axis", -1}};
  check("cpu.head_statistics", part);
  check("cpu.linear_cross_entropy_parts", part);
  check("cpu.square_sum", {{"count", 40001}});
  check("cpu.log_norm", {{"count", 40001}});
  check("cpu.mhc_read_grad", {{"rows", 67}, {"streams", 3}, {"cols", 5}, {"iterations", 2}});
  check("cpu.mod_loss", {{"rows", 131}, {"tokens", 131}});
  for (int64_t nulls : {0, 2}) {
    Ints route = {{"rows", 131}, {"experts", 5}, {"slots", 2}, {"kept", 2}, {"nulls", nulls}, {"sigmoid", 0}};
    check("cpu.moe_route", route);
    check("cpu.moe_statistics", route);
  }
  for (const Ints &ints : {makeMamba3(2, 300, 4, 2, 3, 1), makeMamba3(1, 5, 8, 1, 40, 1), makeMamba3(9, 70, 12, 3, 2, 1)}) {
    check("cpu.mamba3_scan", ints, {"states"}, 9);
    check("cpu.mamba3_state_norm", ints, {}, 9);
    check("cpu.mamba3_scan_grad", ints, {"states", "psi_v"}, 9);
    check("cpu.mamba3_scan_grad", ints, {}, 9);
  }
  check("cpu.mamba3_scan", makeMamba3(2, 300, 4, 2, 1, 0), {}, 6);
}

TEST(Kernels, NgramTablesFollowTheConventions) {
  const Record &record = *findRecord("cpu.ngram_rows");
  Ints ints = {{"batch", 1}, {"sequence", 3},  {"count", 2}, {"longest", 3},  {"seed", 0},
               {"order", 2}, {"size", 499801}, {"order", 3}, {"size", 499819}};
  KernelQuery query = ask(record, ints);
  ASSERT_EQ(match("cpu", query), &record);
  std::vector<int64_t> table = record.table(query);
  ASSERT_EQ(table.size(), 12u);
  EXPECT_EQ(std::vector<int64_t>(table.begin(), table.begin() + 6),
            (std::vector<int64_t>{2, 499801, 2080727276, 194389185, 593674053, 933243457}));
  EXPECT_EQ(std::vector<int64_t>(table.begin() + 6, table.begin() + 9), (std::vector<int64_t>{3, 499819, 669703661}));
  ints[2].second = 3;
  std::string why;
  EXPECT_EQ(match("cpu", ask(record, ints), &why), nullptr);
  EXPECT_NE(why.find("there are 2 orders and 2 sizes, expected 3"), std::string::npos) << why;
}

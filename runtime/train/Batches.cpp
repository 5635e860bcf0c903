#include "runtime/train/Batches.h"

#include <algorithm>
#include <sstream>

namespace megacc::runtime {
namespace {

const Place &getInput(const Step &step, const char *name) {
  const Place *place = step.descriptor().findInput(name);
  if (!place)
    throw ArtifactError(std::string("the step has no input '") + name + "'; fix: compile the declaration again");
  return *place;
}

constexpr std::string_view column_prefix = "structure.";

bool isRelation(std::string_view input) { return input == relation_chunk || input == relation_bits; }

/// The first block that reads relations, "blocks.2".
std::string findRelationBias(const Step &step) {
  constexpr std::string_view weight = ".relation_bias.weight";
  for (const ParameterPlace &parameter : step.descriptor().parameters)
    if (parameter.name.ends_with(weight))
      return parameter.name.substr(0, parameter.name.size() - weight.size());
  throw ArtifactError("the step takes relations, but no block has a relation_bias; fix: compile the declaration again");
}

/// Rows of the table of a component, from the declaration.
int64_t columnSize(const Descriptor &descriptor, std::string_view column) {
  auto field = [&](const std::string &key) {
    auto found = descriptor.declaration.find(key);
    return found == descriptor.declaration.end() ? std::string() : found->second;
  };
  for (int64_t i = 0; !field("placements/" + std::to_string(i) + "/kind").empty(); ++i) {
    std::string placement = "placements/" + std::to_string(i) + "/";
    std::istringstream names(field(placement + "components"));
    std::string name;
    for (int64_t index = 0; std::getline(names, name, ','); ++index)
      if (name == column)
        if (std::string size = field(placement + "sizes/" + std::to_string(index)); !size.empty())
          return std::stoll(size);
  }
  throw ArtifactError("the step does not say how many ids '" + std::string(column) + "' has; fix: compile the declaration again");
}

/// Stages one row of sequence + 1 tokens from `begin`: tokens, targets, and document ids where the step takes them; the target of a
/// document's last token is ignored then (conventions 13.3); and the columns that it takes. Returns how many targets are not ignored.
int64_t stageRow(Step &step, const Source &source, int64_t begin, int64_t micro_batch, int64_t row, std::vector<int32_t> &buffer) {
  int64_t sequence = step.descriptor().sequence, vocab = step.descriptor().vocab;
  auto rowOf = [&](const Place &place) { return step.integers(place, micro_batch).subspan(row * sequence, sequence); };
  source.read(begin, vocab, buffer);
  std::copy_n(buffer.begin(), sequence, rowOf(getInput(step, "tokens")).begin());
  std::span<int32_t> targets = rowOf(getInput(step, "targets"));
  std::copy_n(buffer.begin() + 1, sequence, targets.begin());
  if (const Place *documents = step.descriptor().findInput("documents")) {
    source.readDocuments(begin, buffer);
    std::copy_n(buffer.begin(), sequence, rowOf(*documents).begin());
    for (int64_t t = 0; t < sequence; ++t)
      if (buffer[t + 1] != buffer[t])
        targets[t] = -1;
  }
  for (const Place &input : step.descriptor().inputs)
    if (std::string_view name = input.name; name.starts_with(column_prefix)) {
      name.remove_prefix(column_prefix.size());
      source.readColumn(std::string(name), begin, columnSize(step.descriptor(), name), rowOf(input));
    }
  if (const Place *chunk = step.descriptor().findInput(relation_chunk)) {
    const Place &bits = getInput(step, relation_bits);
    int64_t chunks = bits.shape[1], pairs = chunks * chunks;
    source.readRelations(begin, chunks, rowOf(*chunk), step.integers(bits, micro_batch).subspan(row * pairs, pairs));
  }
  return std::ranges::count_if(targets, [](int32_t target) { return target >= 0; });
}

} // namespace

void checkInputs(const Step &step) {
  const Descriptor &descriptor = step.descriptor();
  const std::vector<int64_t> rows = {descriptor.localRows()}, tokens = {descriptor.localRows(), descriptor.sequence};
  const struct {
    std::string name;
    MgType type;
    std::vector<int64_t> shape;
  } known[] = {{"tokens", MG_I32, tokens},  {"targets", MG_I32, tokens}, {"documents", MG_I32, tokens}, {relation_chunk, MG_I32, tokens},
               {"positions", MG_I32, rows}, {"scalars", MG_F32, {3}},    {"step", MG_I32, {1}}};
  auto describe = [](const auto &input) { return std::string(typeName(input.type)) + " " + shapeText(input.shape); };
  std::string mistakes;
  for (const Place &input : descriptor.inputs) {
    if (input.name == "stp.spans" && input.type == MG_I32 && input.shape.size() == 2 && input.shape[1] == 3)
      continue;
    if (input.name == relation_bits && input.type == MG_I32 && input.shape.size() == 3 && input.shape[0] == rows[0] &&
        input.shape[1] == input.shape[2])
      continue;
    bool is_column = input.name.starts_with(column_prefix); // its shape is that of tokens
    auto found = std::ranges::find_if(known, [&](const auto &entry) { return entry.name == (is_column ? "tokens" : input.name); });
    if (found == std::end(known))
      mistakes += "\n  '" + input.name + "' " + describe(input) + ", which data cannot fill";
    else if (describe(input) != describe(*found))
      mistakes += "\n  '" + input.name + "' " + describe(input) + ", given is " + describe(*found);
  }
  if (!mistakes.empty())
    throw ArtifactError("the step takes inputs that cannot be filled:" + mistakes +
                        "\nfix: use the megacc-run of the same release; given are tokens, targets, documents, "
                        "positions, scalars, structure.NAME, relation.chunk, relation.bits, stp.spans");
}

std::string describeShortage(const Step &step, const Source &source, const std::string &name) {
  int64_t sequence = step.descriptor().sequence;
  if (source.size() <= sequence)
    return name + " has " + std::to_string(source.size()) + " tokens, a sample of sequence " + std::to_string(sequence) + " needs " +
           std::to_string(sequence + 1);
  if (step.descriptor().findInput("documents") && !source.hasLongDocument())
    return name + " has only documents of one token, which leave no target to learn from";
  return "";
}

std::vector<std::string> wantedColumns(const Step &step) {
  std::vector<std::string> columns;
  for (const Place &input : step.descriptor().inputs)
    if (input.name.starts_with(column_prefix))
      columns.push_back(input.name.substr(column_prefix.size()));
    else if (isRelation(input.name))
      columns.push_back(input.name);
  return columns;
}

std::string inputOfColumn(const std::string &column) { return (isRelation(column) ? "" : std::string(column_prefix)) + column; }

std::string describeMissing(const Step &step, const Source &source, const std::string &name) {
  std::string missing;
  for (const std::string &column : wantedColumns(step))
    if (std::filesystem::path file = source.findWithout(column); !file.empty())
      missing += (missing.empty() ? "" : "\n") +
                 (isRelation(column) ? column + " is missing: " + findRelationBias(step) + " has a relation_bias, and there is no "
                                     : name + " lacks the input '" + inputOfColumn(column) + "' of the step: there is no ") +
                 sidecarPath(file, column).string();
  return missing;
}

void checkLength(const Step &step, const Source &source) {
  if (std::string missing = describeMissing(step, source, "the data"); !missing.empty())
    throw DataError(missing + "; fix: write these files (of C++ sources tools/prepare-cpp does), or leave the placement out");
  if (std::string shortage = describeShortage(step, source, "the data"); !shortage.empty())
    throw DataError(shortage + "; fix: give more data");
}

int64_t stageTrainingBatch(Step &step, const Source &source, int64_t step_index) {
  const Descriptor &descriptor = step.descriptor();
  std::vector<int32_t> buffer(descriptor.sequence + 1);
  int64_t targets = 0, rows = descriptor.localRows(), first = step.mesh().dataRank() * rows;
  for (int64_t m = 0; m < descriptor.accumulate; ++m)
    for (int64_t row = 0; row < rows; ++row) {
      int64_t sample = (step_index * descriptor.accumulate + m) * descriptor.micro_batch + first + row;
      targets +=
          stageRow(step, source, samplePosition(descriptor.seed, "data", sample, source.size(), descriptor.sequence), m, row, buffer);
    }
  return step.mesh().largest(targets);
}

/// What every rank has for its rows, in the order of the rows: ranks of one place among the data have the same.
static std::vector<float> gatherRows(const Step &step, const std::vector<float> &mine) {
  std::vector<float> all = step.mesh().gather(std::span<const float>(mine)), rows;
  int64_t same = step.descriptor().mesh[MG_TP], count = int64_t(mine.size());
  for (int64_t rank = 0; rank < step.mesh().size(); rank += same)
    rows.insert(rows.end(), all.begin() + rank * count, all.begin() + (rank + 1) * count);
  return rows;
}

std::optional<Evaluation> evaluate(Step &step, const Source &source, const std::function<bool()> &isStopped) {
  const Descriptor &descriptor = step.descriptor();
  const Place *sums = descriptor.findOutput("loss_sum"), *counts = descriptor.findOutput("count");
  if (!sums || !counts)
    throw ArtifactError("the step has no outputs 'loss_sum' and 'count'; fix: compile the declaration again");
  constexpr int64_t wanted = 64;
  int64_t batches = (wanted + descriptor.micro_batch - 1) / descriptor.micro_batch;
  std::ranges::fill(step.integers(getInput(step, "positions")), 0);
  std::vector<int32_t> buffer(descriptor.sequence + 1);
  Evaluation result;
  int64_t rows = descriptor.localRows(), first = step.mesh().dataRank() * rows;
  for (int64_t batch = 0; batch < batches; ++batch) {
    if (isStopped())
      return std::nullopt;
    for (int64_t row = 0; row < rows; ++row) {
      int64_t window = batch * descriptor.micro_batch + first + row;
      stageRow(step, source, samplePosition(descriptor.seed, "eval", window, source.size(), descriptor.sequence), 0, row, buffer);
    }
    step.sendInputs();
    step.runEvaluation();
    std::vector<float> batch_sums = gatherRows(step, step.readOutput(*sums)), batch_counts = gatherRows(step, step.readOutput(*counts));
    for (int64_t row = 0; row < descriptor.micro_batch; ++row)
      result.sum += batch_sums[row], result.targets += batch_counts[row];
  }
  return result;
}

} // namespace megacc::runtime

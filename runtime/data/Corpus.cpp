#include "runtime/data/Corpus.h"

#include <algorithm>
#include <set>

namespace fs = std::filesystem;

namespace megacc::runtime {
namespace {

/// The token files among them, without the indexes and sidecars that belong to one, and the rest.
struct Kinds {
  std::vector<fs::path> tokens, bytes;
};

Kinds separate(const std::vector<DataFile> &files, bool is_type_given) {
  Kinds kinds;
  std::set<fs::path> indexes, tokens;
  for (const DataFile &file : files)
    if (file.path.extension() == ".bin") {
      indexes.insert(fs::path(file.path).replace_extension(".idx"));
      tokens.insert(file.path);
    }
  for (const DataFile &file : files) {
    fs::path stem = fs::path(file.path).replace_extension();   // NAME.COLUMN of a sidecar
    for (const char *column : {relation_chunk, relation_bits}) // a column with a point in its name
      if (stem.string().ends_with(std::string(".") + column))
        stem.replace_extension();
    if (file.path.extension() == ".bin" && stem.has_extension() && tokens.contains(fs::path(stem).replace_extension(".bin")))
      continue;
    bool is_tokens = file.path.extension() == ".bin" || (is_type_given && file.is_named);
    if (!indexes.contains(file.path))
      (is_tokens ? kinds.tokens : kinds.bytes).push_back(file.path);
  }
  return kinds;
}

Source openTokens(const fs::path &file, const std::string &token_type, int64_t vocab) {
  fs::path idx = fs::path(file).replace_extension(".idx");
  std::error_code error;
  if (!fs::exists(idx, error))
    return Source::fromTokens(file, token_type.empty() ? recognizeWidth(file, vocab) : token_type == "uint32" ? 4 : 2);
  Source source = Source::fromMegatron(file, idx);
  if (!token_type.empty() && token_type != source.typeNames())
    throw DataError(idx.string() + ": says that the tokens are " + source.typeNames() + ", --token-type says " + token_type +
                    "; fix: leave --token-type out");
  return source;
}

} // namespace

Split splitFiles(const std::vector<fs::path> &files) {
  Split split;
  for (size_t i = 0; i < files.size(); ++i)
    (files.size() >= 8 && i % 20 == 7 ? split.held_out : split.train).push_back(files[i]);
  return split;
}

Corpus openCorpus(const std::vector<fs::path> &paths, const std::string &token_type, int64_t vocab, bool split,
                  const std::vector<fs::path> &run_folders, const std::vector<std::string> &columns) {
  FileList list = listFiles(paths, run_folders);
  Kinds kinds = separate(list.files, !token_type.empty());
  Corpus corpus;
  corpus.name = paths.size() == 1 ? paths.front().string() : std::to_string(paths.size()) + " paths";
  if (list.repeated)
    corpus.notes.push_back(std::to_string(list.repeated) + " files are named more than once; each is read once");
  for (const fs::path &folder : list.left_out)
    corpus.notes.push_back(folder.string() + " is the folder of a run; it is not read");
  if (!kinds.tokens.empty() && !kinds.bytes.empty())
    throw DataError(kinds.tokens.front().string() + " is a token file, " + kinds.bytes.front().string() +
                    " would be read as bytes; fix: name token files alone, or folders without them");
  if (!kinds.tokens.empty()) {
    std::vector<Source> shards;
    for (const fs::path &file : kinds.tokens)
      shards.push_back(openTokens(file, token_type, vocab));
    corpus.train = Source::join(std::move(shards));
    for (const std::string &column : columns)
      corpus.train.attach(column);
    corpus.name += " (" + (kinds.tokens.size() > 1 ? std::to_string(kinds.tokens.size()) + " token files of " : std::string()) +
                   corpus.train.typeNames() + ")";
    return corpus;
  }
  if (!token_type.empty())
    throw DataError("--token-type is for token files, and none is named; fix: name .bin files, or leave --token-type out");
  if (vocab < 256)
    throw DataError("files read as bytes need a vocab of at least 256, the model has " + std::to_string(vocab) +
                    "; fix: a token file (.bin), or a model with vocab 256");
  Split parts = splitFiles(kinds.bytes);
  bool is_split = split && !parts.held_out.empty();
  corpus.train = Source::fromBytes(is_split ? parts.train : kinds.bytes);
  if (corpus.train.size() == 0)
    throw DataError(corpus.name + ": has no bytes; fix: name files or folders with content");
  if (!is_split)
    return corpus;
  corpus.held_out = Source::fromBytes(parts.held_out);
  corpus.held_out_name = "the held-out part of " + corpus.name + " (" +
                         (parts.held_out.size() == 1 ? "the file " + parts.held_out.front().string()
                                                     : std::to_string(parts.held_out.size()) + " files, every twentieth from the eighth") +
                         ")";
  return corpus;
}

} // namespace megacc::runtime

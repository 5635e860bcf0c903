// What a run reads: the data that the user names, opened, and what of it is held out.
#pragma once
#include "runtime/data/Source.h"

#include <optional>

namespace megacc::runtime {

/// Files to train on and files held out: those whose index in the sorted list mod 20 is 7. Fewer than 8 files: nothing is held out.
struct Split {
  std::vector<std::filesystem::path> train, held_out;
};
Split splitFiles(const std::vector<std::filesystem::path> &files);

struct Corpus {
  Source train;
  std::optional<Source> held_out;
  std::string name, held_out_name; // for people
  std::vector<std::string> notes;  // what was decided without being asked for
};

/// Opens what the user names (conventions 18.1-2): token files (`.bin`, with an `.idx` beside it Megatron's) one after the other, or files
/// and folders as bytes, of which some are held out. `token_type`: "uint16" or "uint32" for token files, which may then have any name; ""
/// to recognise it. `vocab` is the model's, `columns` are the sidecars it reads (Source::attach); a sidecar is no token file. Folders of
/// runs, `run_folders` among them, are not read (listFiles). Throws DataError, for token files beside bytes, too.
Corpus openCorpus(const std::vector<std::filesystem::path> &paths, const std::string &token_type, int64_t vocab, bool split,
                  const std::vector<std::filesystem::path> &run_folders = {}, const std::vector<std::string> &columns = {});

} // namespace megacc::runtime

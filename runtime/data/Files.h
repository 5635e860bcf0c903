// Which files a run reads.
#pragma once
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace megacc::runtime {

struct DataError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// In the folder of every run: its lock, by which such a folder is known.
inline constexpr const char *run_lock_name = "run.lock";

struct DataFile {
  std::filesystem::path path; // canonical
  bool is_named = false;      // by the user, not found in a folder
};

struct FileList {
  std::vector<DataFile> files;
  int64_t repeated = 0;                        // names of files that other names reach, too
  std::vector<std::filesystem::path> left_out; // folders of runs that were met
};

/// Regular files among `paths` and below folders, sorted by the bytes of their canonical path, each once whatever it is called: so the same
/// files give the same list however they are spelled. Folders that are links are entered only where they are named. Folders
/// of runs below a folder are left out: `run_folders`, which need not exist yet and cannot be named themselves, and those with a lock.
/// Throws DataError with every path that is missing or cannot be read.
FileList listFiles(const std::vector<std::filesystem::path> &paths, const std::vector<std::filesystem::path> &run_folders = {});

} // namespace megacc::runtime

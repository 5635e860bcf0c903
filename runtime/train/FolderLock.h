// One run per folder.
#pragma once
#include <filesystem>

namespace megacc::runtime {

/// Holds FOLDER/run.lock while it lives; the system lets go of it when the process ends, however it ends. Throws FileError, naming the
/// process that holds it.
class FolderLock {
public:
  explicit FolderLock(const std::filesystem::path &folder);
  ~FolderLock();
  FolderLock(const FolderLock &) = delete;
  FolderLock &operator=(const FolderLock &) = delete;

private:
  int file;
};

} // namespace megacc::runtime

#include "runtime/state/FileSystem.h"
#include "runtime/core/OpenFile.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>

namespace fs = std::filesystem;

namespace megacc::runtime {

std::string describeWriteError(int error) {
  std::string text = std::strerror(error);
  switch (error) {
  case ENOSPC:
  case EDQUOT:
    return text + "; fix: free some space, then --resume";
  case EFBIG:
    return text + "; fix: allow larger files (ulimit -f), then --resume";
  case EACCES:
  case EPERM:
  case EROFS:
    return text + "; fix: make the folder writable, or name another";
  default:
    return text + "; fix: check the disk, or name another folder";
  }
}

fs::path folderOf(const fs::path &file) { return file.has_parent_path() ? file.parent_path() : fs::path("."); }

void syncFolder(const fs::path &folder) {
  OpenFile directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // EINVAL: the file system cannot sync a folder.
  if (!directory || (::fsync(directory.get()) != 0 && errno != EINVAL))
    throw FileError(folder.string() + ": cannot sync the folder: " + describeWriteError(errno));
}

static void createFolders(const fs::path &folder, const fs::path &wanted) {
  auto fail = [&](const std::string &reason) { return FileError(wanted.string() + ": cannot create the folder: " + reason); };
  std::error_code error;
  if (fs::file_status status = fs::status(folder, error); fs::exists(status)) {
    if (!fs::is_directory(status))
      throw fail((folder == wanted ? std::string("it") : folder.string()) + " is not a folder; fix: name another");
    return;
  }
  if (fs::path parent = folderOf(folder); parent != folder)
    createFolders(parent, wanted);
  bool is_new = fs::create_directory(folder, error);
  if (error)
    throw fail(describeWriteError(error.value()));
  if (is_new)
    syncFolder(folderOf(folder));
}

void createFolders(const fs::path &folder) { createFolders(folder, folder); }

} // namespace megacc::runtime

#include "runtime/train/FolderLock.h"
#include "runtime/data/Files.h"
#include "runtime/state/FileSystem.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/file.h>
#include <unistd.h>

namespace megacc::runtime {

FolderLock::FolderLock(const std::filesystem::path &folder) {
  std::filesystem::path path = folder / run_lock_name;
  file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0)
    throw FileError(path.string() + ": cannot create: " + describeWriteError(errno));
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    int reason = errno;
    char owner[32] = {};
    bool is_named = ::pread(file, owner, sizeof owner - 1, 0) > 0;
    ::close(file);
    if (reason != EWOULDBLOCK)
      throw FileError(path.string() + ": cannot lock: " + std::strerror(reason));
    throw FileError(folder.string() + ": another run is writing here" + (is_named ? std::string(", process ") + owner : "") +
                    "; fix: another --out, or wait for its end");
  }
  std::string owner = std::to_string(::getpid());
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, owner.data(), owner.size(), 0) != ssize_t(owner.size())) {
    std::string reason = describeWriteError(errno);
    ::close(file);
    throw FileError(path.string() + ": cannot write: " + reason);
  }
}

FolderLock::~FolderLock() { ::close(file); }

} // namespace megacc::runtime

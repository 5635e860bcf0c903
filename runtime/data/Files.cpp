#include "runtime/data/Files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <sys/stat.h>

namespace fs = std::filesystem;

namespace megacc::runtime {
namespace {

bool isInside(const fs::path &path, const fs::path &folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

/// Collects files; mistakes are gathered, so that all of them show at once.
class Lister {
public:
  explicit Lister(const std::vector<fs::path> &run_folders) {
    for (const fs::path &folder : run_folders)
      runs.insert(fs::weakly_canonical(fs::absolute(folder)));
  }

  void add(const fs::path &path) {
    std::error_code error;
    fs::path root = fs::canonical(path, error);
    fs::file_status status = error ? fs::file_status() : fs::status(root, error);
    if (error)
      return refuse(path, error == std::errc::no_such_file_or_directory ? "there is no such file or folder" : error.message());
    if (fs::is_regular_file(status))
      return keep(root, /*is_named=*/true);
    if (!fs::is_directory(status))
      return refuse(path, "is neither a file nor a folder");
    if (runs.contains(root))
      return refuse(path, "is the folder of this run, which it writes to", "another --out");
    walk(root, path);
  }

  FileList finish() {
    if (!mistakes.empty())
      throw DataError(mistakes);
    for (const auto &[path, is_named] : found) {
      struct stat about = {};
      if (::stat(path.c_str(), &about) != 0)
        throw DataError(path + ": cannot read: " + std::strerror(errno) + "; fix: check --data");
      if (identities.insert({about.st_dev, about.st_ino}).second)
        list.files.push_back({path, is_named});
      else
        ++list.repeated;
    }
    return std::move(list);
  }

private:
  void refuse(const fs::path &path, const std::string &what, const char *fix = "check --data") {
    mistakes += (mistakes.empty() ? "" : "\n") + path.string() + ": " + what + "; fix: " + fix;
  }

  void keep(const fs::path &path, bool is_named) {
    auto [at, is_new] = found.try_emplace(path, is_named);
    at->second |= is_named;
    list.repeated += !is_new;
  }

  void leaveOut(const fs::path &run) {
    if (std::ranges::find(list.left_out, run) == list.left_out.end())
      list.left_out.push_back(run);
  }

  /// The run's folder that a file below `root` lies in, by a link perhaps.
  std::optional<fs::path> findRun(const fs::path &file, const fs::path &root) const {
    for (const fs::path &run : runs)
      if (isInside(file, run) && !isInside(root, run))
        return run;
    return std::nullopt;
  }

  void walk(const fs::path &root, const fs::path &name) {
    std::error_code error;
    auto at = fs::recursive_directory_iterator(root, error);
    for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
      std::error_code unreachable; // a link to nothing is not a file
      if (at->is_directory(unreachable) && (runs.contains(at->path()) || fs::exists(at->path() / run_lock_name, unreachable))) {
        leaveOut(at->path());
        at.disable_recursion_pending();
      } else if (at->is_regular_file(unreachable)) {
        fs::path file = at->is_symlink(unreachable) ? fs::canonical(at->path(), error) : at->path();
        if (error)
          break;
        if (std::optional<fs::path> run = findRun(file, root))
          leaveOut(*run);
        else
          keep(file, /*is_named=*/false);
      }
    }
    if (error)
      refuse(name, "cannot list: " + error.message());
  }

  std::set<fs::path> runs;
  std::map<std::string, bool> found; // canonical paths in the order of their bytes, and whether they were named
  std::set<std::pair<dev_t, ino_t>> identities;
  FileList list;
  std::string mistakes;
};

} // namespace

FileList listFiles(const std::vector<fs::path> &paths, const std::vector<fs::path> &run_folders) {
  Lister lister(run_folders);
  for (const fs::path &path : paths)
    lister.add(path);
  return lister.finish();
}

} // namespace megacc::runtime

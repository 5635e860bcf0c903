// Folders and writes that survive a loss of power.
#pragma once
#include <filesystem>
#include <stdexcept>
#include <string>

namespace megacc::runtime {

struct FileError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What the system says about a write that failed, by its errno, and what to do about it: "No space left on device; fix: ...".
std::string describeWriteError(int error);

/// The folder of a file, "." for a bare name.
std::filesystem::path folderOf(const std::filesystem::path &file);

/// Makes what was created, renamed or removed in a folder last. Throws FileError.
void syncFolder(const std::filesystem::path &folder);

/// Creates a folder and those above it that are missing, and syncs the parent of every new one. Throws FileError.
void createFolders(const std::filesystem::path &folder);

} // namespace megacc::runtime

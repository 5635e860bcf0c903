#include "lib/Target/Artifact.h"

#include "megacc/StepABI.h"

#include "lld/Common/Driver.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"

#include <filesystem>
#include <optional>
#include <unistd.h>
#include <xxhash.h>

LLD_HAS_DRIVER(elf)

using namespace llvm;

namespace megacc {

static Error writeTo(raw_fd_ostream &os, ArrayRef<char> bytes) {
  os.write(bytes.data(), bytes.size());
  os.flush();
  std::error_code code = os.error();
  os.clear_error();
  return code ? createStringError(code, code.message()) : Error::success();
}

/// Follows links to what is to be written. One that ends at a descriptor of this process, as /dev/stdout does, gives its number: it is not
/// to be opened again, and what it leads to is not to be replaced.
static std::optional<int> followLinks(std::string &path) {
  namespace fs = std::filesystem;
  std::error_code code;
  fs::path at = path, descriptors = "/proc/" + std::to_string(sys::Process::getProcessId()) + "/fd";
  for (int links = 0; links < 40; ++links) { // as many as Linux follows
    fs::path folder = fs::canonical(at.has_parent_path() ? at.parent_path() : fs::path("."), code);
    if (code)
      return std::nullopt; // opening says why
    int descriptor;
    if (folder == descriptors && !StringRef(at.filename().string()).getAsInteger(10, descriptor))
      return descriptor;
    if (!fs::is_symlink(at, code))
      break;
    fs::path target = fs::read_symlink(at, code);
    if (code)
      return std::nullopt;
    at = folder / target; // an absolute target replaces the folder
  }
  path = at.string();
  return std::nullopt;
}

Error writeFile(StringRef given, ArrayRef<char> bytes, bool isExecutable) {
  std::string path = given.str();
  std::optional<int> descriptor = path == "-" ? STDOUT_FILENO : followLinks(path);
  if (descriptor) {
    raw_fd_ostream os(*descriptor, /*shouldClose=*/false);
    return writeTo(os, bytes);
  }
  sys::fs::file_status status;
  std::error_code found = sys::fs::status(path, status);
  if (found && found != std::errc::no_such_file_or_directory)
    return createStringError(found, found.message());
  if (!found && status.type() != sys::fs::file_type::regular_file) {
    std::error_code code;
    raw_fd_ostream os(path, code, sys::fs::CD_OpenExisting, sys::fs::FA_Write, sys::fs::OF_None);
    return code ? createStringError(code, code.message()) : writeTo(os, bytes);
  }
  unsigned mode = sys::fs::all_read | sys::fs::owner_write | (isExecutable ? unsigned(sys::fs::all_exe) : 0);
  Expected<sys::fs::TempFile> file = sys::fs::TempFile::create(path + ".tmp-%%%%%%", mode);
  if (!file)
    return file.takeError();
  raw_fd_ostream os(file->FD, /*shouldClose=*/false);
  if (Error error = writeTo(os, bytes)) {
    consumeError(file->discard());
    return error;
  }
  return file->keep(path);
}

/// A file that is gone at the end of the scope.
static Expected<std::string> createTemporary(StringRef suffix) {
  SmallString<128> path;
  if (std::error_code code = sys::fs::createTemporaryFile("megacc", suffix, path))
    return createStringError(code, "cannot create a temporary file: " + code.message());
  return path.str().str();
}

Expected<SmallVector<char>> linkStep(ArrayRef<char> object) {
  Expected<std::string> input = createTemporary("o"), output = createTemporary("so");
  if (!input || !output)
    return joinErrors(input.takeError(), output.takeError());
  FileRemover removeInput(*input), removeOutput(*output);
  if (Error error = writeFile(*input, object, /*isExecutable=*/false))
    return std::move(error);
  std::string messages;
  raw_string_ostream os(messages);
  const char *arguments[] = {"ld.lld",           "-shared", "--build-id=none", "-z",          "noexecstack",
                             "--hash-style=gnu", "-o",      output->c_str(),   input->c_str()};
  lld::Result result = lld::lldMain(arguments, nulls(), os, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode)
    return createStringError(inconvertibleErrorCode(), "cannot link: " + messages);
  ErrorOr<std::unique_ptr<MemoryBuffer>> image = MemoryBuffer::getFile(*output);
  if (!image)
    return createStringError(image.getError(), "cannot read back the linked step: " + image.getError().message());
  SmallVector<char> bytes((*image)->getBufferStart(), (*image)->getBufferEnd());
  XXH128_canonical_t hash;
  XXH128_canonicalFromHash(&hash, XXH3_128bits(bytes.data(), bytes.size()));
  const char *digits = reinterpret_cast<const char *>(hash.digest);
  bytes.append(digits, digits + sizeof(hash.digest));
  StringRef trailer = MEGACC_TRAILER;
  bytes.append(trailer.begin(), trailer.end());
  return bytes;
}

} // namespace megacc

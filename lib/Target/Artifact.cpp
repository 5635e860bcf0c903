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
#include <memory>
#include <optional>
#include <unistd.h>
#include <xxhash.h>

LLD_HAS_DRIVER(elf)

using namespace llvm;

namespace megacc {

static Error writeTo(raw_fd_ostream &os, StringRef bytes) {
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

namespace {

/// Files that are written beside their places; those that are not put there are gone at the end of the scope.
class Staging {
public:
  ~Staging() {
    for (auto &[file, path, output] : staged)
      consumeError(file.discard());
  }

  Error add(const OutputFile &output) {
    std::string path = output.path;
    std::optional<int> descriptor = path == "-" ? STDOUT_FILENO : followLinks(path);
    if (descriptor) {
      streams.push_back({std::make_unique<raw_fd_ostream>(*descriptor, /*shouldClose=*/false), &output});
      return Error::success();
    }
    sys::fs::file_status status;
    std::error_code found = sys::fs::status(path, status);
    if (found && found != std::errc::no_such_file_or_directory)
      return createStringError(found, found.message());
    if (!found && status.type() != sys::fs::file_type::regular_file) {
      std::error_code code;
      streams.push_back(
          {std::make_unique<raw_fd_ostream>(path, code, sys::fs::CD_OpenExisting, sys::fs::FA_Write, sys::fs::OF_None), &output});
      return code ? createStringError(code, code.message()) : Error::success();
    }
    unsigned mode = sys::fs::all_read | sys::fs::owner_write | (output.isExecutable ? unsigned(sys::fs::all_exe) : 0);
    Expected<sys::fs::TempFile> file = sys::fs::TempFile::create(path + ".tmp-%%%%%%", mode);
    if (!file)
      return file.takeError();
    staged.push_back({std::move(*file), path, &output});
    raw_fd_ostream os(staged.back().file.FD, /*shouldClose=*/false);
    return writeTo(os, output.bytes);
  }

  /// What `failed` names could not be written.
  Error finish(const OutputFile *&failed) {
    for (auto &[os, output] : streams) {
      failed = output;
      if (Error error = writeTo(*os, output->bytes))
        return error;
    }
    for (auto &[file, path, output] : staged) {
      failed = output;
      if (Error error = file.keep(path))
        return error;
    }
    staged.clear();
    return Error::success();
  }

private:
  struct Staged {
    sys::fs::TempFile file;
    std::string path;
    const OutputFile *output;
  };
  std::vector<Staged> staged;
  std::vector<std::pair<std::unique_ptr<raw_fd_ostream>, const OutputFile *>> streams;
};

} // namespace

Error writeFiles(ArrayRef<OutputFile> files) {
  auto name = [](const OutputFile &file, Error error) {
    return createStringError("cannot write " + (file.path == "-" ? "the standard output" : file.path) + ": " + toString(std::move(error)));
  };
  Staging staging;
  for (const OutputFile &file : files)
    if (Error error = staging.add(file))
      return name(file, std::move(error));
  const OutputFile *failed = nullptr;
  if (Error error = staging.finish(failed))
    return name(*failed, std::move(error));
  return Error::success();
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
  if (Error error = writeFiles(OutputFile{*input, {object.data(), object.size()}}))
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

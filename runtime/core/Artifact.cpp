#include "runtime/core/Artifact.h"
#include "runtime/core/Hash.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <optional>
#include <sys/mman.h>
#include <vector>

namespace megacc::runtime {
namespace {

constexpr size_t trailer_bytes = sizeof(XXH128_canonical_t) + sizeof(MEGACC_TRAILER) - 1;

/// An ELF image in memory; every read is checked against its size.
class Image {
public:
  explicit Image(std::string_view bytes) : bytes(bytes) {}

  std::optional<std::string> readText(std::string_view symbol) const {
    auto header = read<Elf64_Ehdr>(0);
    if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
      return std::nullopt;
    for (size_t index = 0; index < header->e_shnum; ++index) {
      auto section = read<Elf64_Shdr>(header->e_shoff + index * sizeof(Elf64_Shdr));
      if (!section || section->sh_type != SHT_DYNSYM)
        continue;
      auto names = read<Elf64_Shdr>(header->e_shoff + section->sh_link * sizeof(Elf64_Shdr));
      if (!names)
        return std::nullopt;
      for (size_t at = 0; at + sizeof(Elf64_Sym) <= section->sh_size; at += sizeof(Elf64_Sym)) {
        auto entry = read<Elf64_Sym>(section->sh_offset + at);
        if (!entry) // the section claims more than the file has
          break;
        if (startsWith(names->sh_offset + entry->st_name, symbol))
          return readAddress(*header, entry->st_value);
      }
    }
    return std::nullopt;
  }

private:
  template <typename T> std::optional<T> read(uint64_t offset) const {
    T value;
    if (offset > bytes.size() || sizeof(T) > bytes.size() - offset)
      return std::nullopt;
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
  }

  /// Whether this text with its NUL stands there.
  bool startsWith(uint64_t offset, std::string_view text) const {
    return offset < bytes.size() && bytes.substr(offset, text.size()) == text && offset + text.size() < bytes.size() &&
           bytes[offset + text.size()] == '\0';
  }

  std::string readString(uint64_t offset) const {
    if (offset >= bytes.size())
      return "";
    return std::string(bytes.data() + offset, strnlen(bytes.data() + offset, bytes.size() - offset));
  }

  /// The text at a virtual address.
  std::optional<std::string> readAddress(const Elf64_Ehdr &header, uint64_t address) const {
    for (size_t index = 0; index < header.e_phnum; ++index) {
      auto part = read<Elf64_Phdr>(header.e_phoff + index * sizeof(Elf64_Phdr));
      if (part && part->p_type == PT_LOAD && address >= part->p_vaddr && address - part->p_vaddr < part->p_filesz)
        return readString(part->p_offset + (address - part->p_vaddr));
    }
    return std::nullopt;
  }

  std::string_view bytes;
};

} // namespace

Artifact::Artifact(const std::string &where) : path(where) {
  auto fail = [&](const std::string &what) { return ArtifactError(path + ": " + what); };
  OpenFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file)
    throw fail(std::string("cannot open: ") + std::strerror(errno));
  std::string bytes;
  std::vector<char> buffer(1 << 20);
  ssize_t count = 0;
  while ((count = ::read(file.get(), buffer.data(), buffer.size())) > 0 || (count < 0 && errno == EINTR))
    bytes.append(buffer.data(), size_t(std::max<ssize_t>(count, 0)));
  if (count < 0)
    throw fail(std::string("cannot read: ") + std::strerror(errno));
  if (bytes.size() < trailer_bytes || !bytes.ends_with(MEGACC_TRAILER))
    throw fail("is not a step.so, or is cut off: it does not end in " MEGACC_TRAILER "; fix: compile the declaration again");
  size_t image_bytes = bytes.size() - trailer_bytes;
  XXH128_canonical_t stored;
  std::memcpy(&stored, bytes.data() + image_bytes, sizeof stored);
  digits = Hash::digitsOf(XXH128_hashFromCanonical(&stored));
  if (std::string computed = Hash::digitsOf(XXH3_128bits(bytes.data(), image_bytes)); computed != digits)
    throw fail("has changed since it was compiled: its hash is " + computed + ", it was " + digits +
               "; fix: compile the declaration again");
  std::optional<std::string> found = Image(std::string_view(bytes).substr(0, image_bytes)).readText("megacc_descriptor");
  if (!found)
    throw fail("holds no descriptor; fix: compile the declaration again");
  text = *found;

  copy = OpenFile(::memfd_create("step.so", MFD_CLOEXEC));
  for (size_t done = 0; done < image_bytes; done += size_t(count)) {
    count = copy ? ::write(copy.get(), bytes.data() + done, image_bytes - done) : -1;
    if (count < 0)
      throw fail(std::string("cannot be copied to memory: ") + std::strerror(errno));
  }
}

std::shared_ptr<void> Artifact::open() const {
  void *opened = dlopen(("/proc/self/fd/" + std::to_string(copy.get())).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!opened)
    throw ArtifactError(path + ": cannot be opened: " + dlerror() + "; fix: use the kernel library of the same release");
  return {opened, dlclose};
}

std::string readArtifact(const std::string &path) { return Artifact(path).descriptor(); }

} // namespace megacc::runtime

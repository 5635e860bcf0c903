// Safetensors files: opened, checked, every tensor read.
#include "runtime/state/Safetensors.h"
#include "test/fuzz/FuzzSupport.h"

#include <vector>

using namespace megacc::runtime;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  MemoryFile memory(data, size);
  try {
    SafetensorsFile file(memory.path());
    for (const auto &[name, entry] : file.entries()) {
      require(entry.begin <= size && entry.bytes <= size - entry.begin, "a tensor lies inside the file");
      std::vector<std::byte> bytes(entry.bytes);
      file.read(name, entry.dtype, bytes);
      std::vector<float> values(entry.bytes / 4);
      if (entry.dtype == "F32")
        file.readFloats(name, 0, values);
    }
    file.verify();
  } catch (const FileError &error) {
    require(*error.what(), "a refusal says why");
  }
  return 0;
}

// Descriptors: an ELF image gets the hash of a step.so and is searched for its descriptor; any other text is read as one.
#include "runtime/core/Descriptor.h"
#include "test/fuzz/FuzzSupport.h"

#include <cstring>
#include <xxhash.h>

using namespace megacc::runtime;

static std::string seal(std::string image) {
  XXH128_canonical_t hash;
  XXH128_canonicalFromHash(&hash, XXH3_128bits(image.data(), image.size()));
  return image.append(reinterpret_cast<const char *>(hash.digest), sizeof hash.digest).append(MEGACC_TRAILER);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string text(reinterpret_cast<const char *>(data), size);
  try {
    if (text.starts_with("\x7f"
                         "ELF")) {
      std::string file = seal(text);
      text = readArtifact(MemoryFile(file.data(), file.size()).path());
    }
    Descriptor descriptor = readDescriptor(text);
    for (const ParameterPlace &parameter : descriptor.parameters) {
      int64_t covered = 0;
      for (const ElementRun &run : parameter.runs()) {
        require(run.begin == covered && run.count >= 0, "the runs of a parameter follow one another");
        covered += run.count;
      }
      require(covered == parameter.elements(), "the runs of a parameter are its elements");
    }
  } catch (const ArtifactError &error) {
    require(*error.what(), "a refusal says why");
  }
  return 0;
}

// Token files: two bytes of the index's size, the index, then the tokens; read with the index and as plain tokens of two widths.
#include "runtime/data/Source.h"
#include "test/fuzz/FuzzSupport.h"

#include <functional>
#include <vector>

using namespace megacc::runtime;

/// Every token and document of a source that opens.
static void readAll(const std::function<Source()> &open) {
  try {
    constexpr int64_t vocab = 60000;
    Source source = open();
    require(source.size() > 0, "what opens has tokens");
    std::vector<int32_t> tokens(source.size()), documents(source.size());
    source.readDocuments(0, documents);
    for (size_t i = 0; i < documents.size(); ++i)
      require(documents[i] >= (i ? documents[i - 1] : 0), "documents are numbered in order");
    source.read(0, vocab, tokens);
    for (int32_t token : tokens)
      require(token >= 0 && token < vocab, "a token is inside the vocab");
  } catch (const DataError &error) {
    require(*error.what(), "a refusal says why");
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2)
    return -1;
  size_t index_bytes = std::min<size_t>(data[0] | data[1] << 8, size - 2);
  MemoryFile index(data + 2, index_bytes), tokens(data + 2 + index_bytes, size - 2 - index_bytes);
  readAll([&] { return Source::fromMegatron(tokens.path(), index.path()); });
  readAll([&] { return Source::fromTokens(tokens.path(), 2); });
  readAll([&] { return Source::fromTokens(tokens.path(), 4); });
  return 0;
}

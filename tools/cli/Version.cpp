#include "tools/cli/Version.h"

#include "runtime/core/Device.h"

namespace megacc {

static std::string describeCpu() {
  try {
    return runtime::Device("cpu", {}).variant();
  } catch (const std::exception &error) {
    return error.what();
  }
}

std::string describeBuild(const std::string &program, const std::vector<std::pair<std::string, std::string>> &parts) {
  std::vector<std::pair<std::string, std::string>> lines = parts;
  lines.emplace_back("ABI", std::to_string(MEGACC_ABI_VERSION));
  lines.emplace_back("build", MEGACC_BUILD);
  lines.emplace_back("cpu", describeCpu());
  std::string text = program + " " MEGACC_VERSION;
  for (const auto &[name, value] : lines)
    text += "\n  " + name + std::string(8 - name.size(), ' ') + value;
  return text;
}

} // namespace megacc

#include "tools/megacc/Diff.h"

#include "runtime/core/Format.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <vector>

namespace megacc {
namespace {

using runtime::format;
using Json = nlohmann::ordered_json;

/// A number of both plans; null where one does not have it.
struct Figure {
  std::string name;
  Json before, after;
};

/// A plan, or what is wrong with the file.
Json readPlan(const std::string &path, std::string &error) {
  std::ifstream file(path);
  if (!file) {
    error = path + ": cannot be read";
    return {};
  }
  std::stringstream text;
  text << file.rdbuf();
  Json plan = Json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
  if (plan.is_discarded() || !plan.is_object()) {
    error = path + ": is not JSON of one object; fix: megacc FILE --emit=plan --json";
    return {};
  }
  auto lack = [&](bool isThere, const char *key) {
    if (!isThere && error.empty())
      error = path + ": is not a plan, it has no \"" + key + "\"";
  };
  for (const char *key : {"step_ms", "total_bytes", "budget_bytes", "minimum_bytes", "gap"})
    lack(plan.contains(key) && (plan[key].is_number() || plan[key].is_null()), key);
  lack(plan.contains("model") && plan["model"].is_string(), "model");
  lack(plan.contains("bytes") && plan["bytes"].is_object(), "bytes");
  for (const char *key : {"families", "decisions"})
    lack(plan.contains(key) && plan[key].is_array(), key);
  if (!error.empty())
    error += "; fix: megacc FILE --emit=plan --json -o " + path;
  return plan;
}

Json get(const Json &object, const std::string &pointer) {
  const Json::json_pointer at(pointer);
  return object.contains(at) ? object.at(at) : Json();
}

/// Every figure that differs, in the order of the first plan.
std::vector<Figure> compareFigures(const Json &before, const Json &after) {
  std::vector<Figure> figures;
  auto compare = [&](const std::string &name, const Json &a, const Json &b) {
    if (a != b)
      figures.push_back({name, a, b});
  };
  for (const char *key : {"model", "target", "precision", "sequence", "depth", "micro_batch", "accumulate", "step_ms", "bound_ms",
                          "total_bytes", "budget_bytes", "minimum_bytes", "gap"})
    compare(key, get(before, std::string("/") + key), get(after, std::string("/") + key));
  for (const char *pointer : {"/times/machine", "/parameters/total", "/parameters/active", "/flops_per_token", "/ms/total", "/ms/forward",
                              "/ms/backward", "/ms/again", "/times/update_ms", "/peak/bytes", "/peak/launch", "/traffic/moved"})
    compare(std::string(pointer + 1), get(before, pointer), get(after, pointer));
  std::map<std::string, std::pair<Json, Json>> segments, families;
  for (const auto &[plan, isAfter] : {std::pair(&before, false), std::pair(&after, true)}) {
    for (const auto &[name, bytes] : plan->at("bytes").items())
      (isAfter ? segments[name].second : segments[name].first) = bytes;
    for (const Json &row : plan->at("families"))
      if (row.is_object() && row.contains("family") && row["family"].is_string())
        (isAfter ? families[row["family"].get<std::string>()].second : families[row["family"].get<std::string>()].first) =
            get(row, "/ms/total");
  }
  for (const auto &[name, pair] : segments)
    compare("bytes/" + name, pair.first, pair.second);
  for (const auto &[name, pair] : families)
    compare("ms/" + name, pair.first, pair.second);
  return figures;
}

/// Decisions of one plan that the other does not have with the same choice, slots and figures.
Json getOwnDecisions(const Json &plan, const Json &other) {
  Json own = Json::array();
  for (const Json &decision : plan.at("decisions"))
    if (std::ranges::find(other.at("decisions"), decision) == other.at("decisions").end())
      own.push_back(decision);
  return own;
}

std::string writeValue(const Json &value) {
  if (value.is_null())
    return "-";
  if (value.is_string())
    return value.get<std::string>();
  return value.is_number_float() ? format("%.3f", value.get<double>()) : value.dump();
}

std::string describeDecision(const Json &decision) {
  auto text = [&](const char *key) {
    const Json value = decision.is_object() ? decision.value(key, Json()) : Json();
    return value.is_string() ? value.get<std::string>() : std::string();
  };
  const std::string block = text("block");
  return block + (block.empty() ? "" : block.size() == 1 ? ":" : ": ") + text("value") + ": " + text("choice") + ", " + text("reason");
}

std::string describe(const std::string &before, const std::string &after, const std::vector<Figure> &figures, const Json &left,
                     const Json &right) {
  std::string text = "- " + before + "\n+ " + after + "\n";
  if (figures.empty() && left.empty() && right.empty())
    return text + "the same figures and decisions\n";
  if (!figures.empty())
    text += format("\n%-24s %22s %22s %22s\n", "", "-", "+", "difference");
  for (const Figure &figure : figures) {
    std::string difference;
    if (figure.before.is_number() && figure.after.is_number()) {
      const double a = figure.before.get<double>(), b = figure.after.get<double>();
      const bool isWhole = figure.before.is_number_integer() && figure.after.is_number_integer();
      difference = (isWhole ? format("%+.0f", b - a) : format("%+.3f", b - a)) + (a != 0 ? format(" (%+.2f %%)", 100 * (b - a) / a) : "");
    }
    text += format("%-24s %22s %22s %22s\n", figure.name.c_str(), writeValue(figure.before).c_str(), writeValue(figure.after).c_str(),
                   difference.c_str());
  }
  if (!left.empty() || !right.empty())
    text += "\ndecisions\n";
  for (const auto &[decisions, sign] : {std::pair(&left, "- "), std::pair(&right, "+ ")})
    for (const Json &decision : *decisions)
      text += sign + describeDecision(decision) + "\n";
  return text;
}

} // namespace

int diffPlans(const std::string &before, const std::string &after, bool isJson) {
  std::string errors[2];
  const Json plans[2] = {readPlan(before, errors[0]), readPlan(after, errors[1])};
  for (const std::string &error : errors)
    if (!error.empty())
      fprintf(stderr, "error: %s\n", error.c_str());
  if (!errors[0].empty() || !errors[1].empty())
    return 1;
  const std::vector<Figure> figures = compareFigures(plans[0], plans[1]);
  const Json left = getOwnDecisions(plans[0], plans[1]), right = getOwnDecisions(plans[1], plans[0]);
  std::string text;
  if (isJson) {
    Json differing = Json::object();
    for (const Figure &figure : figures)
      differing[figure.name] = {{"before", figure.before}, {"after", figure.after}};
    text = Json({{"figures", differing}, {"decisions", {{"before", left}, {"after", right}}}})
               .dump(1, ' ', false, Json::error_handler_t::replace) +
           "\n";
  } else {
    text = describe(before, after, figures, left, right);
  }
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
    fprintf(stderr, "error: cannot write to the standard output\n");
    return 1;
  }
  return 0;
}

} // namespace megacc

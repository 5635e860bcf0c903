#include "runtime/train/Interventions.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

using nlohmann::ordered_json;

namespace megacc::runtime {
namespace {

std::string listText(const std::vector<int64_t> &numbers) {
  std::string text;
  for (int64_t number : numbers)
    text += (text.empty() ? "" : ", ") + std::to_string(number);
  return "[" + text + "]";
}

std::optional<int64_t> readInteger(std::string_view text) {
  int64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number >= 0 ? std::optional(number) : std::nullopt;
}

/// "5" or "[5,7]": steps from 1, ascending.
std::optional<std::vector<int64_t>> readSteps(std::string_view text) {
  if (text.starts_with('[') && text.ends_with(']'))
    text = text.substr(1, text.size() - 2);
  std::vector<int64_t> steps;
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find(',', begin), text.size());
    std::optional<int64_t> number = readInteger(text.substr(begin, end - begin));
    if (!number || *number < 1 || (!steps.empty() && *number <= steps.back()))
      return std::nullopt;
    steps.push_back(*number), begin = end + 1;
  }
  return steps;
}

/// Applies "K:key=value[,key=value]"; what is wrong with it, or "".
std::string applyFlag(const std::string &flag, std::vector<Schedule> &schedules) {
  size_t colon = flag.find(':');
  std::optional<int64_t> number = readInteger(std::string_view(flag).substr(0, colon));
  if (colon == std::string::npos || !number)
    return "expected K:every=N, K:at=[N,N], K:start=N or K:stop=N";
  if (*number >= int64_t(schedules.size()))
    return "the step has " + std::to_string(schedules.size()) + " interventions, from 0";
  Schedule &schedule = schedules[*number];
  std::string_view rest = std::string_view(flag).substr(colon + 1);
  while (!rest.empty()) {
    size_t equals = rest.find('='), from = equals == std::string_view::npos ? rest.size() : equals + 1;
    size_t close = from < rest.size() && rest[from] == '[' ? std::min(rest.find(']', from), rest.size() - 1) : from;
    size_t end = std::min(rest.find(',', close), rest.size());
    std::string_view key = rest.substr(0, equals), value = from < end ? rest.substr(from, end - from) : std::string_view();
    if (key == "at") {
      std::optional<std::vector<int64_t>> steps = readSteps(value);
      if (!steps)
        return "at = " + std::string(value) + " are no steps; fix: at=[100,200], which counts updates from 1 and ascends";
      schedule.at = *steps, schedule.every = 0;
    } else if (key == "every" || key == "start" || key == "stop") {
      std::optional<int64_t> steps = readInteger(value);
      if (!steps || (key == "every" && *steps < 1))
        return std::string(key) + " = " + std::string(value) + " is no number of steps";
      if (key == "every")
        schedule.at.clear();
      (key == "every" ? schedule.every : key == "start" ? schedule.start : schedule.stop) = *steps;
    } else
      return "has no " + std::string(key) + "; there are at, every, start, stop (the rest is compiled in)";
    rest = rest.substr(std::min(end + 1, rest.size()));
  }
  return "";
}

/// All keys but when it is due.
ordered_json withoutSchedule(ordered_json keys) {
  for (const char *key : {"at", "every", "start", "stop"})
    keys.erase(key);
  return keys;
}

std::string kindsOf(const ordered_json &list) {
  std::string text;
  for (const ordered_json &entry : list)
    text += (text.empty() ? "" : ", ") + entry.value("kind", "?");
  return text.empty() ? "none" : text;
}

ordered_json toJson(const std::vector<Intervention> &declared, const std::vector<Schedule> &schedules) {
  ordered_json all = ordered_json::array();
  for (size_t number = 0; number < declared.size(); ++number) {
    ordered_json entry = ordered_json::parse(declared[number].keys);
    const Schedule &schedule = schedules[number];
    entry["at"] = schedule.at, entry["every"] = schedule.every, entry["start"] = schedule.start, entry["stop"] = schedule.stop;
    all.push_back(std::move(entry));
  }
  return all;
}

} // namespace

std::string describeSchedule(const Intervention &intervention, const Schedule &schedule) {
  if (!schedule.at.empty())
    return intervention.kind + " at " + listText(schedule.at);
  return intervention.kind + " every " + std::to_string(schedule.every) + " after " + std::to_string(schedule.start) +
         (schedule.stop ? " up to " + std::to_string(schedule.stop) : "");
}

std::vector<Schedule> chooseSchedules(const std::vector<Intervention> &declared, const std::string &resumed,
                                      const std::vector<std::string> &flags, int64_t step, int64_t steps, std::vector<std::string> &notes) {
  std::vector<Schedule> schedules;
  for (const Intervention &intervention : declared)
    schedules.push_back(intervention.schedule);
  ordered_json now = toJson(declared, schedules), then = ordered_json::parse(resumed.empty() ? "[]" : resumed, nullptr, false);
  if (!then.is_array())
    throw std::runtime_error("the checkpoint's 'interventions' are damaged");
  auto strip = [](ordered_json list) {
    for (ordered_json &entry : list)
      entry = withoutSchedule(entry);
    return nlohmann::json(list);
  };
  if (step > 0 && strip(now) != strip(then))
    notes.push_back("the interventions are not the checkpoint's: " + kindsOf(now) + " instead of " + kindsOf(then));
  else if (step > 0)
    for (size_t number = 0; number < schedules.size(); ++number) {
      const ordered_json &entry = then[number];
      schedules[number] = {entry.at("at"), entry.at("every"), entry.at("start"), entry.at("stop")};
    }
  const std::vector<Schedule> before = schedules;
  std::string mistakes;
  for (const std::string &flag : flags)
    if (std::string wrong = applyFlag(flag, schedules); !wrong.empty())
      mistakes += (mistakes.empty() ? "" : "\n") + ("--intervention=" + flag + ": " + wrong);
  if (!mistakes.empty())
    throw std::runtime_error(mistakes);
  for (size_t number = 0; number < schedules.size(); ++number) {
    const Intervention &intervention = declared[number];
    if (step > 0 && schedules[number] != before[number])
      notes.push_back("warning: --intervention: " + describeSchedule(intervention, schedules[number]) + " replaces the checkpoint's " +
                      describeSchedule(intervention, before[number]));
    if (!schedules[number].isDueWithin(step, steps))
      notes.push_back("warning: " + intervention.kind + ": no update " + (step ? "from " + std::to_string(step + 1) + " " : "") + "up to " +
                      std::to_string(steps) + " steps is due");
  }
  return schedules;
}

std::string storeSchedules(const std::vector<Intervention> &declared, const std::vector<Schedule> &schedules) {
  return toJson(declared, schedules).dump();
}

std::vector<size_t> readNumbers(const std::vector<Intervention> &declared, const std::vector<int64_t> &asked) {
  std::string mistakes;
  std::vector<size_t> numbers;
  for (int64_t number : asked) {
    std::string wrong;
    if (number < 0 || number >= int64_t(declared.size()))
      wrong = "the step has " + std::to_string(declared.size()) + " interventions, from 0";
    else if (const Intervention &intervention = declared[number]; intervention.needs_activity)
      wrong = intervention.kind + " needs the activity of a step";
    else if (intervention.needs_gradient)
      wrong = intervention.kind + " with direction = gradient needs the gradient of a step";
    if (!wrong.empty())
      mistakes += (mistakes.empty() ? "" : "\n") + ("--intervene=" + std::to_string(number) + ": " + wrong);
    numbers.push_back(size_t(number));
  }
  if (!mistakes.empty())
    throw std::runtime_error(mistakes);
  return numbers;
}

ordered_json intervene(Step &step, size_t number) {
  step.runIntervention(number);
  step.fetchMetrics();
  const Descriptor &about = step.descriptor();
  const std::string name = interventionName(number);
  ordered_json report = {{"intervention", number}, {"kind", about.interventions[number].kind}};
  if (const Place *place = about.findMetric(name); place && report["kind"] == "fire") {
    report["pieces"] = int64_t(step.metric(*place, 0));
    report["moved"] = std::sqrt(step.metric(*place, 1) / std::max(step.metric(*place, 2), 1e-300));
    report["residual"] = step.metric(*place, 3);
  } else if (place) {
    report["rows"] = int64_t(step.metric(*place, 0)), report["shrunk"] = int64_t(step.metric(*place, 1));
    report["mean"] = step.metric(*place, 2) / std::max(step.metric(*place, 0), 1.0);
  }
  if (!about.interventions[number].needs_activity)
    return report;
  int64_t not_judged = 0; // layers, or experts of them
  ordered_json dormant = ordered_json::object();
  for (const Place &place : about.metrics) {
    if (!place.name.starts_with(name + "."))
      continue;
    int64_t units = 0;
    for (int64_t expert = 0; expert < place.elements(); ++expert)
      if (double count = step.metric(place, expert); count < 0)
        ++not_judged;
      else
        units += int64_t(count);
    dormant[place.name.substr(name.size() + 1)] = units;
  }
  report["dormant"] = std::move(dormant), report["not_judged"] = not_judged;
  return report;
}

std::vector<ordered_json> interveneAfter(Step &step, const std::vector<Schedule> &schedules, int64_t t, bool finite) {
  std::vector<ordered_json> reports;
  for (size_t number = 0; number < schedules.size(); ++number) {
    const Intervention &intervention = step.descriptor().interventions[number];
    if (!schedules[number].isDue(t))
      continue;
    if (finite || !(intervention.needs_activity || intervention.needs_gradient))
      reports.push_back(intervene(step, number));
    else
      reports.push_back({{"intervention", number}, {"kind", intervention.kind}, {"left_out", "the step is not finite"}});
  }
  return reports;
}

std::string describeReport(const ordered_json &report) {
  std::string text = report.at("kind").get<std::string>() + ":";
  for (const auto &[key, value] : report.items())
    if (key == "dormant") {
      int64_t units = 0;
      for (const auto &[layer, count] : value.items())
        units += count.get<int64_t>();
      text += " " + std::to_string(units) + " dormant units of " + std::to_string(value.size()) + " layers";
    } else if (key == "left_out")
      text += " left out, " + value.get<std::string>();
    else if (key != "intervention" && key != "kind" && key != "step") {
      char number[40];
      snprintf(number, sizeof number, "%.4g", value.get<double>());
      text += " " + key + " " + number;
    }
  return text;
}

} // namespace megacc::runtime

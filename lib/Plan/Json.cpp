// A plan for programs: docs/plan.md says what every key is.
#include "lib/Plan/Plan.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

namespace megacc {
namespace {

using Json = nlohmann::ordered_json;

template <typename T> Json orNull(const std::optional<T> &value) { return value ? Json(*value) : Json(); }

Json makeOption(const Decision::Option &option) {
  return {{"choice", option.choice}, {"bytes", orNull(option.bytes)}, {"ms", orNull(option.milliseconds)}};
}

Json makeDecisions(const std::vector<Decision> &decisions) {
  Json list = Json::array();
  for (const Decision &decision : decisions) {
    Json entry = {{"block", decision.block}, {"value", decision.value}, {"slots", decision.slots}};
    entry.update(makeOption(decision.chosen));
    entry["alternatives"] = Json::array();
    for (const Decision::Option &option : decision.alternatives)
      entry["alternatives"].push_back(makeOption(option));
    entry["reason"] = decision.reason;
    list.push_back(std::move(entry));
  }
  return list;
}

void addSum(Json &entry, const Plan::Sum &sum) {
  entry["parameters"] = {{"total", sum.parameters}, {"active", std::llround(sum.active)}};
  entry["flops_per_token"] = sum.flops;
  entry["ms"] = {{"total", sum.milliseconds()},
                 {"forward", sum.forward},
                 {"backward", sum.backward},
                 {"again", sum.again},
                 {"estimated", sum.estimated}};
  entry["kept_bytes"] = sum.kept_bytes;
  entry["again_bytes"] = sum.again_bytes;
}

Json makePeak(const Plan &plan) {
  Json values = Json::array();
  for (const Peak::Row &row : llvm::ArrayRef(plan.peak.rows).take_front(10))
    values.push_back({{"count", row.paths.size()},
                      {"bytes", row.bytes},
                      {"class", valueClassNames[row.kind]},
                      {"kernel", row.kernel},
                      {"first", row.paths.front()},
                      {"last", row.paths.back()}});
  return {{"bytes", plan.peak.bytes},
          {"launch", plan.peak.path},
          {"kernel", plan.peak.kernel},
          {"again", plan.peak.is_again},
          {"values", values}};
}

/// At most this many points: of more launches each point is the one of its neighbours with most bytes, so that the peak is among them.
constexpr size_t mostPoints = 1000;

Json makeTimeline(const Plan &plan) {
  size_t size = plan.alive.size(), stride = (size + mostPoints - 1) / mostPoints;
  Json launches = Json::array();
  std::array<Json, kValueClasses> classes;
  classes.fill(Json::array());
  for (size_t begin = 0; begin < size; begin += stride) {
    size_t best = begin;
    auto sum = [&](size_t at) { return std::accumulate(plan.alive[at].begin(), plan.alive[at].end(), int64_t(0)); };
    for (size_t at = begin; at < std::min(begin + stride, size); ++at)
      best = sum(at) > sum(best) ? at : best;
    launches.push_back(best);
    for (int kind = 0; kind < kValueClasses; ++kind)
      classes[kind].push_back(plan.alive[best][kind]);
  }
  int64_t state = 0;
  for (const auto &[name, bytes] : plan.segments)
    state += name == "temporaries" ? 0 : bytes;
  Json timeline = {{"count", size}, {"update", plan.update_begin}, {"state", state}, {"launches", launches}};
  for (int kind = 0; kind < kValueClasses; ++kind)
    timeline["classes"][valueClassNames[kind]] = classes[kind];
  return timeline;
}

Json makePlan(const Plan &plan) {
  bool is_lowered = plan.unsupported.empty();
  auto ifLowered = [&](auto value) { return is_lowered ? Json(value) : Json(); };
  Json top = {{"step_ms", ifLowered(plan.step)},
              {"total_bytes", ifLowered(plan.total_bytes)},
              {"budget_bytes", plan.budget_bytes ? Json(plan.budget_bytes) : Json()},
              {"minimum_bytes", orNull(plan.minimum_bytes)},
              {"gap", orNull(plan.gap())},
              {"bound_ms", orNull(plan.bound)},
              {"solve_ms", orNull(plan.solve)},
              {"model", plan.model},
              {"target", plan.target},
              {"precision", plan.precision},
              {"hidden", plan.hidden},
              {"vocab", plan.vocab},
              {"sequence", plan.sequence},
              {"depth", plan.depth},
              {"micro_batch", plan.micro_batch},
              {"accumulate", plan.accumulate},
              {"unsupported", plan.unsupported},
              {"times",
               {{"machine", plan.machine},
                {"measured", plan.is_measured},
                {"update_ms", ifLowered(plan.update)},
                {"estimated_step_ms", ifLowered(plan.estimated_step)},
                {"measured_step_ms", orNull(plan.measured_step)}}}};
  addSum(top, plan.all);
  if (plan.muon.matrices)
    top["muon"] = {
        {"matrices", plan.muon.matrices}, {"pieces", plan.muon.pieces}, {"parameters", plan.muon.parameters}, {"flops", plan.muon.flops}};
  for (const Plan::Intervention &row : plan.interventions)
    top["interventions"].push_back({{"function", row.function},
                                    {"kind", row.kind},
                                    {"when", row.when},
                                    {"matrices", row.matrices},
                                    {"pieces", row.pieces},
                                    {"flops", ifLowered(row.flops)},
                                    {"bytes", ifLowered(row.bytes)},
                                    {"workspace", ifLowered(row.workspace)},
                                    {"ms", ifLowered(row.milliseconds)}});
  for (const auto &[name, bytes] : plan.segments)
    top["bytes"][name] = bytes;
  if (is_lowered) {
    top["peak"] = makePeak(plan);
    top["peak"]["function"] = plan.peak_function;
    top["peak"]["live_bytes"] = plan.live_bytes;
    top["traffic"] = {{"moved", plan.traffic.moved}, {"state", plan.traffic.state}, {"saved", plan.traffic.saved}};
  }
  if (plan.mesh.countRanks() > 1) {
    top["mesh"] = {{"dp", plan.mesh.dp}, {"tp", plan.mesh.tp}, {"ep", plan.mesh.ep}};
    for (const Plan::Mesh::Parameter &row : plan.mesh.parameters)
      top["mesh"]["parameters"].push_back({{"parameter", row.name},
                                           {"blocks", row.count},
                                           {"shape", row.shape},
                                           {"local", row.local},
                                           {"sharding", row.sharding},
                                           {"update", row.update}});
    for (const Plan::Mesh::Collective &row : plan.mesh.collectives)
      top["mesh"]["collectives"].push_back({{"collective", row.collective},
                                            {"function", row.function},
                                            {"axis", row.axis},
                                            {"launches", row.launches},
                                            {"bytes", row.bytes},
                                            {"ms", row.milliseconds}});
  }
  top["families"] = Json::array();
  auto addFamily = [&](const std::string &name, const Plan::Sum &sum) {
    Json entry = {{"family", name}, {"blocks", sum.blocks}};
    addSum(entry, sum);
    top["families"].push_back(std::move(entry));
  };
  for (const auto &[name, sum] : plan.families)
    addFamily(name, sum);
  addFamily("outside", plan.outside);
  top["blocks"] = Json::array();
  for (const Plan::Row &row : plan.rows) {
    Json entry = {{"letter", std::string(1, row.letter)}, {"family", row.family}, {"features", row.features}, {"slots", row.slots}};
    addSum(entry, row.sum);
    entry["kernels"] = row.kernels;
    top["blocks"].push_back(std::move(entry));
  }
  top["kernels"] = Json::array();
  for (const auto &[name, kernel] : plan.kernels)
    top["kernels"].push_back({{"kernel", name},
                              {"launches", kernel.launches},
                              {"flops", kernel.flops},
                              {"bytes", kernel.bytes},
                              {"ms", kernel.milliseconds},
                              {"estimated_ms", kernel.estimated}});
  top["decisions"] = makeDecisions(plan.decisions);
  top["budgets"] = Json::array();
  for (const Plan::Budget &budget : plan.budgets)
    top["budgets"].push_back({{"bytes", budget.bytes}, {"step_ms", budget.step}, {"again_ms", budget.again}});
  if (is_lowered)
    top["timeline"] = makeTimeline(plan);
  return top;
}

/// A line for each entry of an object or of an array.
std::string write(const Json &json) {
  std::string text;
  for (const auto &[key, value] : json.items())
    text += (text.empty() ? "\n " : ",\n ") + (json.is_object() ? Json(key).dump() + ": " : "") +
            value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return (json.is_object() ? "{" : "[") + text + (json.is_object() ? "\n}\n" : "\n]\n");
}

} // namespace

std::string makePlanJson(const Plan &plan) { return write(makePlan(plan)); }

std::string makeDecisionsJson(const Plan &plan) { return write(makeDecisions(plan.decisions)); }

} // namespace megacc

#include "dialects/Interfaces/Functions.h"
#include "dialects/Mega/Parameters.h"
#include "lib/Plan/MeshTable.h"

#include "llvm/ADT/STLExtras.h"

#include <numeric>

using namespace megacc::mega;

namespace megacc {
namespace {

void join(Plan::Sum &sum, const Plan::Sum &part) {
  sum.parameters += part.parameters, sum.active += part.active, sum.flops += part.flops;
  sum.forward += part.forward, sum.backward += part.backward, sum.again += part.again, sum.estimated += part.estimated;
  sum.kept_bytes += part.kept_bytes, sum.again_bytes += part.again_bytes;
}

class Gatherer {
public:
  Gatherer(const Model &model, const Costs &costs, Plan &plan) : model(model), costs(costs), plan(plan), slots(model.blocks.size()) {
    kernels.resize(model.blocks.size());
  }

  /// What the declaration implies: shapes and FLOPs of every family, no activations.
  void readDeclaration() {
    plan.outside.flops = 3 * outerFlops(model);
    int64_t weight_bytes = 0, optimizer_bytes = 0, trained = 0, width = plan.precision == "bf16" ? 2 : 4;
    int64_t moment_width = model.train && model.train->moments == "bf16" ? 2 : 4;
    const std::set<std::string> muon = findMuonMatrices(model);
    for (const Block &block : model.blocks)
      slots[block.slot].flops = 3 * blockFlops(model, block);
    for (const Parameter &parameter : parameters(model)) {
      bool has_master = width == 2 && !parameter.fp32;
      weight_bytes += parameter.elements() * (has_master ? 2 : 4);
      if (!parameter.trained)
        continue;
      optimizer_bytes += parameter.elements() * ((has_master ? 4 : 0) + moment_width * (muon.count(parameter.name) ? 1 : 2));
      trained += parameter.elements();
      addParameters(parameter.slot, parameter.elements(), parameter.active_share);
    }
    plan.segments = {{"weights", weight_bytes}, {"gradients", 4 * trained}, {"optimizer", optimizer_bytes}};
  }

  /// What will run.
  void readLaunches(mlir::ModuleOp launches) {
    std::map<std::string, double> shares; // an expert is used by a part of the tokens
    for (const Parameter &parameter : parameters(model))
      shares[parameter.name] = parameter.active_share;
    for (auto parameter : launches.getOps<rt::ParameterOp>())
      if (parameter.getTrained())
        addParameters(parameter.getBlock(),
                      mlir::cast<mlir::RankedTensorType>(parameter.getWhole().value_or(parameter.getType())).getNumElements(),
                      shares[parameter.getName().str()]);
    Schedule micro_batch = readSchedule(launches, "micro_batch"), update = readSchedule(launches, "update");
    for (rt::CallOp call : micro_batch.calls)
      addLaunch(call);
    for (const Schedule::Value &value : micro_batch.values) {
      Plan::Sum &sum = getSum(rt::CallOp(micro_batch.calls[value.first]).getBlock());
      sum.kept_bytes += value.kind == kKept ? value.bytes : 0;
      sum.again_bytes += value.kind == kAgain ? value.bytes : 0;
    }
    for (rt::CallOp call : update.calls)
      plan.update += countKernel(call, 1), plan.estimated_step += estimate(call);
    for (auto segment : launches.getOps<rt::SegmentOp>()) {
      if (segment.getBytes() || segment.getName() != rt::getSegmentName(MG_CONSTANTS))
        plan.segments.push_back({segment.getName().str(), int64_t(segment.getBytes())});
      if (segment.getLiveBytes())
        plan.live_bytes = *segment.getLiveBytes(), plan.peak_function = segment.getPeak().value_or("").str();
    }
    for (Plan::Intervention &row : plan.interventions) {
      Schedule schedule = readSchedule(launches, row.function);
      for (rt::CallOp call : schedule.calls) {
        row.flops += double(call.getFlops()), row.bytes += int64_t(call.getMovedBytes());
        row.milliseconds += estimate(call);
      }
      for (const Schedule::Alive &alive : schedule.countAlive())
        row.workspace = std::max(row.workspace, std::accumulate(alive.begin(), alive.end(), int64_t(0)));
    }
    plan.peak = findPeak(micro_batch);
    plan.alive = micro_batch.countAlive();
    plan.update_begin = plan.alive.size();
    llvm::append_range(plan.alive, update.countAlive());
    plan.traffic = measureTraffic(launches, plan.accumulate);
    plan.decisions = readDecisions(launches);
  }

  /// Families, rows and totals from the slots.
  void addUp() {
    for (const Block &block : model.blocks) {
      Plan::Sum &family = plan.families[block.kind];
      ++family.blocks, ++plan.all.blocks;
      join(family, slots[block.slot]), join(plan.all, slots[block.slot]);
      addToRows(block);
    }
    join(plan.all, plan.outside);
    for (const auto &[name, bytes] : plan.segments)
      plan.total_bytes += bytes;
    plan.step = double(plan.accumulate) * plan.all.milliseconds() + plan.update;
    plan.estimated_step += double(plan.accumulate) * plan.all.estimated;
  }

  /// What the planner left beside the launches.
  void readPlanner(mlir::ModuleOp launches) {
    double kept = plan.step - double(plan.accumulate) * plan.all.again;
    if (auto facts = launches->getAttrOfType<mlir::DictionaryAttr>(kMemoryAttr)) {
      plan.minimum_bytes = facts.getAs<mlir::IntegerAttr>("minimum").getInt();
      plan.solve = facts.getAs<mlir::FloatAttr>("solve").getValueAsDouble();
      if (auto above = facts.getAs<mlir::FloatAttr>("above_bound"))
        plan.bound = plan.step - double(plan.accumulate) * above.getValueAsDouble();
    }
    if (auto budgets = launches->getAttrOfType<mlir::ArrayAttr>(kBudgetsAttr))
      for (auto row : budgets.getAsRange<mlir::DictionaryAttr>()) {
        double again = double(plan.accumulate) * row.getAs<mlir::FloatAttr>("milliseconds").getValueAsDouble();
        plan.budgets.push_back({row.getAs<mlir::IntegerAttr>("bytes").getInt(), kept + again, again});
      }
  }

private:
  Plan::Sum &getSum(int64_t slot) { return slot < 0 ? plan.outside : slots[slot]; }

  void addParameters(int64_t slot, int64_t elements, double active_share) {
    Plan::Sum &sum = getSum(slot);
    sum.parameters += elements;
    sum.active += double(elements) * active_share;
  }

  double estimate(rt::CallOp call) const { return costs.estimate({int64_t(call.getFlops()), int64_t(call.getMovedBytes()), 0}); }

  /// Adds a launch to its kernel; its milliseconds.
  double countKernel(rt::CallOp call, int64_t times) {
    double milliseconds =
        costs.getMilliseconds(call.getKernel(), call.getInts(), {int64_t(call.getFlops()), int64_t(call.getMovedBytes()), 0});
    Plan::Kernel &kernel = plan.kernels[call.getKernel().drop_front(3).str()];
    kernel.launches += times, kernel.flops += double(times) * double(call.getFlops());
    kernel.bytes += double(times) * double(call.getMovedBytes());
    kernel.milliseconds += double(times) * milliseconds, kernel.estimated += double(times) * estimate(call);
    return milliseconds;
  }

  void addLaunch(rt::CallOp call) {
    double tokens = double(model.train->micro_batch) * double(model.sequence);
    for (int64_t ranks : model.train->mesh) // what all of them do
      tokens /= double(ranks);
    Plan::Sum &sum = getSum(call.getBlock());
    double milliseconds = countKernel(call, plan.accumulate);
    bool is_again = call->hasAttr(rt::kRecomputeAttr);
    (is_again ? sum.again : call->hasAttr(rt::kBackwardAttr) ? sum.backward : sum.forward) += milliseconds;
    sum.estimated += estimate(call);
    sum.flops += is_again ? 0 : double(call.getFlops()) / tokens; // what runs a second time is no FLOP of the model
    if (int64_t slot = call.getBlock(); slot >= 0)
      ++kernels[slot][call.getKernel().drop_front(3).str()];
  }

  void addToRows(const Block &block) {
    Plan::Row row{block.letter, block.kind, {}, {block.slot}, slots[block.slot], kernels[block.slot]};
    for (const Feature &feature : block.features)
      row.features.push_back(feature.kind);
    auto found = llvm::find_if(plan.rows, [&](const Plan::Row &other) {
      return other.letter == row.letter && other.features == row.features && other.kernels == row.kernels &&
             other.sum.parameters == row.sum.parameters && other.sum.active == row.sum.active && other.sum.flops == row.sum.flops &&
             other.sum.kept_bytes == row.sum.kept_bytes && other.sum.again_bytes == row.sum.again_bytes;
    });
    if (found == plan.rows.end())
      plan.rows.push_back(std::move(row));
    else
      found->slots.push_back(block.slot);
  }

  const Model &model;
  const Costs &costs;
  Plan &plan;
  std::vector<Plan::Sum> slots;
  std::vector<std::map<std::string, int64_t>> kernels; // by slot
};

std::string describeWhen(const KeyValues &keys) {
  std::string text;
  for (int64_t step : keys.getInts("at"))
    text += (text.empty() ? "at " : ", ") + std::to_string(step);
  if (int64_t every = keys.getInt("every"))
    text = "every " + std::to_string(every);
  if (int64_t start = keys.getInt("start"); start && keys.getInt("every"))
    text += " after " + std::to_string(start);
  if (int64_t stop = keys.getInt("stop"); stop && keys.getInt("every"))
    text += " up to " + std::to_string(stop);
  return text;
}

std::vector<Plan::Intervention> readInterventions(const Model &model) {
  std::vector<Plan::Intervention> rows;
  for (const Intervention &intervention : model.train->interventions) {
    Plan::Intervention &row = rows.emplace_back();
    row.function = getInterventionName(rows.size() - 1);
    row.kind = intervention.kind, row.when = describeWhen(intervention.keys);
    for (const Target &target : findTargets(model, intervention)) {
      int64_t experts = target.parameter.shape.size() == 3 ? target.parameter.shape.front() : 1;
      row.matrices += intervention.kind == "redo" ? 2 : 1; // up and down
      row.pieces += experts * (intervention.kind == "redo" ? 1 : int64_t(target.pieces.size()));
    }
  }
  return rows;
}

} // namespace

Plan gatherPlan(const Model &model, mlir::ModuleOp launches, const Costs &costs, std::vector<std::string> unsupported) {
  Plan plan;
  plan.model = model.name, plan.depth = int64_t(model.blocks.size());
  plan.hidden = model.hidden, plan.vocab = model.vocab, plan.sequence = model.sequence;
  if (model.train) {
    plan.precision = model.train->precision, plan.budget_bytes = model.train->memory_bytes;
    plan.micro_batch = model.train->micro_batch, plan.accumulate = model.train->accumulate;
  }
  plan.muon = countMuonWork(model);
  if (model.train)
    plan.interventions = readInterventions(model);
  plan.machine = costs.getMachine();
  plan.unsupported = std::move(unsupported);
  Gatherer gatherer(model, costs, plan);
  if (!launches) {
    plan.accumulate = 0;
    gatherer.readDeclaration();
    gatherer.addUp();
    return plan;
  }
  if (auto target = launches->getAttrOfType<mlir::StringAttr>("megacc.target"))
    plan.target = target.getValue().str();
  if (costs.getMeasuredStep())
    plan.is_measured = true, plan.measured_step = costs.getMeasuredStep();
  plan.mesh = gatherMesh(model, launches, costs);
  gatherer.readLaunches(launches);
  gatherer.addUp();
  gatherer.readPlanner(launches);
  return plan;
}

} // namespace megacc

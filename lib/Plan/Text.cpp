// Plans and stacks as pages of text.
#include "lib/Plan/MeshTable.h"
#include "lib/Plan/Units.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"

#include <cmath>

namespace megacc {

void printStack(const mega::Model &model, llvm::raw_ostream &os) {
  os << "model @" << model.name << " hidden " << model.hidden << " vocab " << model.vocab << " sequence " << model.sequence << " depth "
     << model.depth;
  if (model.norm.kind != "rms")
    os << " norm " << model.norm.kind;
  if (model.layer_scale != 0)
    os << " layer_scale " << llvm::format("%g", model.layer_scale);
  os << "\n";
  for (const mega::Block &block : model.blocks) {
    os << llvm::right_justify(std::to_string(block.slot), 4) << "  " << block.letter << "  rank "
       << llvm::left_justify(std::to_string(block.rank), 4) << block.kind;
    for (const mega::Feature &feature : block.features)
      os << " + " << feature.kind;
    if (!model.stage_cuts.empty())
      os << "  stage " << llvm::count_if(model.stage_cuts, [&](int64_t cut) { return cut <= block.slot; });
    os << "\n";
  }
}

namespace {

class Printer {
public:
  Printer(const Plan &plan, bool has_details, llvm::raw_ostream &os) : plan(plan), has_details(has_details), os(os) {}

  void print() {
    os << "model @" << plan.model << ": " << plan.depth << " blocks, " << grouped(plan.all.parameters) << " parameters, "
       << grouped(std::llround(plan.all.active)) << " active, " << flopsText(plan.all.flops) << " per token\n";
    if (plan.muon.matrices)
      os << "  muon: " << flopsText(plan.muon.flops) << " an update, of " << grouped(plan.muon.parameters) << " parameters in "
         << plan.muon.matrices << " matrices, " << plan.muon.pieces << " pieces; not in the FLOPs of a token\n";
    for (const Plan::Intervention &row : plan.interventions) {
      os << "  " << row.function << ": " << row.kind << " " << row.when << ", " << row.matrices << " matrices, " << row.pieces
         << (row.kind == "redo" ? " layers" : " pieces");
      if (isLowered())
        os << ": " << flopsText(row.flops) << ", " << bytesText(row.bytes) << " moved, " << bytesText(row.workspace) << " of workspace, "
           << llvm::format("at least %.2f ms a call", row.milliseconds);
      os << "\n";
    }
    if (isLowered()) {
      printTime();
      printMemory();
      if (!plan.decisions.empty())
        printDecisions();
    }
    printFamilies();
    printBytes();
    if (isLowered()) {
      os << "\n" << describePeak(plan.peak) << "\n";
      printTraffic();
      if (!plan.budgets.empty())
        printBudgets();
      if (plan.mesh.countRanks() > 1)
        printMesh(plan.mesh, os);
    }
    printBlocks();
    for (const std::string &reason : plan.unsupported)
      os << "not planned: " << reason << "\n";
  }

private:
  bool isLowered() const { return plan.unsupported.empty(); }

  /// What a step takes.
  void printTime() {
    os << llvm::format("  a step takes %s%.2f ms on ", plan.is_measured ? "" : "at least ", plan.step)
       << (plan.is_measured ? plan.machine + ", as its kernels were measured" : "one " + plan.machine + ", by FLOPs and bytes")
       << llvm::format(", %.2f ms of it the update", plan.update);
    if (plan.all.again)
      os << llvm::format("; %.2f ms of a micro-batch are computing again", plan.all.again);
    os << "\n";
    if (plan.measured_step)
      os << llvm::format("  measured as a whole it took %.2f ms; by FLOPs and bytes it is at least %.2f ms\n", *plan.measured_step,
                         plan.estimated_step);
    if (plan.gap())
      os << llvm::format("  no plan within the budget takes less than %.2f ms, %.2f %% less\n", *plan.bound, 100 * *plan.gap());
  }

  /// Totals beside what they may be, and the peak.
  void printMemory() {
    os << "  it needs " << bytesText(double(plan.total_bytes));
    if (plan.budget_bytes)
      os << " of a budget of " << bytesText(double(plan.budget_bytes));
    if (plan.minimum_bytes)
      os << "; the smallest plan needs " << bytesText(double(*plan.minimum_bytes));
    os << "; the peak of a micro-batch is at " << plan.peak.path << " (" << plan.peak.kernel << ")\n";
  }

  /// Those that change something, of the most bytes first; with details what is kept, too.
  void printDecisions() {
    constexpr size_t most = 10;
    std::vector<const Decision *> shown;
    for (const Decision &decision : plan.decisions)
      if (has_details || decision.alternatives.empty() || decision.alternatives.front().choice != "computed again")
        shown.push_back(&decision);
    auto getBytes = [](const Decision *decision) {
      int64_t bytes = decision->alternatives.empty() ? std::numeric_limits<int64_t>::max() : 0;
      for (const Decision::Option &option : decision->alternatives)
        bytes = std::max(bytes, option.bytes.value_or(0));
      return bytes;
    };
    size_t left = 0;
    if (!has_details && shown.size() > most) {
      llvm::stable_sort(shown, [&](const Decision *a, const Decision *b) { return getBytes(a) > getBytes(b); });
      left = shown.size() - most;
      shown.resize(most);
    }
    if (shown.empty())
      return;
    os << "\ndecisions\n";
    for (const Decision *decision : shown)
      os << "  " << decision->describe() << "\n";
    if (left)
      os << "  " << left << " more of fewer bytes; --details lists all\n";
  }

  void printFamilies() {
    os << "\n  family       blocks        parameters            active    training/token" << (isLowered() ? "          ms" : "")
       << (plan.is_measured ? "   estimated" : "") << "\n";
    auto row = [&](llvm::StringRef name, const std::string &blocks, const Plan::Sum &sum) {
      os << "  " << llvm::left_justify(name, 12) << llvm::right_justify(blocks, 7) << llvm::right_justify(grouped(sum.parameters), 18)
         << llvm::right_justify(grouped(std::llround(sum.active)), 18) << llvm::right_justify(flopsText(sum.flops), 18);
      if (isLowered())
        os << llvm::format("%12.2f", sum.milliseconds());
      if (plan.is_measured)
        os << llvm::format("%12.2f", sum.estimated);
      os << "\n";
    };
    for (const auto &[family, sum] : plan.families)
      row(family, std::to_string(sum.blocks), sum);
    row("outside", "-", plan.outside);
    row("total", std::to_string(plan.all.blocks), plan.all);
    if (isLowered())
      os << llvm::format("  ms: of a micro-batch; %.2f forward, %.2f backward, %.2f computing again\n", plan.all.forward, plan.all.backward,
                         plan.all.again);
  }

  void printBytes() {
    os << "\nbytes, one rank\n";
    auto row = [&](llvm::StringRef name, int64_t bytes) {
      os << "  " << llvm::left_justify(name, 12) << llvm::right_justify(bytesText(double(bytes)), 14) << "\n";
    };
    for (const auto &[name, bytes] : plan.segments)
      row(name, bytes);
    if (!isLowered()) {
      os << "  activations   not planned: part of the model is not supported yet\n";
      return;
    }
    row("total", plan.total_bytes);
    int64_t temporaries = 0;
    for (const auto &[name, bytes] : plan.segments)
      if (name == "temporaries")
        temporaries = bytes;
    os << "  temporaries: " << grouped(temporaries) << " bytes, at most " << grouped(plan.live_bytes) << " alive at one launch; @"
       << plan.peak_function << " sets the peak\n";
  }

  /// Kernels that move most, down to a hundredth of all, and how far the sum is from what no plan can avoid.
  void printTraffic() {
    os << "\nbytes moved per step, one rank\n";
    const Traffic &traffic = plan.traffic;
    auto line = [&](llvm::StringRef name, const Plan::Kernel &sum) {
      os << "  " << llvm::left_justify(name, 32) << llvm::right_justify(grouped(sum.launches), 9)
         << llvm::right_justify(bytesText(sum.bytes), 14) << llvm::format("%7.1f %%\n", 100 * sum.bytes / traffic.moved);
    };
    std::vector<std::pair<std::string, Plan::Kernel>> ordered(plan.kernels.begin(), plan.kernels.end());
    llvm::stable_sort(ordered, [](const auto &a, const auto &b) { return a.second.bytes > b.second.bytes; });
    Plan::Kernel others, all;
    for (const auto &[name, kernel] : ordered) {
      all.launches += kernel.launches, all.bytes += kernel.bytes;
      if (kernel.bytes >= traffic.moved / 100)
        line(name, kernel);
      else
        others.launches += kernel.launches, others.bytes += kernel.bytes;
    }
    line("others", others);
    line("total", all);
    double least = traffic.state + traffic.saved;
    os << "  at least " << bytesText(least) << ": every parameter, gradient and moment once (" << bytesText(traffic.state)
       << "), what the backward needs of the forward once (" << bytesText(traffic.saved) << ")"
       << llvm::format("; what is moved is %.2f times that\n", traffic.moved / least);
  }

  void printBudgets() {
    os << "\n         budget     ms a step   computing again\n";
    for (const Plan::Budget &budget : plan.budgets)
      os << llvm::right_justify(bytesText(double(budget.bytes)), 15)
         << llvm::format("%14.2f%16.1f %%\n", budget.step, 100 * budget.again / budget.step);
  }

  /// Blocks that are alike are one row.
  void printBlocks() {
    bool has_kernels = has_details && isLowered();
    os << "\nblocks letter family           parameters            active     training/token" << (isLowered() ? "          ms" : "")
       << (has_kernels ? "  kernels of a micro-batch, slots\n" : "  slots\n");
    for (const Plan::Row &row : plan.rows) {
      os << llvm::right_justify(std::to_string(row.slots.size()), 6) << "   " << row.letter << "    " << llvm::left_justify(row.family, 10)
         << llvm::right_justify(grouped(row.sum.parameters), 17) << llvm::right_justify(grouped(std::llround(row.sum.active)), 18)
         << llvm::right_justify(flopsText(row.sum.flops), 19);
      if (isLowered())
        os << llvm::format("%12.2f", row.sum.milliseconds());
      for (const std::string &feature : row.features)
        os << " + " << feature;
      if (has_kernels) {
        os << "  ";
        llvm::interleaveComma(row.kernels, os, [&](const auto &kernel) {
          os << kernel.first;
          if (kernel.second > 1)
            os << " x" << kernel.second;
        });
      }
      os << "; " << (row.slots.size() == 1 ? "slot " : "slots ");
      llvm::interleaveComma(row.slots, os);
      os << "\n";
    }
  }

  const Plan &plan;
  bool has_details;
  llvm::raw_ostream &os;
};

} // namespace

void printPlan(const Plan &plan, bool has_details, llvm::raw_ostream &os) { Printer(plan, has_details, os).print(); }

} // namespace megacc

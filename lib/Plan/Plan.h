// What a person wants to see of a declaration before any GPU hour is spent.
#pragma once
#include "dialects/Interfaces/Decision.h"
#include "dialects/Mega/Matrices.h"
#include "lib/Cost/Cost.h"
#include "lib/Plan/Peak.h"
#include "lib/Plan/Traffic.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/raw_ostream.h"

#include <optional>

namespace megacc {

/// All that is said of a plan, gathered once. Milliseconds are of one micro-batch where nothing else is said, bytes of one rank.
struct Plan {
  struct Sum {
    int64_t blocks = 0, parameters = 0;          // trained ones
    double active = 0;                           // parameters that one token uses
    double flops = 0;                            // of training, for a token
    double forward = 0, backward = 0, again = 0; // milliseconds; again: computing again what was not kept
    double estimated = 0;                        // milliseconds by FLOPs and bytes, whatever was measured
    int64_t kept_bytes = 0, again_bytes = 0;     // made by the forward and read by the backward; computed again
    double milliseconds() const { return forward + backward + again; }
  };
  /// Blocks that are alike.
  struct Row {
    char letter = 0;
    std::string family;
    std::vector<std::string> features; // of its placements
    std::vector<int64_t> slots;
    Sum sum;                                // of one of them
    std::map<std::string, int64_t> kernels; // launches of a micro-batch
  };
  struct Kernel {
    int64_t launches = 0; // of a step, as all here
    double flops = 0, bytes = 0, milliseconds = 0, estimated = 0;
  };
  /// What some steps do after their update.
  struct Intervention {
    std::string function, kind, when;
    int64_t matrices = 0, pieces = 0; // pieces: of ReDo the layers
    double flops = 0;                 // these and the rest: of one call
    int64_t bytes = 0, workspace = 0; // moved; of the temporaries
    double milliseconds = 0;          // by FLOPs and bytes; in no other time
  };
  struct Budget {
    int64_t bytes = 0;
    double step = 0, again = 0; // milliseconds of a step
  };

  /// How the ranks of a mesh share a step; sizes alone on one rank.
  struct Mesh {
    /// Those of the blocks of a letter that are alike: "M mixer.D".
    struct Parameter {
      std::string name, shape, local, sharding; // of all ranks, of one; empty sharding: on every rank
      int64_t count = 0;
      std::string update = {}; // the axes of which ranks share its update and the state of the optimizer
    };
    /// What a rank sends in a step.
    struct Collective {
      std::string collective, function, axis;
      int64_t launches = 0, bytes = 0;
      double milliseconds = 0; // by the device's links; on top of the launches' own
    };
    int64_t dp = 1, tp = 1, ep = 1;
    std::vector<Parameter> parameters;
    std::vector<Collective> collectives;
    int64_t countRanks() const { return dp * tp * ep; }
  };

  std::string model, target, precision, machine;
  bool is_measured = false;             // times of a machine, not of FLOPs and bytes
  std::vector<std::string> unsupported; // why it cannot be compiled yet; then there are no launches, times, activations and decisions
  int64_t depth = 0, hidden = 0, vocab = 0, sequence = 0, micro_batch = 0, accumulate = 0;
  std::map<std::string, Sum> families;
  Sum outside, all;
  std::vector<Row> rows;
  std::map<std::string, Kernel> kernels;
  mega::MuonWork muon; // of an update; in no other FLOPs here
  std::vector<Intervention> interventions;
  std::vector<std::pair<std::string, int64_t>> segments; // bytes
  int64_t total_bytes = 0, budget_bytes = 0;             // budget 0: none
  std::optional<int64_t> minimum_bytes;                  // that any plan needs
  double update = 0;                                     // milliseconds
  double step = 0, estimated_step = 0;                   // milliseconds of a step
  std::optional<double> measured_step;                   // of the whole step on the machine of --costs
  std::optional<double> bound;                           // milliseconds of a step that no plan within the budget can be below
  std::optional<double> solve;                           // milliseconds that the planner took
  int64_t live_bytes = 0;                                // the most that are alive at one launch, each at its alignment
  std::string peak_function;
  Peak peak;
  /// Bytes of the temporaries at every launch of a micro-batch and then of the update.
  std::vector<Schedule::Alive> alive;
  size_t update_begin = 0;
  Traffic traffic;
  Mesh mesh;
  std::vector<Decision> decisions;
  std::vector<Budget> budgets;

  /// How far the step is from what no plan can be below, of the step.
  std::optional<double> gap() const { return bound && step > 0 ? std::optional((step - *bound) / step) : std::nullopt; }
};

/// `launches` is the module that rt-build-receipt left; null where a part of the model cannot be lowered yet, for the reasons given: then
/// parameters, FLOPs and state bytes are those that the declaration implies.
Plan gatherPlan(const mega::Model &model, mlir::ModuleOp launches, const Costs &costs, std::vector<std::string> unsupported);

/// One line per block, numbered from 0: letter, rank, family, placed features, pipeline stage.
void printStack(const mega::Model &model, llvm::raw_ostream &os);

/// A plan for people: totals, decisions, then tables. `has_details`: with the kernels of every block and all decisions.
void printPlan(const Plan &plan, bool has_details, llvm::raw_ostream &os);

/// A plan as one JSON object (docs/plan.md), its keys always in the same order.
std::string makePlanJson(const Plan &plan);
/// A plan as one HTML page that needs nothing else; its JSON is the content of its element #plan.
std::string makeReport(const Plan &plan);
/// The decisions of a plan alone, as a JSON array.
std::string makeDecisionsJson(const Plan &plan);

} // namespace megacc

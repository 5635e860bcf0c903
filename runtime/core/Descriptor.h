// What a step.so says about itself (docs/descriptor.md), read and checked.
#pragma once
#include "megacc/StepABI.h"
#include "runtime/core/Shape.h"

#include <array>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace megacc::runtime {

struct ArtifactError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// "f32", "bf16", "f64" or "i32", and the bytes of an element.
const char *typeName(MgType type);
int64_t typeBytes(MgType type);

/// "dp", "tp" or "ep".
const char *axisName(int axis);

/// A tensor of the io segment; that of micro-batch m is at offset + m * stride bytes.
struct Place {
  std::string name;
  MgType type = MG_F32;
  std::vector<int64_t> shape;
  int64_t offset = 0, stride = 0;
  double weight = 0;    // of a metric
  std::string function; // of an output

  int64_t elements() const;
  int64_t bytes() const { return typeBytes(type) * elements(); }
};

/// Elements of a tensor that follow one another both in the whole tensor, row-major from `first`, and in this rank's part, from `begin`.
struct ElementRun {
  int64_t first, begin, count;
};

/// A tensor of the model's state; offsets are bytes in the weights, gradients and optimizer segments.
struct ParameterPlace {
  std::string name, init;
  MgType type = MG_F32; // of the weight; gradient and master are fp32
  MgType moment_type = MG_F32;
  std::vector<int64_t> shape; // of the whole tensor
  /// For every dimension its pieces [axis, size, block]: every rank has all of those of axis -1, and its part of every block of others;
  /// empty: every rank has all.
  std::vector<std::vector<std::array<int64_t, 3>>> pieces;
  /// For every dimension the index ranges [begin, end) of the whole tensor that this rank's part is made of, in their order; empty: all.
  std::vector<std::vector<std::array<int64_t, 2>>> ranges;
  double init_a = 0;
  bool decays = false, trained = false;
  int64_t block = -1, offset = 0, gradient = 0, first_moment = 0;
  std::optional<int64_t> second_moment; // of a trained one that Muon does not update
  std::optional<int64_t> master;        // where the weight is bf16
  /// [axes, first, count]: the ranks of the axes with bits 1 << axis share the update of `count` elements, of which this tensor's are those
  /// from `first` on. Of gradient, master and moments a rank then has its equal part alone, and where the latter lie is said of that part.
  std::optional<std::array<int64_t, 3>> swept = std::nullopt;
  /// Of this rank's part of the tensor, the elements [begin, end) of which it has these; they may lie outside it. Unset: all.
  std::optional<std::array<int64_t, 2>> own = std::nullopt;

  /// The ranges of the rank that stands at `ranks` of the axes of `mesh`.
  std::vector<std::vector<std::array<int64_t, 2>>> rangesOf(const int64_t (&mesh)[MG_AXIS_COUNT],
                                                            const int64_t (&ranks)[MG_AXIS_COUNT]) const;
  /// `own` of that rank.
  std::optional<std::array<int64_t, 2>> ownOf(const int64_t (&mesh)[MG_AXIS_COUNT], const int64_t (&ranks)[MG_AXIS_COUNT]) const;
  /// Number of elements of this rank's part.
  int64_t elements() const;
  /// This rank's part as runs, ordered by `begin`, each as long as it can be.
  std::vector<ElementRun> runs() const;
};

/// One launch of a function, in order.
struct LaunchRecord {
  std::string kernel, path;
  int64_t block = -1, flops = 0, bytes = 0;
};

/// A function of the step and the symbol that it has in step.so.
struct Function {
  std::string name, symbol;
  std::vector<LaunchRecord> launches;
};

/// A slot of the stack, or everything outside blocks (slot -1).
struct ReceiptRow {
  int64_t slot = -1;
  std::string letter, family;
  std::map<std::string, int64_t> launches; // of a micro-batch, by kernel
};

struct OptimizerDefaults {
  double lr = 0, beta1 = 0, beta2 = 0, final_lr = -1; // a negative final_lr: lr / 10
  std::string schedule;
  int64_t warmup = 0, steps = 0; // steps 0: the run's total
};

/// After which updates, counted from 1, an intervention is due: those of `at`, or every `every`-th after `start` up to `stop` (0: no end).
struct Schedule {
  std::vector<int64_t> at;
  int64_t every = 0, start = 0, stop = 0;

  bool operator==(const Schedule &) const = default;
  bool isDue(int64_t t) const;
  /// Whether some update of (after, last] is.
  bool isDueWithin(int64_t after, int64_t last) const;
};

/// The function of the K-th intervention of a step, from 0.
inline std::string interventionName(size_t number) { return "intervene." + std::to_string(number); }

/// What some steps do after their update.
struct Intervention {
  std::string kind, keys; // "fire", "dash" or "redo"; all keys, as JSON
  Schedule schedule;      // as declared
  bool needs_activity = false, needs_gradient = false;
};

struct Descriptor {
  int64_t hidden = 0, vocab = 0, sequence = 0, depth = 0, micro_batch = 0, accumulate = 0;
  uint64_t seed = 0;
  std::string model, target, compiler, precision, moments; // moments: how they are stored, "fp32" or "bf16"
  /// What is declared of the model ("families/F/width", "vocab", ...), and under "train/" of its training, as text: what a run cannot
  /// change on its way. Not in it: target, mesh and precision, and how many steps there are.
  std::map<std::string, std::string> declaration;
  OptimizerDefaults optimizer;
  int64_t segments[MG_SEGMENT_COUNT] = {}, mesh[MG_AXIS_COUNT] = {};
  std::vector<ParameterPlace> parameters;
  std::vector<Intervention> interventions; // in their order
  std::vector<Place> inputs, metrics, outputs;
  std::map<std::string, std::string> kernels; // and their signatures, "operands | integers | doubles" of kernels.def
  std::vector<Function> functions;
  std::vector<ReceiptRow> receipt;

  /// Null without one.
  const Place *findInput(std::string_view name) const;
  const Place *findMetric(std::string_view name) const;
  const Place *findOutput(std::string_view name) const;
  const Function *findFunction(std::string_view name) const;
  /// Ranks of the whole mesh; those that read data of their own; rows of a micro-batch on each of them.
  int64_t rankCount() const { return mesh[MG_DP] * mesh[MG_TP] * mesh[MG_EP]; }
  int64_t dataRanks() const { return mesh[MG_DP] * mesh[MG_EP]; }
  int64_t localRows() const { return micro_batch / dataRanks(); }
  /// Gives parameters the ranges of the rank that stands there on the axes.
  void setRanks(const int64_t (&ranks)[MG_AXIS_COUNT]);
  /// Hash of the declaration's content, 32 hexadecimal digits.
  std::string declarationHash() const;
};

/// Reads the JSON text. Throws ArtifactError for another ABI version or a damaged text.
Descriptor readDescriptor(std::string_view text);

/// Checks the hash at the end of a step.so and returns its descriptor's text, without opening it as code (Artifact.h). Throws
/// ArtifactError.
std::string readArtifact(const std::string &path);

} // namespace megacc::runtime

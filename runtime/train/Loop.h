// The training loop.
#pragma once
#include "runtime/core/Step.h"
#include "runtime/train/Settings.h"

#include <filesystem>
#include <string>
#include <vector>

namespace megacc::runtime {

/// What the command line asks of a run; what is absent comes from the declaration, or from the checkpoint of a resumed run.
struct RunOptions {
  std::vector<std::filesystem::path> data, eval_data;
  std::string token_type;
  std::filesystem::path out, resume, init;
  SettingFlags settings;
  int64_t eval_every = 0, checkpoint_every = 0; // 0: at the end only
  int64_t log_every = 0;                        // steps between entries of readBlocks; 0: each, where the step measures blocks
  std::vector<std::string> interventions;       // schedules that change, "K:every=500"
  std::vector<int64_t> intervene;               // numbers of those to run once, before the first step
  int64_t keep = 2;                             // checkpoints in the folder, the newest included
  bool verify = false, profile = false, skip_nonfinite = false;
};

/// Trains and writes OUT/metrics.jsonl and OUT/checkpoint.safetensors; OUT/checkpoint.1.safetensors is the one before. Returns the exit
/// status: 0; 1 after a step that is not finite; 129, 130 or 143 after SIGHUP, SIGINT or SIGTERM, which finish the step and write a
/// checkpoint. Throws for what cannot start or go on; what was done until then is in a checkpoint, unless a step failed on its way.
int train(Step &step, const RunOptions &options);

} // namespace megacc::runtime

// What some steps do after their update (conventions section 20): when, and what it reports.
#pragma once
#include "runtime/core/Step.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace megacc::runtime {

/// One line, "fire at [1, 20]" or "redo every 1000 after 0 up to 15000".
std::string describeSchedule(const Intervention &intervention, const Schedule &schedule);

/// The schedules of a run: the declaration's, or those of the checkpoint that goes on (`resumed`, what storeSchedules() wrote, "" without
/// one) where it had the same interventions, with what flags "K:every=500" or "K:at=[100,200]" change. `notes` gets what a person should
/// know: what differs from the checkpoint's, and interventions that no update up to `steps` after `step` is due for. Throws
/// std::runtime_error for every flag that is wrong.
std::vector<Schedule> chooseSchedules(const std::vector<Intervention> &declared, const std::string &resumed,
                                      const std::vector<std::string> &flags, int64_t step, int64_t steps, std::vector<std::string> &notes);

/// The interventions of a run as JSON, for a checkpoint.
std::string storeSchedules(const std::vector<Intervention> &declared, const std::vector<Schedule> &schedules);

/// The numbers of "--intervene=K[,K]". Throws std::runtime_error for one that is not there or needs numbers of a step.
std::vector<size_t> readNumbers(const std::vector<Intervention> &declared, const std::vector<int64_t> &asked);

/// Runs intervention K and returns what it did: its number, kind and metrics.
nlohmann::ordered_json intervene(Step &step, size_t number);

/// Runs those that are due after update t. After a step that is not finite those that need its numbers are left out, and said so.
std::vector<nlohmann::ordered_json> interveneAfter(Step &step, const std::vector<Schedule> &schedules, int64_t t, bool finite);

/// A line for people.
std::string describeReport(const nlohmann::ordered_json &report);

} // namespace megacc::runtime

// Declared interventions: what matrices go through after some updates.
#pragma once
#include "dialects/Mega/Mega.h"
#include "dialects/Mega/Spec.h"

namespace megacc::mega {

/// The tables of `interventions` among the settings of mega.train; none where there is no list of tables.
llvm::SmallVector<KindAttr> findInterventions(KindAttr settings);
/// What its keys say together; `path`: where they stand, "interventions.1". `adamw`: the keys of the optimizer. Warns where updates grow
/// after a reset.
void checkIntervention(TrainOp op, const std::string &path, const Intervention &intervention, const KeyValues &adamw, ErrorAt error);
/// Every pattern matches a matrix, or for ReDo a hidden layer.
void checkInterventionPatterns(const Model &model, ErrorAt error);

} // namespace megacc::mega

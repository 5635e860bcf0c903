// All ops of the step dialect.
#ifndef MEGACC_STEPOPS_TD
#define MEGACC_STEPOPS_TD

include "dialects/Step/StepStructure.td"
include "dialects/Step/StepDense.td"
include "dialects/Step/StepAttention.td"
include "dialects/Step/StepLoss.td"
include "dialects/Step/StepExperts.td"
include "dialects/Step/StepM2rnn.td"
include "dialects/Step/StepMamba3.td"
include "dialects/Step/StepTokens.td"
include "dialects/Step/StepMesh.td"

#endif

// Ranks that TCP connects, as what connects a mesh (megacc/MeshABI.h).
#pragma once
#include "megacc/MeshABI.h"

namespace megacc::runtime {

/// Of ranks that are started with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as torchrun sets them: rank 0 listens at that port, which
/// is the next one where torchrun's own store has it (TORCHELASTIC_USE_AGENT_STORE).
const MgMesh *tcpMesh();

} // namespace megacc::runtime

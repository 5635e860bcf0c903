// Collectives of a card do not exist yet. The compiler makes no step of several cards; whoever calls these is told so.
#include "runtime/core/Launch.h"

extern "C" {
#define MG_NO_COLLECTIVE(symbol)                                                                                                           \
  int32_t symbol(const MgLaunch *) {                                                                                                       \
    return mg_fail(#symbol ": collectives of several cards are not supported yet; fix: a mesh on the cpu target");                         \
  }
MG_NO_COLLECTIVE(mg_all_reduce)
MG_NO_COLLECTIVE(mg_all_reduce_f64)
MG_NO_COLLECTIVE(mg_all_reduce_state)
MG_NO_COLLECTIVE(mg_take_part)
MG_NO_COLLECTIVE(mg_gather_parts)
MG_NO_COLLECTIVE(mg_square_sum_shared)
#undef MG_NO_COLLECTIVE
}

// The kernels of kernels.def as text, for the compiler, the libraries and the tests.
#ifndef MEGACC_KERNELSIGNATURES_H
#define MEGACC_KERNELSIGNATURES_H

namespace megacc {

/// Words separated by blanks: operands "role:name:type" ("out:y:any opt_out:rstd:f32 "), integer and floating point parameters by name.
struct KernelSignature {
  const char *symbol, *operands, *ints, *doubles;
  /// "operands | integers | doubles", as artifacts and libraries carry it.
  const char *text;
};

#define MG_WORD(role, name, type) #role ":" #name ":" #type " "
#define OUT(name, type, count) MG_WORD(out, name, type)
#define OPT_OUT(name, type, count) MG_WORD(opt_out, name, type)
#define SUM(name, type, count) MG_WORD(sum, name, type)
#define INOUT(name, type, count) MG_WORD(inout, name, type)
#define OPT_INOUT(name, type, count) MG_WORD(opt_inout, name, type)
#define IN(name, type, count) MG_WORD(in, name, type)
#define OPT_IN(name, type, count) MG_WORD(opt_in, name, type)
#define SCRATCH(name) MG_WORD(scratch, name, raw)
#define TABLE(name, type, count) MG_WORD(table, name, type)
#define OUT_EACH(name) MG_WORD(out_each, name, any)
#define IN_EACH(name) MG_WORD(in_each, name, any)
#define INT(name) #name " "
#define DOUBLE(name) #name " "
#define MEGACC_KERNEL(symbol, operands, ints, doubles) {#symbol, operands "", ints "", doubles "", operands "| " ints "| " doubles},

inline constexpr KernelSignature kernelSignatures[] = {
#include "megacc/kernels.def"
};

#undef MG_WORD

} // namespace megacc

#endif

#!/usr/bin/env bash
# tools -> passes -> lib -> dialects; runtime -> include only; Pass.h in passes and tools alone; kernels, families and the arena are named
# only where they are at home.
set -u
cd "$1" || exit 1
status=0
# forbid FOLDER PATTERN REASON
forbid() {
  local found
  found=$(grep -rnE "#include [<\"]($2)" "$1" --include='*.h' --include='*.cpp' --include='*.cu' --include='*.td')
  [ -z "$found" ] || { echo "$3:"; echo "$found"; status=1; }
}
forbid runtime 'mlir/|llvm/|dialects/|passes/|lib/' 'the runtime includes the compiler'
forbid dialects 'passes/|lib/|tools/|runtime/|mlir/Pass/' 'a dialect includes what stands above it'
forbid lib 'passes/|tools/|runtime/|mlir/Pass/' 'lib includes what stands above it'
forbid passes 'tools/|runtime/' 'a pass includes what stands above it'
forbid include 'mlir/|llvm/|dialects/|passes/|lib/|runtime/' 'a public header includes an inner one'
# avoid PATTERN REASON FILES...
avoid() {
  local pattern=$1 reason=$2 found; shift 2
  found=$(grep -nE "$pattern" "$@")
  [ -z "$found" ] || { echo "$reason:"; echo "$found"; status=1; }
}
avoid '\bmg_[a-z0-9_]+' 'a kernel is named outside lib/Kernels' \
  $(find dialects passes -name '*.cpp' -o -name '*.h' | grep -v '^dialects/Rt/README')
avoid '\b(mamba3|m2rnn|gated_deltanet|moe|mla|mlp|ngram_hash|mtp|engram|mhc|dsa|stp)\b' 'a pass names a family or a placement' \
  $(find passes -name '*.cpp' -o -name '*.h' | grep -vE '^passes/train/(families|placements)/|^passes/train/Builders.cpp')
avoid 'segments\[' 'the arena is touched above runtime/core' $(find runtime/train runtime/state runtime/data -name '*.cpp' -o -name '*.h')
exit $status

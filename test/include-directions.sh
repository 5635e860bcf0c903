#!/usr/bin/env bash
# tools -> passes -> lib -> dialects; runtime -> include only; Pass.h in passes and tools alone.
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
exit $status

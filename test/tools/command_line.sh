#!/usr/bin/env bash
# command_line.sh PROGRAM...: what --completion and --man of MEGACC and MEGACC-RUN say agrees with --help.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { echo "$1"; exit 1; }
for program; do
  "$program" --completion >completion
  "$program" --man >man
  bash -n completion
  mapfile -t flags < <("$program" --help | grep -oE '^  (-[a-z],)?--?[a-z][a-z-]*' | tr , '\n' | tr -d ' ')
  [ ${#flags[@]} -gt 10 ] || fail "$program --help has only ${flags[*]}"
  for flag in "${flags[@]}"; do
    grep -qE -- "[ ']$flag[ ']" completion || fail "$program --completion lacks $flag"
    grep -qF -- "\\fB${flag//-/\\-}\\fR" man || fail "$program --man lacks $flag"
  done
  grep -q "^\.TH $(echo "${program^^}" | sed 's/-/\\\\-/g') 1 " man || fail "$program --man has no title"
  # Where man is installed it has nothing to say against the page.
  ! command -v groff >/dev/null || [ -z "$(groff -man -ww -Tutf8 man 2>&1 >/dev/null)" ] || fail "groff warns of $program --man"
  source ./completion
done

# completed FUNCTION WORD...: what the last word becomes.
completed() {
  local function=$1; shift
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  $function
  echo "${COMPREPLY[*]}"
}
expect() { [ "$1" = "$2" ] || fail "completed to '$1', not to '$2'"; }
touch model.mlir step.so
expect "$(completed _megacc megacc --emi)" "--emit"
expect "$(completed _megacc megacc --emit s)" "stack step so"
expect "$(completed _megacc megacc --emit = st)" "stack step"
expect "$(completed _megacc megacc --target =)" "cpu sm_90a"
expect "$(completed _megacc megacc ins)" "inspect"
expect "$(completed _megacc megacc mod)" "model.mlir"
expect "$(completed _megacc megacc inspect --j)" "--json"
expect "$(completed _megacc megacc inspect st)" "step.so"
expect "$(completed _megacc megacc -o st)" "step.so"
expect "$(completed _megacc_run megacc-run --token-type u)" "uint16 uint32"
expect "$(completed _megacc_run megacc-run step.so --checkpoint)" "--checkpoint-every"

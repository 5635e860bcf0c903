#!/usr/bin/env bash
# fuzz.sh PROGRAM [FLAG...]: runs a fuzz target on its seeds and what libFuzzer makes of them. An input that fails stays beside the program.
set -euo pipefail
program=$1 name=$(basename "$1"); shift
seeds=$(cd "$(dirname "$0")" && pwd)/seeds/${name#fuzz-}
found=$(mktemp -d); trap 'rm -rf "$found"' EXIT
dictionary=$(dirname "$seeds")/../${name#fuzz-}.dict
[ ! -e "$dictionary" ] || set -- "$@" -dict="$dictionary"
log=$program.log
if ! "$program" "$found" "$seeds" -artifact_prefix="$program." -print_final_stats=1 "$@" >"$log" 2>&1; then
  tail -n 60 "$log"
  exit 1
fi
grep -E '^#.*DONE' "$log"

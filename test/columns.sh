#!/usr/bin/env bash
# columns.sh SOURCE: no line is longer than 140 columns, but for tables, generated pages, data and what a lit test compares.
set -uo pipefail
cd "$1" || exit 1
files=$(find . \( -path './build*' -o -path './.*' -o -path ./out -o -path ./test/e2e/goldens -o -path ./test/fuzz/seeds \) -prune -o \
  -type f \
  -not -name LICENSE -not -name '*.pyc' -not -path './docs/ops.md' -not -path './docs/passes.md' -not -path './docs/keys.md' -print)
[ "$(wc -w <<<"$files")" -gt 300 ] || { echo "only $(wc -w <<<"$files") files were found: the search is broken"; exit 1; }
# A comment of a test that is a directive, a row of a table, and a command or regular expression of the gallery cannot be wrapped.
long=$(awk 'length > 140 && !(FILENAME ~ /\.(mlir|test)$/ && /^ *(\/\/|#|[A-Z-]+:|\{"jsonrpc)/) && !(FILENAME ~ /\.md$/ && /^\|/) &&
  FILENAME !~ /gallery\/.*toml$/ {
  print FILENAME ":" FNR ": " length " columns, at most 140" }' $files)
[ -z "$long" ] || { echo "$long"; exit 1; }

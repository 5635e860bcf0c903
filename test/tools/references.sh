#!/usr/bin/env bash
# references.sh SOURCE BUILD: the committed references are what the ODS files and the key tables say.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$1/tools/make-references" "$2" "$work"
status=0
for page in ops passes keys; do
  [ "$(grep -c '^###* ' "$work/$page.md")" -gt 10 ] || { echo "docs/$page.md: there is next to nothing in it"; status=1; }
  diff -u "$1/docs/$page.md" "$work/$page.md" || { echo "docs/$page.md is stale; fix: ./tools/make-references, and commit it"; status=1; }
done
exit $status

#!/usr/bin/env bash
# citations.sh SOURCE: every "conventions N" and "DESIGN N" that the tree cites is in docs/, and nothing cites a document that is not in
# the tree.
set -uo pipefail
cd "$1" || exit 1
status=0
files=$(find . -path './build*' -prune -o -path ./.git -prune -o -type f \
  \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.td' -o -name '*.def' -o -name '*.mlir' -o -name '*.md' \
     -o -name '*.sh' -o -name '*.py' -o -name '*.txt' -o -name '*.cmake' -o -name '*.test' \) -print | grep -v '/citations.sh$')

# check WORD PAGE: "WORD 12", "WORD section 12", "WORD 12.3" and what follows after commas, "to" and "and"; PAGE has "## 12." or the item.
check() {
  local number cited count=0
  cited=$(grep -hoE "\b$1 (sections? )?[0-9]+(\.[0-9]+)?((, | to | and |-)[0-9]+(\.[0-9]+)?)*" $files |
    sed -E 's/^[A-Za-z]+ (sections? )?//' |
    sed -E 's/([0-9]+)\.([0-9]+)-([0-9]+)/\1.\2 \1.\3/g' | grep -oE '[0-9]+(\.[0-9]+)?' | sort -u)
  for number in $cited; do
    count=$((count + 1))
    case $number in # grep reads all, without -q: sed fails where it writes to no one
    *.*) sed -n "/^## ${number%.*}\. /,/^## /p" "$2" | grep -E "^(- $number |${number#*.}\. )" >/dev/null ;;
    *) grep -q "^## $number\. " "$2" ;;
    esac || { echo "$1 $number is cited, and $2 has none:"; grep -nE "\b$1.*\b$number\b" $files | head -3; status=1; }
  done
  [ $count -gt 2 ] || { echo "only $count citations of $1 were found: the search is broken"; status=1; }
}
check '[Cc]onventions' docs/conventions.md
check DESIGN docs/design.md

found=$(grep -nE '\.\./shared|\bspec/|\b(model|mamba3-m2rnn|performance|variants|interventions|planning|STYLE|DESIGN)\.md\b' $files)
[ -z "$found" ] || { echo "a document that is not in the tree is cited:"; echo "$found"; status=1; }
# Files of docs/ that are named exist.
for page in $(grep -hoE '\bdocs/[a-z_-]+\.md' $files | sort -u); do
  [ -e "$page" ] || { echo "$page is cited and does not exist"; status=1; }
done
exit $status

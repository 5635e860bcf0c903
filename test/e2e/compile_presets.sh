#!/usr/bin/env bash
# compile_presets.sh BIN: the arena of every preset is close to its lower bound, depth 156 compiles too, and the receipt of nam56r has
# every slot with its own family's kernels.
set -euo pipefail
bin=$1 models=$(cd "$(dirname "$0")/../../models" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
sed 's/depth 52/depth 156/' "$models/nam56r.mlir" >"$work/deep.mlir"
"$bin/megacc" "$work/deep.mlir" -o "$work/deep.so"
"$bin/megacc" "$models/nam56r.mlir" --target=cpu -o "$work/step.so"
cat >"$work/check.py" <<'END'
import json, sys

def expect(good, text):
    print(('ok      ' if good else 'FAILED  ') + text)
    if not good: sys.exit(1)

image = open(sys.argv[1], 'rb').read()
begin = image.index(b'{"abi":'); receipt = json.loads(image[begin:image.index(b'\0', begin)])['receipt']
owner = dict(attention=['mg_attention'], mla=['mg_attention'], moe=['mg_moe_route'], mamba3=['mg_mamba3_scan'], m2rnn=['mg_m2rnn_scan'])
slots = [row for row in receipt if row['slot'] >= 0]
expect(len(slots) == 52 and ''.join(row['letter'] for row in slots) == ('AEMEAEMEAEMR' * 5)[:52],
       'the receipt has the 52 slots of the pattern')
marks = {kernel for kernels in owner.values() for kernel in kernels}
expect(all(marks & set(row['launches']) == set(owner[row['family']]) for row in slots), 'every slot launches its own family alone')
END
python3 "$work/check.py" "$work/step.so"
for model in "$models"/*.mlir; do
  "$bin/megacc" "$model" --emit=plan | grep 'temporaries: ' | tr -d ',' |
    awk -v name="$(basename "$model")" '{
      ratio = $2 / $6
      printf "%s  %s: arena over its lower bound %.4f, at most 1.02\n", ratio <= 1.02 ? "ok    " : "FAILED", name, ratio
      exit ratio > 1.02 }'
done
# The placements that a preset has as comments, in every combination.
mapfile -t lines < <(grep -n '^  // mega.place' "$models/nam56r.mlir" | cut -d: -f1)
[ ${#lines[@]} -eq 4 ] || { echo "FAILED  nam56r.mlir has ${#lines[@]} placements as comments, expected 4"; exit 1; }
for ((chosen = 1; chosen < 1 << ${#lines[@]}; ++chosen)); do
  script=
  for i in "${!lines[@]}"; do ((chosen >> i & 1)) && script+="${lines[i]}s|// ||;"; done
  sed "$script" "$models/nam56r.mlir" >"$work/placed.mlir"
  "$bin/megacc" "$work/placed.mlir" --target=sm_90a --emit=plan >"$work/plan"
  ! grep -q 'not planned' "$work/plan" || { echo "FAILED  placements of nam56r.mlir, lines $script"; exit 1; }
done
echo "ok      nam56r.mlir: $((chosen - 1)) combinations of its placements are planned"

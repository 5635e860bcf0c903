#!/usr/bin/env bash
# identities.sh BIN: variants that compute what a declaration without them computes. A golden case gets a layer_scale of ones: losses and
# gradients of the first step are the golden's.
set -euo pipefail
bin=$1 here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
for case in engram mod mhc_mod mtp3; do
  sed '/^mega.model/s/ {$/ layer_scale 1.0 {/' "$here/goldens/$case.mlir" >"$work/$case.mlir"
  "$bin/megacc" "$work/$case.mlir" -o "$work/step.so"
  /usr/bin/python3 - "$here" "$work/$case" "$case" <<'MAKE'
import sys
sys.dont_write_bytecode = True
here, made, case = sys.argv[1:]
sys.path[:0] = [here, here + "/reference"]
from pathlib import Path
from compare import load_safetensors
from declaration import read_declaration
from make_golden import save_safetensors
from parameters import initial_values
golden = load_safetensors(f"{here}/goldens/{case}.safetensors")
scaled = read_declaration(Path(made + ".mlir").read_text())
ones = {"param." + key: value for key, value in initial_values(scaled).items() if key.endswith("layer_scale")}
assert len(ones) >= scaled.depth and all((value == 1).all() for value in ones.values())
save_safetensors(Path(made + ".safetensors"), golden | ones)
MAKE
  "$bin/megacc-run" "$work/step.so" --case "$work/$case.safetensors" --dump "$work/mine.safetensors"
  /usr/bin/python3 - "$here" "$work/mine.safetensors" "$case" <<'COMPARE'
import sys
sys.dont_write_bytecode = True
here, mine, case = sys.argv[1:]
sys.path.insert(0, here)
from compare import compare, load_safetensors
golden, mine = load_safetensors(f"{here}/goldens/{case}.safetensors"), load_safetensors(mine)
first = lambda file: {key: file[key][:1] if key.startswith("loss.") else file[key] for key in golden if key.startswith(("loss.", "grad."))}
rows = compare(first(golden), first(mine))
for group, error, limit, key in rows:
    print(f"{case}: {group:6} {error:.1e} {'ok' if error <= limit else 'FAILED'}, limit {limit:.0e}  {key}")
sys.exit(any(error > limit for _, error, limit, _ in rows) or len(rows) != 2)
COMPARE
done

#!/usr/bin/env bash
# tools/plot: figures of one and of two runs with every curve in them, the smoothed line's values, the same bytes twice, and its errors.
set -euo pipefail
plot=$1/tools/plot
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "plot: $1" >&2; exit 1; }

# What is refused is refused without matplotlib too.
mkdir "$work/nothing" "$work/empty" "$work/broken" "$work/a" "$work/b"
: > "$work/empty/metrics.jsonl"
printf '{"step": 1, "loss"\n{"step": 2, "loss": 1.0}\n' > "$work/broken/metrics.jsonl"
printf '\x7fELF\xff\xfe' > "$work/binary"
refused() { # NAME TEXT: the run is refused with the text, and nothing is drawn
  ! "$plot" "$work/$1" -o "$work/refused" 2> "$work/errors" || fail "$1 was accepted"
  grep -qF "$2" "$work/errors" || fail "$1: no '$2' in: $(cat "$work/errors")"
  ! grep -q Traceback "$work/errors" || fail "$1: a traceback"
  [ ! -e "$work/refused.svg" ] && [ ! -e "$work/refused.png" ] || fail "$1: something was drawn"
}
refused absent 'no such run'
refused nothing 'the folder has no metrics.jsonl'
refused empty 'there is no step in it yet'
refused broken "$work/broken/metrics.jsonl:1: not a line of metrics"
refused binary 'cannot be read as text'
! "$plot" "$work/absent" "$work/empty" 2> "$work/errors" || fail 'two bad runs were accepted'
[ "$(grep -c '^plot: error: ' "$work/errors")" = 2 ] || fail 'two bad runs gave not two errors'

# A run whose last line is cut off, with a loss that is not a number; the other run has an evaluation.
for step in 1 2 3 4 5; do
  for run in a b; do
    echo "{\"step\": $step, \"loss\": $((6 - step)).5, \"grad_norm\": 0.$step, \"tokens_per_second\": 1000}" >> "$work/$run/metrics.jsonl"
  done
done
echo '{"step": 6, "loss": null, "grad_norm": 0.5, "tokens_per_second": 900}' >> "$work/a/metrics.jsonl"
printf '{"step": 7, "lo' >> "$work/a/metrics.jsonl"
printf '{"step": 5, "held_out_loss": 1.25}\n' >> "$work/b/metrics.jsonl"
/usr/bin/python3 - "$plot" "$work/a" <<'CHECK' || fail 'the values differ'
import importlib.machinery, importlib.util, math, sys
loader = importlib.machinery.SourceFileLoader('plot', sys.argv[1])
plot = importlib.util.module_from_spec(importlib.util.spec_from_loader('plot', loader))
sys.dont_write_bytecode = True
loader.exec_module(plot)
series = plot.read_run(sys.argv[2])
assert sorted(series['loss']) == [1, 2, 3, 4, 5, 6] and series['loss'][1] == 5.5 and math.isnan(series['loss'][6]), series
smoothed = plot.smooth([float(value) for value in range(160)])
assert smoothed[80] == 80.0 and smoothed[0] == 1.0 and smoothed[159] == 158.0, smoothed
assert plot.smooth([1.0, math.nan, 3.0])[::2] == [1.0, 3.0]
CHECK

if ! /usr/bin/python3 -c 'import matplotlib' 2> /dev/null; then
  ! "$plot" "$work/a" 2> "$work/errors" || fail 'it drew without matplotlib'
  grep -qF 'fix: apt-get install python3-matplotlib' "$work/errors" || fail "no word on what to install: $(cat "$work/errors")"
  echo 'skipped: matplotlib is not installed (apt-get install python3-matplotlib)'
  exit 77
fi
"$plot" "$work/a" > /dev/null
"$plot" "$work/a" "$work/b/metrics.jsonl" -o "$work/both.png" > "$work/written"
[ "$(cat "$work/written")" = "$work/both.svg"$'\n'"$work/both.png" ] || fail "it says it wrote $(cat "$work/written")"
! grep -qF 'behind every block' "$work/both.svg" || fail 'norms of blocks that nobody measured are drawn'
mkdir "$work/blocks"
for step in 2 4; do
  echo "{\"step\": $step, \"loss\": 1.5, \"block_norm\": [1.0, $step.0, null], \"gradient_block_norm\": [0.5, 0.25, 0.125]," \
    "\"state_norm\": [null, 2.5, null]}"
done > "$work/blocks/metrics.jsonl"
"$plot" "$work/blocks" > /dev/null
! grep -qF 'entropy of every attention' "$work/blocks/plot.svg" || fail 'entropies that nobody measured are drawn'
for title in '<!-- norm behind every block -->' '<!-- gradient norm behind every block -->' '<!-- norm of every last state -->'; do
  grep -qF -e "$title" "$work/blocks/plot.svg" || fail "$work/blocks/plot.svg has no $title"
done
for figure in "$work/a/plot" "$work/both"; do
  head -c 8 "$figure.png" | cmp -s - <(printf '\x89PNG\r\n\x1a\n') || fail "$figure.png is not a PNG"
  grep -q '</svg>' "$figure.svg" || fail "$figure.svg is not whole"
  for title in '<!-- loss -->' '<!-- held-out loss -->' '<!-- throughput -->' '<!-- gradient norm -->'; do
    grep -qF -e "$title" "$figure.svg" || fail "$figure.svg has no $title"
  done
done
grep -qF -e '<!-- no held-out loss in these metrics -->' "$work/a/plot.svg" || fail 'a missing curve is not named'
grep -qF -e '<!-- a -->' "$work/both.svg" && grep -qF -e '<!-- b -->' "$work/both.svg" || fail 'the legend lacks a run'
"$plot" "$work/a" "$work/b/metrics.jsonl" -o "$work/again" > /dev/null
cmp "$work/both.svg" "$work/again.svg" && cmp "$work/both.png" "$work/again.png" || fail 'the same metrics gave other bytes'
! "$plot" "$work/a" -o "$work/no/such/folder/x" 2> "$work/errors" || fail 'it wrote into a folder that does not exist'
grep -qF 'cannot be written' "$work/errors" || fail "an unwritable figure: $(cat "$work/errors")"

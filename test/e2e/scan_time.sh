#!/usr/bin/env bash
# scan_time.sh BIN: the time per token of each scan does not grow with the number of chunks. Between 512 and 2048 tokens a row leaves the second-level
# cache, which may cost something once; eight times as many chunks as that cost nothing more.
set -euo pipefail
bin=$1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
head -c 40000 /dev/urandom >"$work/data"
# profile SEQUENCE: nanoseconds a token of each scan kernel, the smallest of three runs
profile() {
  cat >"$work/$1.mlir" <<END
mega.model @scan hidden 128 vocab 256 sequence $1 {
  mega.pattern "MR" depth 2
  mega.family "M" = mamba3<expand = 2, head_dim = 32, state = 32, groups = 4, rank = 4, chunk = 16>
  mega.family "R" = m2rnn<key = 16, value = 16, heads = 8>
}
mega.train @step of @scan { micro_batch = 1, optimizer = adamw<lr = 1.0e-3> }
END
  "$bin/megacc" "$work/$1.mlir" -o "$work/$1.so"
  for run in 1 2 3; do
    "$bin/megacc-run" "$work/$1.so" --data "$work/data" --steps $((16384 / $1 + 1)) --out "$work/$1-$run" --profile 2>/dev/null
  done | awk -v tokens="$1" '/_scan/ { time = 1e6 * $3 / $2 / tokens; if (!($1 in best) || time < best[$1]) best[$1] = time }
    END { for (kernel in best) print kernel, best[kernel] }' | sort
}
for sequence in 512 2048 16384; do profile $sequence >"$work/$sequence"; done
join "$work/512" "$work/2048" | join - "$work/16384" | awk '
  BEGIN { print "nanoseconds a token        512 tokens    2048   16384" }
  { printf "%-22s %14.0f %7.0f %7.0f\n", $1, $2, $3, $4; if ($3 > 1.8 * $2 || $4 > 1.3 * $3) { print "  grows"; bad = 1 } }
  END { if (NR != 4) { print "expected 4 scan kernels"; bad = 1 } exit bad }'

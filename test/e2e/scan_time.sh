#!/usr/bin/env bash
# scan_time.sh BIN: the time per token of each scan does not grow with the number of chunks: one row of 8192 tokens against 32 rows of 256.
set -euo pipefail
bin=$1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
head -c 40000 /dev/urandom >"$work/data"
# profile SEQUENCE ROWS: milliseconds of each scan kernel, the smallest of three runs
profile() {
  cat >"$work/$1.mlir" <<END
mega.model @scan hidden 128 vocab 256 sequence $1 {
  mega.pattern "MR" depth 2
  mega.family "M" = mamba3<expand = 2, head_dim = 32, state = 32, groups = 4, rank = 4, chunk = 16>
  mega.family "R" = m2rnn<key = 16, value = 16, heads = 8>
}
mega.train @step of @scan { micro_batch = $2, optimizer = adamw<lr = 1.0e-3> }
END
  "$bin/megacc" "$work/$1.mlir" -o "$work/$1.so"
  for run in 1 2 3; do
    "$bin/megacc-run" "$work/$1.so" --data "$work/data" --steps 2 --out "$work/$1-$run" --profile 2>/dev/null
  done | awk '/_scan/ { if (!($1 in best) || $3 < best[$1]) best[$1] = $3 } END { for (kernel in best) print kernel, best[kernel] }' | sort
}
profile 256 32 >"$work/short"
profile 8192 1 >"$work/long"
join "$work/short" "$work/long" | awk '{ ratio = $3 / $2; printf "%-22s %8.1f ms in 32 rows of 256, %8.1f ms in one of 8192: %.2f\n", $1, $2, $3, ratio; if (ratio > 1.5) bad = 1 }
  END { if (NR != 4) { print "expected 4 scan kernels"; bad = 1 } exit bad }'

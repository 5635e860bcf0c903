#!/bin/sh
# reduce.sh FILE: 1 where the file is interesting, as megacc-reduce asks.
! grep -q 'moe<' "$1"

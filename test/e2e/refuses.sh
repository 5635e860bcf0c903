# For scripts that go on after a mistake: they source it, set `work`, and end with the exit status `status`.
status=0
fail() { echo "$1"; [ ! -e "$work/log" ] || cat "$work/log"; status=1; }
# refuses NAME WORDS COMMAND...: exit status 1 and WORDS.
refuses() {
  local name=$1 words=$2; shift 2
  "$@" >"$work/log" 2>&1
  [ $? = 1 ] || fail "$name: was accepted"
  grep -qE -- "$words" "$work/log" || fail "$name: expected '$words'"
}

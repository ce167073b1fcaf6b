# shellcheck shell=bash
# Sourced by the launchers: `run` prints a command, then runs it unless dry_run=1.
dry_run="${dry_run:-0}"

run() {
  printf '+' >&2
  printf ' %q' "$@" >&2
  printf '\n' >&2
  [ "$dry_run" = 1 ] || "$@"
}

fail() {
  echo "error: $*" >&2
  exit 2
}

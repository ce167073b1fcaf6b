# shellcheck shell=bash
# Sourced by the scripts before they install anything, with the arguments among which `--help` or
# `-h` may be: either prints the comment at the script's head and ends it.
for argument in "$@"; do
  case "$argument" in
    --help | -h)
      sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//p;}' "$0"
      exit 0
      ;;
  esac
done
unset argument

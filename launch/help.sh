# shellcheck shell=bash
# Sourced by the scripts before they install anything, with the arguments among which `--help` or
# `-h` may be: either prints the comment at the script's head, without SLURM's lines, and ends it.
# `option` reads the others.
for argument in "$@"; do
  case "$argument" in
    --help | -h)
      sed -n '2,/^set /{/^set /d; /^#SBATCH/d; s/^# \{0,1\}//p;}' "$0"
      exit 0
      ;;
  esac
done
unset argument

to_project() { # goes to the project's folder, in which the launchers' relative paths start
  local called_in="$PWD"
  cd "$1" || exit
  [ "$called_in" -ef . ] || echo "note: relative paths start in $PWD" >&2
}

option() { # OPTION [NEXT...]: the option, with " VALUE" after it if what follows is no option itself
  if [ -n "${2-}" ] && [[ "$2" != --* ]]; then
    printf '%s VALUE' "$1"
  else
    printf '%s' "$1"
  fi
}

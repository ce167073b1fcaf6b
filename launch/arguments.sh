# shellcheck shell=bash
# Sourced by the launchers of trainings in the project's folder, after show.sh: `read_options` and
# the checks that need no machine, so that a wrong word is told before one is asked for, and by
# --dry-run.

TRAINS=" coordinator num-processes process-id stopped-status " # options of w2v2 train with a value

read_options() { # OPTIONS with a value, FLAGS, then the script's arguments, also as --option=value
  # Sets a variable for each (--data-to: data_to; a flag: 1). What is for w2v2 train goes to `more`.
  local takes=" $1 " flags=" $2 " option value
  shift 2
  more=()
  while [ $# -gt 0 ]; do
    option="${1%%=*}" option="${option#--}"
    if [[ "$1" =~ ^--config\.[A-Za-z_][A-Za-z0-9_.]*= ]]; then
      more+=("$1")
    elif [[ "$1" == --config.* ]]; then
      fail "'$1' is no setting; use --config.a.b=value, such as --config.train.steps=500"
    elif [[ "$1" != --?* ]]; then
      fail "'$1' is not an option (see the head of $0)"
    elif [[ "$flags" == *" $option "* ]] && [[ "$1" != *=* ]]; then
      printf -v "${option//-/_}" 1
    elif [[ "$takes$TRAINS" == *" $option "* ]]; then
      if [[ "$1" == *=* ]]; then
        value="${1#*=}"
      else
        value="${2-}"
        [ $# -lt 2 ] || shift
      fi
      [ -n "$value" ] && [[ "$value" != --* ]] || fail "'--$option' needs a value"
      if [[ "$takes" == *" $option "* ]]; then
        printf -v "${option//-/_}" '%s' "$value"
      else
        more+=("--$option" "$value")
      fi
    else
      fail "'$1' is an option neither of this script (see the head of $0) nor of w2v2 train; its" \
        "settings are --config.a.b=value"
    fi
    shift
  done
}

need() { # OPTIONS: each has to be given
  local option
  for option in "$@"; do
    [ -n "${!option}" ] || fail "give --$option (see the head of $0)"
  done
}

check_recipe() { # a --config: a recipe that is here, FILE.py[:ARGUMENT] or a name of experiments/
  local config="$1" file="experiments/${1%%:*}.py"
  case "$config" in
    *.py:*) file="${config%%.py:*}.py" ;;
    *.py) file="$config" ;;
  esac
  [ -f "$file" ] || fail "--config $config: there is no recipe $file; experiments/ has" \
    "$(cd experiments && echo *.py)"
}

recipe_here() { # a --config whose file the hosts get with the project: sets `config` as they have it
  local file="${config%%.py:*}" argument="" place
  check_recipe "$config"
  case "$config" in
    *.py:*) argument=":${config#*.py:}" file="$file.py" ;;
    *.py) ;;
    *) return ;; # a name of experiments/
  esac
  place="$(realpath "$file")"
  case "${place#"$(realpath .)/"}" in
    /* | .venv/* | .git/* | data/* | runs/*)
      fail "--config $config: the hosts get a copy of this project without data and runs, which" \
        "does not have this file; put it into experiments/"
      ;;
  esac
  config="${place#"$(realpath .)/"}$argument"
}

check_number() { # OPTION, its value, the least
  [[ "$2" =~ ^(0|[1-9][0-9]{0,5})$ ]] && [ "$2" -ge "$3" ] ||
    fail "--$1 $2 is not a whole number from $3 to 999999"
}

check_name() { # a --name that Kubernetes and Google Cloud take; its most letters
  [[ "$1" =~ ^[a-z]([a-z0-9-]*[a-z0-9])?$ ]] && [ "${#1}" -le "$2" ] ||
    fail "--name $1: use small letters, digits and -, a letter first, at most $2 in all"
}

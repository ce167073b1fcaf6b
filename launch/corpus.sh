# shellcheck shell=bash
# Sourced by the scripts that prepare a source into a folder of their own.

prepare_alone() { # DATA, what it is made from, options of prepare: DATA then has those splits alone
  local data="$1" made_from="$2"
  shift 2
  [ ! -L "$data" ] || data="$(readlink -f "$data")"
  if is_made_from "$data" "$made_from"; then
    return
  fi
  mkdir -p "$(dirname "$data")"
  { # one script at a time: another one would write to the same folder, or take this one's away
    if command -v flock >/dev/null && ! flock -n 8; then
      echo "$data is being prepared by another run; this one waits for it"
      flock 8
    fi
    is_made_from "$data" "$made_from" || prepare_now "$data" "$made_from" "$@"
  } 8>"$data.lock"
}

prepare_again() { # DATA: the next call prepares it anew, as its source lacked something
  : >"$1/source"
}

splits_in() { # DATA: " dev train", or " none"
  local file splits=""
  for file in "$1"/*/corpus.json; do
    [ ! -f "$file" ] || splits="$splits $(basename "$(dirname "$file")")"
  done
  echo "${splits:- none}"
}

is_made_from() { # DATA, what it should be made from
  [ -f "$1/source" ] && [ "$(cat "$1/source")" = "$2" ]
}

prepare_now() { # as prepare_alone
  local data="$1" made_from="$2" aside
  shift 2
  printf '\nprepare %s\n' "$made_from"
  # Elsewhere first: what cannot be prepared costs nobody the corpus that is there.
  rm -rf "$data.new"
  python -m w2v2_jax.prepare "$@" --out "$data.new" || return
  printf '%s' "$made_from" >"$data.new/source"
  if [ -f "$data/source" ]; then # splits of another source would be trained on
    rm -r "$data"
  elif [ -e "$data" ]; then
    aside="$data.before-$(date +%Y%m%d-%H%M%S)"
    mv "$data" "$aside"
    echo "$data was not prepared by this script; it is now $aside"
  fi
  mv "$data.new" "$data"
  echo "$data has these splits and no others"
}

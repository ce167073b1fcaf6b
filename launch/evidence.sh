#!/usr/bin/env bash
# Whether pretraining helps (experiments/evidence.py), cell by cell, and the tables of all cells.
#   bash launch/evidence.sh [--source folder:DIR] [--out DIR]      (default runs/evidence)
# A cell is START@LABELS@SEED: START scratch, pretrain, short or one of the recipe's changes; LABELS
# 10m or 1h. A finished cell is not redone, a stopped one goes on. CELLS="scratch@10m@1 ..."
# chooses some of them.
# --source: a folder whose transcripts.tsv has "relative/path<TAB>text<TAB>split<TAB>speaker" with the
# splits unlabeled, train_10min, train_1h (the other 50 minutes), dev and test; or W2V2_EVIDENCE_DATA,
# the same already prepared. Without both: the quickstart's sample speech, its labels as 10m.
# On a host with an NVIDIA GPU the recipe's size for one is taken (SIZE=,gpu or SIZE= chooses) and
# JOBS, the cells and pretrainings under way at once, is 4 instead of 1; each then writes to a file of
# --out/logs. PRETRAIN_STEPS, SHORT_STEPS, STEPS_10m, STEPS_1h: other numbers of updates.
# PRETRAIN_SECONDS: a pretraining that takes longer is stopped and used as it is.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
source_spec="" out=runs/evidence data="${W2V2_EVIDENCE_DATA:-data/evidence/corpus}"
while [ $# -gt 0 ]; do
  case "$1" in
    --source) source_spec="$2" ;;
    --out) out="$2" ;;
    *)
      echo "error: '$1' is not an option; use --source folder:DIR, --out DIR" >&2
      exit 2
      ;;
  esac
  shift 2
done
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/xla}"
size="${SIZE-}" jobs="${JOBS:-1}"
if [ "${W2V2_JAX:-cpu}" = cuda ]; then
  size="${SIZE-,gpu}" jobs="${JOBS:-4}"
fi
# By default a process takes three quarters of the GPU's memory for itself.
[ "$jobs" = 1 ] || export XLA_PYTHON_CLIENT_PREALLOCATE="${XLA_PYTHON_CLIENT_PREALLOCATE:-false}"

if [ -z "${W2V2_EVIDENCE_DATA:-}" ]; then
  if [ -z "$source_spec" ]; then
    python -m w2v2_jax.data.sample_speech --out data/quickstart/speech
    source_spec=folder:data/quickstart/speech/audio
  fi
  if [ ! -f "$data/source" ] || [ "$(cat "$data/source")" != "$source_spec" ]; then
    python -m w2v2_jax.prepare --source "$source_spec" --out "$data" --overwrite
    printf '%s' "$source_spec" >"$data/source"
  fi
fi
labelled=train_10min all_labels=train_10min+train_1h labels="10m 1h"
if [ ! -d "$data/train_10min" ]; then
  labelled=train all_labels=train labels=10m
fi

train() { # workdir, recipe, number of updates or nothing, training splits, further options
  local workdir="$1" recipe="$2$size${3:+,$3}" splits="$4"
  shift 4
  echo "train $workdir"
  # Status 3 says that a signal stopped it: the next call of this script goes on.
  "${limit[@]}" python -m w2v2_jax.train --config "experiments/evidence.py:$recipe" \
    --workdir "$workdir" --config.data.train="$data:$splits" --config.data.valid="$data:dev" \
    --stopped-status 3 "$@"
}

pretraining() { # START
  local work="$out/$1" recipe=pretrain steps="${PRETRAIN_STEPS:-}" status=0
  local limit=(${PRETRAIN_SECONDS:+timeout --foreground "$PRETRAIN_SECONDS"})
  [ ! -f "$work/pretrained" ] || return 0
  [ "$1" = pretrain ] || { recipe="pretrain,$1" && steps="${SHORT_STEPS:-}"; }
  mkdir -p "$work"
  train "$work/pretrain" "$recipe" "$steps" "unlabeled+$all_labels" || status=$?
  # 124 is timeout's own: the run has saved what it had.
  [ "$status" = 0 ] || { [ "$status" = 124 ] && [ -n "${PRETRAIN_SECONDS:-}" ]; } || exit "$status"
  touch "$work/pretrained"
}

cell() { # START@LABELS@SEED
  local start="${1%%@*}" size_of="${1#*@}" seed="${1##*@}" pretrained=() splits="$labelled" limit=()
  size_of="${size_of%@*}"
  local work="$out/$start" json="$out/cells/$1.json" steps="STEPS_$size_of"
  [ ! -f "$json" ] || return 0
  [ "$size_of" = 10m ] || splits="$all_labels"
  [ "$start" = scratch ] || pretrained=(--config.init_from="$work/pretrain")
  train "$work/$size_of-$seed" "finetune_$size_of" "${!steps:-}" "$splits" \
    --config.seed="$seed" "${pretrained[@]}" &&
    python -m w2v2_jax.evaluate --checkpoint "$work/$size_of-$seed" --data "$data:test" --json "$json"
}

logged() { # name, function, its argument: waits for one of the $jobs places
  local status=0
  read -r -u 9 _
  ("$2" "$3") >>"$out/logs/$1.log" 2>&1 || status=$?
  echo >&9
  echo "$1: status $status, ${SECONDS} s, $(tail -n 1 "$out/logs/$1.log")"
  return "$status"
}

chain() { # START: its pretraining, then its cells, all at once as far as there is place
  local name pid pids=() status=0
  if [ "$1" != scratch ]; then
    logged "$1" pretraining "$1" || return
  fi
  for name in $cells; do
    [ "${name%%@*}" = "$1" ] || continue
    logged "$name" cell "$name" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
  return "$status"
}

all=""
for seed in 1 2 3; do
  for size_of in $labels; do
    for start in scratch pretrain; do all="$all $start@$size_of@$seed"; done
  done
done
for start in short no_diversity no_gumbel negatives_10 span_10; do all="$all $start@10m@1"; done
cells="${CELLS:-$all}"
mkdir -p "$out/cells"
failed=0
if [ "$jobs" = 1 ]; then
  for name in $cells; do
    [ "${name%%@*}" = scratch ] || [ -f "$out/cells/$name.json" ] || pretraining "${name%%@*}"
    cell "$name"
  done
else
  mkdir -p "$out/logs"
  places="$(mktemp -u)"
  mkfifo "$places"
  exec 9<>"$places"
  rm "$places"
  for ((place = 0; place < jobs; place++)); do echo >&9; done
  pids=()
  starts="$(tr -s ' ' '\n' <<<"$cells" | sed 's/@.*//' | awk 'NF && !seen[$0]++')"
  for start in $starts; do
    chain "$start" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=$?; done
fi
if [ -f "$out/cells/scratch@10m@1.json" ] && [ -f "$out/cells/pretrain@10m@1.json" ]; then
  python -m w2v2_jax.report --pretrain "$out/pretrain/pretrain" --scratch "$out/scratch/10m-1" \
    --finetuned "$out/pretrain/10m-1" --scratch-eval "$out/cells/scratch@10m@1.json" \
    --finetuned-eval "$out/cells/pretrain@10m@1.json" --data "$data" --out "$out"
fi
python -m w2v2_jax.report_cells "$out/cells" --json "$out/cells.json"
exit "$failed"

#!/usr/bin/env bash
# Whether pretraining helps (experiments/evidence.py), cell by cell, and the tables of all cells.
#   bash launch/evidence.sh [--source folder:DIR] [--out DIR]      (default runs/evidence)
# A cell is START@LABELS@SEED: START scratch, pretrain, short or one of the recipe's changes; LABELS
# 10m or 1h. A finished cell is not redone, a stopped one goes on. CELLS="scratch@10m@1 ..."
# chooses some of them.
# --source: a folder whose transcripts.tsv has "relative/path<TAB>text<TAB>split<TAB>speaker" with the
# splits unlabeled, train_10min, train_1h (the other 50 minutes), dev and test; or W2V2_EVIDENCE_DATA,
# the same already prepared. Without both: the quickstart's sample speech, its labels as 10m.
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

train() { # workdir, recipe, training splits, further options
  local workdir="$1" recipe="$2" splits="$3"
  shift 3
  echo "train $workdir"
  # Status 3 says that a signal stopped it: the next call of this script goes on.
  python -m w2v2_jax.train --config "experiments/evidence.py:$recipe" --workdir "$workdir" \
    --config.data.train="$data:$splits" --config.data.valid="$data:dev" --stopped-status 3 "$@"
}

cell() { # START@LABELS@SEED
  local start="${1%%@*}" size="${1#*@}" seed="${1##*@}" recipe pretrained splits="$labelled"
  size="${size%@*}"
  local work="$out/$start" json="$out/cells/$1.json"
  [ -f "$json" ] && return
  [ "$size" = 10m ] || splits="$all_labels"
  pretrained=()
  if [ "$start" != scratch ]; then
    recipe=pretrain
    [ "$start" = pretrain ] || recipe="pretrain,$start"
    mkdir -p "$work"
    if [ ! -f "$work/pretrained" ]; then
      train "$work/pretrain" "$recipe" "unlabeled+$all_labels"
      touch "$work/pretrained"
    fi
    pretrained=(--config.init_from="$work/pretrain")
  fi
  train "$work/$size-$seed" "finetune_$size" "$splits" --config.seed="$seed" "${pretrained[@]}"
  python -m w2v2_jax.evaluate --checkpoint "$work/$size-$seed" --data "$data:test" --json "$json"
}

all=""
for seed in 1 2 3; do
  for size in $labels; do
    for start in scratch pretrain; do all="$all $start@$size@$seed"; done
  done
done
for start in short no_diversity no_gumbel negatives_10 span_10; do all="$all $start@10m@1"; done
mkdir -p "$out/cells"
for name in ${CELLS:-$all}; do cell "$name"; done
if [ -f "$out/cells/scratch@10m@1.json" ] && [ -f "$out/cells/pretrain@10m@1.json" ]; then
  python -m w2v2_jax.report --pretrain "$out/pretrain/pretrain" --scratch "$out/scratch/10m-1" \
    --finetuned "$out/pretrain/10m-1" --scratch-eval "$out/cells/scratch@10m@1.json" \
    --finetuned-eval "$out/cells/pretrain@10m@1.json" --data "$data" --out "$out"
fi
python -m w2v2_jax.report_cells "$out/cells" --json "$out/cells.json"

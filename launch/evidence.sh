#!/usr/bin/env bash
# Tests whether pretraining helps (experiments/evidence.py): runs every comparison, prints the tables.
#   bash launch/evidence.sh [--source folder:DIR] [--out DIR]      (default runs/evidence)
# A cell is START@LABELS@SEED: START is scratch, pretrain, short or one of the recipe's changes;
# pseudo is scratch on the labels and on the texts that scratch's cell wrote for `unlabeled`, and
# pseudo_START the same with the cell and the encoder of START.
# LABELS is 10m, 1h or all. Finished cells are not run again, interrupted ones resume.
# CELLS="scratch@10m@1 ..." selects cells.
# --source: a folder whose transcripts.tsv has "relative/path<TAB>text<TAB>split<TAB>speaker" with the
# splits unlabeled, train_10min, train_1h (the other 50 minutes), perhaps train_rest (further labels),
# dev and test; or W2V2_EVIDENCE_DATA, the same already prepared. Without both: the quickstart's sample
# speech, its labels as 10m. A source is prepared into data/evidence/corpus, in place of the one before,
# and has its own --out.
# On a host with an NVIDIA GPU the recipe's size for one is taken (SIZE=,gpu or SIZE= chooses) and
# JOBS, the cells and pretrainings under way at once, is 4 instead of 1; each then writes to a file of
# --out/logs. SIZE=,filterbank: a network that is faster on CPUs, and a stronger recipe from scratch;
# SIZE=,strong: that recipe's fine-tuning for the usual network.
# PRETRAIN_STEPS, SHORT_STEPS, STEPS_10m, STEPS_1h, STEPS_all: other numbers of updates.
# OPTIONS, TUNE_OPTIONS: options of every training, or of the fine-tunings, such as
# --config.execution.dtype=bfloat16 (another language's: docs/results/evidence.md).
# PRETRAIN_SECONDS: a pretraining that takes longer is stopped and used as it is.
# SIGINT or SIGTERM stops what is under way, which saves, and ends with status 3.
set -euo pipefail
# shellcheck source=launch/help.sh
source "$(dirname "$0")/help.sh" "$@"
# shellcheck source=launch/corpus.sh
source "$(dirname "$0")/corpus.sh"
for number in JOBS PRETRAIN_STEPS SHORT_STEPS STEPS_10m STEPS_1h STEPS_all PRETRAIN_SECONDS; do
  digits=9
  [ "$number" != JOBS ] || digits=3
  if ! [[ "${!number:-1}" =~ ^[1-9][0-9]{0,$((digits - 1))}$ ]]; then
    echo "error: $number='${!number}' is not a whole number from 1, of at most $digits digits" >&2
    exit 2
  fi
done
if ! [[ "${MIN_CONFIDENCE:-1}" =~ ^(0?\.[0-9]+|0\.?|1(\.0*)?)$ ]]; then
  echo "error: MIN_CONFIDENCE='$MIN_CONFIDENCE' is not a number from 0 to 1, such as 0.5" >&2
  exit 2
fi
if [ -n "${CELLS:-}" ] && ! [[ "$CELLS" =~ [^[:space:]] ]]; then
  echo "error: CELLS names no cell, as scratch@10m@1 does; without it all are run" >&2
  exit 2
fi
if [[ "${SIZE:-,}" != ,* ]]; then
  echo "error: SIZE='$SIZE' is no list of the recipe's words; use SIZE=,gpu, SIZE=,filterbank, SIZE=,strong or SIZE=" >&2
  exit 2
fi
source_spec="" out=runs/evidence data="${W2V2_EVIDENCE_DATA:-data/evidence/corpus}"
while [ $# -gt 0 ]; do # before anything is installed
  case "$(option "$@")" in
    "--source VALUE") source_spec="$2" ;;
    "--out VALUE") out="$2" ;;
    --source | --out)
      echo "error: $1 needs a value" >&2
      exit 2
      ;;
    *)
      echo "error: '$1' is not an option; use --source folder:DIR, --out DIR" >&2
      exit 2
      ;;
  esac
  shift 2
done
if [ -n "$source_spec" ] && [ -n "${W2V2_EVIDENCE_DATA:-}" ]; then
  echo "error: --source $source_spec and W2V2_EVIDENCE_DATA=$W2V2_EVIDENCE_DATA name two corpora; give one" >&2
  exit 2
fi
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh" # from here on in the project's folder
speech=folder:data/quickstart/speech/audio
cells_of="${W2V2_EVIDENCE_DATA:-${source_spec:-$speech}}"
[ -z "${W2V2_EVIDENCE_DATA:-}" ] || cells_of="$(realpath -m "$data")"
has_checkpoint() { # workdir: whether it holds a whole one; one being written has another name
  local step
  for step in "$1"/checkpoints/*/; do
    step="${step%/}"
    [[ "${step##*/}" =~ ^[1-9][0-9]*$ ]] || continue
    [ ! -d "$step/model" ] || [ ! -d "$step/params" ] || return 0
  done
  return 1
}

holds_work() { # whether --out has a cell or a checkpoint: a start that failed before leaves none
  local work
  ! compgen -G "$out/cells/*.json" >/dev/null || return 0
  for work in "$out"/*/*/; do ! has_checkpoint "${work%/}" || return 0; done
  return 1
}

if [ -f "$out/source" ] && [ "$(cat "$out/source")" != "$cells_of" ] && holds_work; then
  echo "error: $out has cells of $(cat "$out/source"), not of $cells_of; give another --out, or remove" \
    "$out/source if these are the same recordings in another place" >&2
  exit 2
fi
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/xla}"
size="${SIZE-}" jobs="${JOBS:-1}"
read -rd '' -a options <<<"${OPTIONS:-}" || true # on one line or several
read -rd '' -a tune_options <<<"${TUNE_OPTIONS:-}" || true
if [ "${W2V2_JAX:-cpu}" = cuda ]; then
  size="${SIZE-,gpu}" jobs="${JOBS:-4}"
fi
# By default a process takes three quarters of the GPU's memory for itself.
[ "$jobs" = 1 ] || export XLA_PYTHON_CLIENT_PREALLOCATE="${XLA_PYTHON_CLIENT_PREALLOCATE:-false}"

if [ -z "${W2V2_EVIDENCE_DATA:-}" ]; then
  if [ -z "$source_spec" ]; then
    python -m w2v2_jax.sample_speech --out data/quickstart/speech
    source_spec="$speech"
  fi
  prepare_alone "$data" "$source_spec" --source "$source_spec"
fi
labelled=train_10min hour=train_10min+train_1h labels="10m 1h"
all_labels="$hour"
if [ ! -d "$data/train_10min" ]; then
  labelled=train all_labels=train labels=10m
elif [ -d "$data/train_rest" ]; then
  all_labels="$hour+train_rest" labels="10m 1h all"
fi

# A stop: no further training begins and those under way get SIGTERM, upon which they save. Bash
# hands no signal on, its background processes ignore SIGINT, and its subshells lose the traps.
signs="$(mktemp -d)"
stopped="$signs/stopped" # is there after a stop, whichever shell below this one looks
trap 'rm -rf "$signs"' EXIT
trap stop INT TERM

stop() {
  local pid
  : >"$stopped"
  for pid in $(jobs -pr); do kill -TERM "$pid" 2>/dev/null || true; done
}

finished() { # process: waits for it and gives its status, though signals come in between
  local status=0
  wait "$1" || status=$?
  while [ "$status" -gt 128 ] && kill -0 "$1" 2>/dev/null; do
    status=0
    wait "$1" || status=$?
  done
  return "$status"
}

run() { # a command, so that a stop reaches it; then nothing comes after it
  local status=0
  [ ! -e "$stopped" ] || exit 3
  "$@" &
  [ ! -e "$stopped" ] || stop # a signal just before the command began
  finished $! || status=$?
  [ ! -e "$stopped" ] || exit 3
  return "$status"
}

train() { # workdir, recipe, number of updates or nothing, training splits, further options
  local workdir="$1" recipe="$2$size${3:+,$3}" splits="$4"
  shift 4
  echo "train $workdir"
  # Status 3 says that a signal stopped it: the next call of this script goes on.
  run "${limit[@]}" python -m w2v2_jax.train --config "experiments/evidence.py:$recipe" \
    --workdir "$workdir" --config.data.train="$data:$splits" --config.data.valid="$data:dev" \
    --stopped-status 3 "${options[@]}" "$@"
}

pretraining() { # START
  local work="$out/$1" recipe=pretrain steps="${PRETRAIN_STEPS:-}" status=0
  local limit=(${PRETRAIN_SECONDS:+timeout --foreground "$PRETRAIN_SECONDS"})
  [ ! -f "$work/pretrained" ] || return 0
  [ "$1" = pretrain ] || { recipe="pretrain,$1" && steps="${SHORT_STEPS:-}"; }
  mkdir -p "$work"
  train "$work/pretrain" "$recipe" "$steps" "unlabeled+$all_labels" || status=$?
  if [ "$status" = 124 ] && [ -n "${PRETRAIN_SECONDS:-}" ]; then # timeout's own status
    has_checkpoint "$work/pretrain" || {
      echo "error: no checkpoint in $work/pretrain after PRETRAIN_SECONDS=$PRETRAIN_SECONDS" >&2
      exit 1
    }
  elif [ "$status" != 0 ]; then
    exit "$status"
  fi
  touch "$work/pretrained"
}

taught_by() { # START or a cell: the start whose cell writes the transcripts, and whose encoder it has
  local start="${1%%@*}"
  [ "$start" != pseudo ] || start=scratch
  echo "${start#pseudo_}"
}

without_encoder() { # START or a cell: whether it starts from random parameters
  [ "$(taught_by "$1")" = scratch ]
}

splits_of() { # LABELS: the splits whose transcripts a cell is tuned on
  case "$1" in
    1h) echo "$hour" ;;
    all) echo "$all_labels" ;;
    *) echo "$labelled" ;;
  esac
}

check_splits() { # START@LABELS@SEED: whether the corpus has every split that the cell needs
  local size_of="${1#*@}" needs split where=""
  [ -z "$source_spec" ] || where=" name it in the third column of transcripts.tsv of $source_spec;"
  needs="$(splits_of "${size_of%@*}")+dev+test"
  if ! without_encoder "$1" && [ ! -f "$out/$(taught_by "$1")/pretrained" ]; then
    needs="$needs+unlabeled+$all_labels"
  fi
  [[ "$1" != pseudo* ]] || needs="$needs+unlabeled"
  for split in ${needs//+/ }; do
    if [ ! -f "$data/$split/corpus.json" ]; then
      echo "error: $data has no split $split, which cell $1 needs;$where its splits are$(splits_in "$data")" >&2
      [ -z "$source_spec" ] || prepare_again "$data"
      return 2
    fi
  done
}

check_pseudo() { # START, LABELS-SEED, cells that are run before: whether it can have its texts
  local from texts="$out/$1/heard-$2" least="${MIN_CONFIDENCE:-0.5}" before teacher
  from="$(taught_by "$1")"
  teacher="$from@${2/-/@}"
  # A finished cell is not run again, and so writes no language model that it lacks.
  if [ ! -f "$out/$from/$2/lm.arpa" ] &&
    { [[ " ${3:-} " != *" $teacher "* ]] || [ -f "$out/cells/$teacher.json" ]; }; then
    echo "error: $1@${2/-/@} needs the finished cell $teacher" >&2
    return 1
  fi
  if [ -f "$texts/unlabeled/report.json" ]; then
    before="$(cat "$texts/min_confidence" 2>/dev/null || echo "$least")"
    if [ "$before" != "$least" ]; then
      echo "error: $texts was written with MIN_CONFIDENCE=$before, not $least; use another --out" >&2
      return 1
    fi
  fi
}

pseudo_labels() { # START, LABELS-SEED: its teacher's cell writes texts for `unlabeled`; sets heard
  local teacher texts="$out/$1/heard-$2" least="${MIN_CONFIDENCE:-0.5}"
  teacher="$out/$(taught_by "$1")/$2"
  check_pseudo "$1" "$2" || return
  if [ ! -f "$texts/unlabeled/report.json" ]; then
    mkdir -p "$texts" && printf '%s' "$least" >"$texts/min_confidence" || return
    run python -m w2v2_jax pseudo --checkpoint "$teacher" --data "$data:unlabeled" --out "$texts" \
      --overwrite --min-confidence "$least" --min-seconds 1 \
      --lm "$teacher/lm.arpa" --lexicon "$teacher/lm.txt" --lm-weight 2 --word-score 1 || return
  fi
  heard=",$texts:unlabeled"
}

cell() { # START@LABELS@SEED
  local start="${1%%@*}" size_of="${1#*@}" seed="${1##*@}" pretrained=() splits limit=() heard=""
  size_of="${size_of%@*}"
  local work="$out/$start" json="$out/cells/$1.json" steps="STEPS_$size_of" lm texts
  [ ! -f "$json" ] || return 0
  splits="$(splits_of "$size_of")"
  without_encoder "$start" || pretrained=(--config.init_from="$out/$(taught_by "$start")/pretrain")
  # From scratch it is pre-LN, pretrained post-LN: each learns faster so.
  if [ "${#pretrained[@]}" -gt 0 ] && [[ "$size," =~ ,(filterbank|strong), ]]; then
    pretrained+=(--config.model.norm_order=post)
  fi
  # Its encoder keeps its quantizer, which the fine-tuning's recipe knows nothing of.
  [ "$(taught_by "$start")" != quantized_input ] || pretrained+=(--config.model.quantize_input=True)
  [[ "$start" != pseudo* ]] || pseudo_labels "$start" "$size_of-$seed" || return
  train "$work/$size_of-$seed" "finetune_$size_of" "${!steps:-}" "$splits$heard" \
    --config.seed="$seed" "${pretrained[@]}" "${tune_options[@]}" || return
  work="$work/$size_of-$seed"
  lm="$work/lm"
  # With a 3-gram of the transcripts that it was tuned on; weights from dev, of a net with all labels.
  read -r -a texts <<<"${splits//+/ }"
  run python -m w2v2_jax.lm --text "${texts[@]/#/$data:}" --vocabulary "$work" --order 3 --discount-fallback \
    --out "$lm.arpa" --lexicon "$lm.txt" &&
    run python -m w2v2_jax.evaluate --checkpoint "$work" --data "$data:test" --lm "$lm.arpa" \
      --lexicon "$lm.txt" --lm-weight 2 --word-score 1 --log-add --beam 500 --beam-threshold 100 \
      --json "$out/cells_lm/$1.json" &&
    run python -m w2v2_jax.evaluate --checkpoint "$work" --data "$data:test" --json "$json"
}

logged() { # name, function, its argument: waits for one of the $jobs places
  local status=0
  read -r -u 9 _
  if [ -e "$stopped" ]; then
    echo >&9
    return 3
  fi
  { trap stop TERM && "$2" "$3"; } >>"$out/logs/$1.log" 2>&1 &
  finished $! || status=$?
  echo >&9
  echo "$1: status $status, ${SECONDS} s, $(tail -n 1 "$out/logs/$1.log")"
  return "$status"
}

chain() { # START: its pretraining, then its cells, all at once as far as there is place
  local name pid names=() pids=() status=0
  for name in $cells; do
    [ "${name%%@*}" != "$1" ] || [ -f "$out/cells/$name.json" ] || names+=("$name")
  done
  [ "${#names[@]}" -gt 0 ] || return 0
  if ! without_encoder "$1"; then
    logged "$1" pretraining "$(taught_by "$1")" || return
  fi
  for name in "${names[@]}"; do
    { trap stop TERM && logged "$name" cell "$name"; } &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do finished "$pid" || status=$?; done
  return "$status"
}

all=""
for seed in 1 2 3; do
  for size_of in $labels; do
    for start in scratch pretrain; do all="$all $start@$size_of@$seed"; done
  done
done
changed="short no_diversity no_gumbel negatives_10 span_10 quantized_input continuous_targets"
changed="$changed random_targets ema_teacher"
for start in $changed; do all="$all $start@10m@1"; done
cells="${CELLS:-$all}"
read -ra cell_names <<<"${cells//$'\n'/ }" # a * in a name is no pattern of files
for name in ${cell_names[@]+"${cell_names[@]}"}; do
  IFS=@ read -r start size_of seed <<<"$name"
  if [[ " $labels " != *" $size_of "* ]] || ! [[ "$seed" =~ ^(0|[1-9][0-9]{0,8})$ ]]; then
    echo "error: cell '$name' is no START@LABELS@SEED with the labels of $data: $labels" >&2
    exit 2
  fi
  if [[ " scratch pretrain $changed " != *" $(taught_by "$start") "* ]]; then
    echo "error: cell '$name' is no START@LABELS@SEED of the starts scratch pseudo pretrain $changed," \
      "pseudo_START" >&2
    exit 2
  fi
done
# What a cell takes from others is looked for now, and not after its pretraining. Of several cells at
# once, those without texts of others come first.
for name in ${cell_names[@]+"${cell_names[@]}"}; do
  [ -f "$out/cells/$name.json" ] || check_splits "$name" || exit
done
earlier=""
for name in ${cell_names[@]+"${cell_names[@]}"}; do
  [ "$jobs" = 1 ] || [[ "$name" == pseudo* ]] || earlier="$earlier $name"
done
for name in ${cell_names[@]+"${cell_names[@]}"}; do
  IFS=@ read -r start size_of seed <<<"$name"
  if [[ "$start" == pseudo* ]] && [ ! -f "$out/cells/$name.json" ]; then
    check_pseudo "$start" "$size_of-$seed" "$earlier" || exit
  fi
  earlier="$earlier $name"
done
mkdir -p "$out/cells" "$out/cells_lm"
printf '%s' "$cells_of" >"$out/source"
failed=0
if [ "$jobs" = 1 ]; then
  for name in $cells; do
    without_encoder "$name" || [ -f "$out/cells/$name.json" ] || pretraining "$(taught_by "$name")"
    cell "$name"
  done
else
  mkdir -p "$out/logs"
  mkfifo "$signs/places"
  exec 9<>"$signs/places"
  for ((place = 0; place < jobs; place++)); do echo >&9; done
  pids=()
  starts="$(tr -s ' ' '\n' <<<"$cells" | sed 's/@.*//' | awk 'NF && !seen[$0]++')"
  for start in $starts; do
    [[ "$start" != pseudo* ]] || continue
    { trap stop TERM && chain "$start"; } &
    pids+=($!)
  done
  for pid in ${pids[@]+"${pids[@]}"}; do finished "$pid" || failed=$?; done
  [ ! -e "$stopped" ] || exit 3
  for start in $starts; do # these need what the cells of the others wrote
    [[ "$start" == pseudo* ]] || continue
    { trap stop TERM && chain "$start"; } &
    [ ! -e "$stopped" ] || stop # a signal just before it began
    finished $! || failed=$?
    [ ! -e "$stopped" ] || exit 3
  done
fi
if [ -f "$out/cells/scratch@10m@1.json" ] && [ -f "$out/cells/pretrain@10m@1.json" ]; then
  python -m w2v2_jax.report --pretrain "$out/pretrain/pretrain" --scratch "$out/scratch/10m-1" \
    --finetuned "$out/pretrain/10m-1" --scratch-eval "$out/cells/scratch@10m@1.json" \
    --finetuned-eval "$out/cells/pretrain@10m@1.json" --data "$data" --out "$out"
fi
python -m w2v2_jax.report.cells "$out/cells" --json "$out/cells.json" --png "$out/cells.png"
if compgen -G "$out/cells_lm/*.json" >/dev/null; then # cells of an older run have none
  printf '\nWith the language model:\n\n'
  python -m w2v2_jax.report.cells "$out/cells_lm" --json "$out/cells_lm.json" \
    --png "$out/cells_lm.png"
fi
exit "$failed"

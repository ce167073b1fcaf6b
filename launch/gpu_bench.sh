#!/usr/bin/env bash
# The GPU measurements of docs/results/speed.md, one JSON file per table row; about 40 minutes on one 80 GB GPU.
#   bash launch/gpu_bench.sh [--out DIR] [--minutes N] [--dry-run]
# BASE pretraining and LARGE fine-tuning beside Hugging Face (eager, torch.compile), every
# formulation that has a choice, memory of the published batch with accumulation, inference.
# The most important come first. --minutes N stops what is under way after N minutes, installation
# included, and names what was left out; JSON files that are there are not measured again.
set -euo pipefail
# shellcheck source=launch/help.sh
source "$(dirname "$0")/help.sh" "$@"
out=bench-gpu minutes=""
while [ $# -gt 0 ]; do
  case "$(option "$@")" in
    "--out VALUE") out="$2" && shift ;;
    "--minutes VALUE") minutes="$2" && shift ;;
    "--dry-run" | "--dry-run VALUE") dry_run=1 ;;
    --out | --minutes) echo "error: $1 needs a value" >&2 && exit 2 ;;
    *)
      echo "error: '$1' is not an option; use --out DIR, --minutes N or --dry-run" >&2
      exit 2
      ;;
  esac
  shift
done
if ! [[ "${minutes:-1}" =~ ^[1-9][0-9]{0,3}$ ]]; then
  echo "error: --minutes '$minutes' is not a whole number from 1, of at most 4 digits" >&2
  exit 2
fi
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=launch/show.sh
source "$here/show.sh"
if [ "$dry_run" = 0 ]; then
  # shellcheck source=launch/env.sh
  source "$here/env.sh"
  run python -m pip install --quiet --disable-pip-version-check torch transformers
fi
# Two frameworks share the card: neither may take all of its memory at the start.
export XLA_PYTHON_CLIENT_PREALLOCATE=false

bench() { # NAME, options...
  local name="$1" status=0 limit=()
  shift
  [ ! -f "$out/$name.json" ] || return 0
  if [ -n "$minutes" ]; then
    if [ $((minutes * 60 - SECONDS)) -le 0 ]; then
      left_out="$left_out $name"
      return
    fi
    limit=(timeout --foreground $((minutes * 60 - SECONDS)))
  fi
  run ${limit[@]+"${limit[@]}"} python -m w2v2_jax.bench --dtype bfloat16 --repeats 10 \
    --json "$out/$name.json" "$@" || status=$?
  if [ "$status" = 124 ]; then # timeout's own status
    left_out="$left_out $name"
  elif [ "$status" != 0 ]; then
    echo "note: $name failed (out of memory?); the others go on" >&2
  fi
}

left_out=""
crops=(--what train --seconds 15.625)
large=(--family large_lv60k --objective ctc)
# The H100's floor is 150 k frames/s, its goal 300 k; 2x Hugging Face eager, 1.3x torch.compile.
bench base-hf "${crops[@]}" --rows 24 --peer hf --dropout --together
# 1.6 audio-hours an update on one card: 384 rows of 15.6 s in microbatches.
bench base-update "${crops[@]}" --rows 384 --accumulate 16 --remat dots
bench large-hf "${crops[@]}" "${large[@]}" --rows 8 --peer hf --dropout --together
for choice in attention_formulation={plain,late_division,tpu_few_passes,gpu_kernel} \
  conv_formulation={xla_conv,matmul_per_stride,one_matmul} \
  position_formulation={grouped_conv,conv_per_group,toeplitz_matmul} scan_layers=True; do
  bench "base-${choice/=/-}" "${crops[@]}" --rows 12 --set "$choice"
done
bench infer-hf --what infer --rows 1 --seconds 10 --peer hf
bench infer-mixed-hf --what infer --lengths 3,4.5,6,8,9.5,11,13,15.5 --peer hf
for remat in none dots full; do
  for rows in 12 24 48; do
    bench "base-$remat-$rows" "${crops[@]}" --rows "$rows" --remat "$remat"
  done
done
bench base-undropped "${crops[@]}" --rows 12 --set attention_dropout=0.0
bench large-update "${crops[@]}" "${large[@]}" --rows 64 --accumulate 16 --remat full
run ls "$out"
[ -z "$left_out" ] || echo "left out after $minutes minutes:$left_out" >&2

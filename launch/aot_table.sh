#!/usr/bin/env bash
# Compiles the published recipes for TPU pods and prints one Markdown table; needs no TPU.
#   bash launch/aot_table.sh [OUT]      (default runs/aot; cells that have a report are not compiled again)
# Each cell takes two to three minutes of one core and 3 GiB. CELLS="base@v5p:2x2x2 ..." selects cells.
set -euo pipefail
# shellcheck source=launch/help.sh
source "$(dirname "$0")/help.sh" "$@"
if [ $# -gt 1 ] || [[ "${1-}" == -* ]]; then
  echo "error: aot_table.sh takes one folder, not '$*'; CELLS selects cells" >&2
  exit 2
fi
declare -A config=(
  [base]="experiments/pretrain_base.py"
  [random_targets]="experiments/pretrain_random_targets.py"
  [ema_teacher]="experiments/pretrain_ema_teacher.py"
  [large]="experiments/pretrain_large.py:lv60k_2021"
  [xlsr_1b]="experiments/pretrain_xlsr.py:1b"
  [xlsr_2b]="experiments/pretrain_xlsr.py:2b"
  [omni_3b]="experiments/pretrain_xlsr.py:2b --config.model.family=omni_3b"
  [omni_7b]="experiments/pretrain_xlsr.py:2b --config.model.family=omni_7b"
  [mms_adapters]="experiments/adapt.py:adapter"
)
scan="--config.execution.scan_layers=True --config.execution.remat=attention"
how_of() { # recipe@topology: its mesh and memory
  case "$1" in
    mms_adapters@*) echo "--config.train.accumulate=auto" ;; # the recipe's own rows and remat policy
    omni_*) echo "--rows 8 --config.mesh.fsdp=4 --config.mesh.tensor=2 $scan" ;;
    *) echo "--rows $(rows_a_chip "$1") $scan" ;;
  esac
}
rows_a_chip() { # recipe@topology: what fits with remat=attention, in the recipe's groups of rows
  case "$1" in
    base@v5p:2x2x2 | base@v4:2x2x2 | random_targets@v5p:2x2x2) echo 48 ;;
    ema_teacher@v5p:2x2x2) echo 24 ;;
    base@*:4x4) echo 24 ;;
    base@*) echo 6 ;;
    *@v5p:*) echo 16 ;;
    large@v4:* | large@v6e:*) echo 16 ;;
    *@v4:* | *@v6e:* | large@v5e:4x4) echo 8 ;;
    *) echo 4 ;;
  esac
}
all="random_targets@v5p:2x2x2 ema_teacher@v5p:2x2x2"
all="$all omni_3b@v5p:2x2x2 omni_7b@v5p:2x2x2 mms_adapters@v5e:1x1"
for topology in v5p:2x2x2 v4:2x2x2 v5e:4x4 v6e:4x4 v5e:16x16 v5e:16x16+2; do
  for recipe in base large xlsr_1b xlsr_2b; do all="$all $recipe@$topology"; done
done
read -rd "" -a cells <<<"${CELLS:-$all}" || true # the end of the text ends it
if [ "${#cells[@]}" = 0 ]; then # before anything is installed
  echo "error: CELLS names no cell, as base@v5e:4x4 does; without it all are compiled" >&2
  exit 2
fi
for cell in "${cells[@]}"; do
  if [[ ! "$cell" =~ ^([a-z0-9_]+)@[a-z0-9]+(:[0-9x]+)?(\+[1-9][0-9]*)?$ ]] ||
    [ -z "${config[${BASH_REMATCH[1]}]:-}" ]; then
    echo "error: CELLS has '$cell'; a cell is RECIPE@TOPOLOGY[+SLICES], separated by spaces, such as" \
      "base@v5e:16x16+2, of the recipes $(printf '%s\n' "${!config[@]}" | sort | paste -sd' ' -)" >&2
    exit 2
  fi
done
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
python -c 'import libtpu' 2>/dev/null ||
  python -m pip install --quiet --disable-pip-version-check -c requirements.txt "jax[tpu]"
out="${1:-runs/aot}"
mkdir -p "$out"
for cell in "${cells[@]}"; do
  recipe="${cell%@*}" topology="${cell#*@}" slices=1
  case "$topology" in *+*) slices="${topology#*+}" topology="${topology%+*}" ;; esac
  report="$out/${cell//[:@+]/_}.json"
  [ -f "$report" ] && continue
  read -ra options <<<"${config[$recipe]} $(how_of "$recipe@$topology")"
  command=(python -m w2v2_jax.aot --config "${options[@]}" --topology "$topology"
    --slices "$slices" --json "$report")
  echo "${command[*]}"
  "${command[@]}" >"$out/${cell//[:@+]/_}.txt" || [ -f "$report" ]
done
python - "$out" <<'PYTHON'
import json, pathlib, sys
from w2v2_jax.aot.render import markdown

reports = [json.loads(path.read_text()) for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json"))]
print(markdown(reports), end="")
PYTHON

#!/usr/bin/env bash
# Compiles the published recipes for TPU pods and prints one Markdown table; needs no TPU.
#   bash launch/aot_table.sh [OUT]      (default runs/aot; a cell whose report is there is not redone)
# Minutes of CPU and a few GiB a cell. CELLS="base@v5p:2x2x2 ..." chooses some of them.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
out="${1:-runs/aot}"
mkdir -p "$out"
declare -A config=(
  [base]="experiments/pretrain_base.py"
  [large]="experiments/pretrain_large.py:lv60k_2021"
  [xlsr_1b]="experiments/pretrain_xlsr.py:1b"
  [xlsr_2b]="experiments/pretrain_xlsr.py:2b"
)
declare -A rows=([base]=6 [large]=4 [xlsr_1b]=4 [xlsr_2b]=4)
all=""
for topology in v5p:2x2x2 v4:2x2x2 v5e:4x4 v6e:4x4 v5e:16x16 v5e:16x16+2; do
  for recipe in base large xlsr_1b xlsr_2b; do all="$all $recipe@$topology"; done
done
for cell in ${CELLS:-$all}; do
  recipe="${cell%@*}" topology="${cell#*@}" slices=1
  case "$topology" in *+*) slices="${topology#*+}" topology="${topology%+*}" ;; esac
  report="$out/${cell//[:@+]/_}.json"
  [ -f "$report" ] && continue
  command=(python -m w2v2_jax.aot --config "${config[$recipe]}" --topology "$topology"
    --slices "$slices" --rows "${rows[$recipe]}" --json "$report"
    --config.model.scan_layers=True --config.model.remat=full)
  echo "${command[*]}"
  "${command[@]}" >"$out/${cell//[:@+]/_}.txt" || [ -f "$report" ]
done
python - "$out" <<'PYTHON'
import json, pathlib, sys
from w2v2_jax.ahead.render import markdown

reports = [json.loads(path.read_text()) for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json"))]
print(markdown(reports), end="")
PYTHON

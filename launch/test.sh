#!/usr/bin/env bash
# Lint and tests from nothing: bash launch/test.sh [everyday|slow|parity|decode|all] [pytest arguments]
# everyday (default): lint and the fast suite; slow: the slow tests too; parity: installs torch and
# transformers and runs the live comparisons; decode: installs flashlight-text, KenLM and optuna and
# runs the beam search; all: everything this machine can run.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
suite="${1:-everyday}"
[ $# -gt 0 ] && shift
case "$suite" in
  everyday) marks="not slow and not parity and not decode and not gpu and not network" ;;
  slow) marks="not parity and not decode and not gpu and not network" ;;
  parity) marks="parity" ;;
  decode) marks="decode" ;;
  all) marks="not gpu" ;;
  *)
    echo "error: suite '$suite' is not known; use everyday, slow, parity, decode or all" >&2
    exit 2
    ;;
esac
case "$suite" in
  parity | all)
    python -m pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
    ;;
esac
case "$suite" in
  decode | all)
    python -m pip install --quiet --disable-pip-version-check \
      flashlight-text==0.0.7 ufal.kenlm==26.4.1 optuna==5.0.0
    ;;
esac
ruff check .
ruff format --check .
python -m pytest -n 2 -m "$marks" "$@"

#!/usr/bin/env bash
# Lint and tests from nothing: bash launch/test.sh [everyday|slow|parity|aot|all] [pytest arguments]
# everyday (default): lint and the fast suite; slow: the slow tests too; parity: installs torch and
# transformers and runs the live comparisons; aot: installs libtpu and compiles for TPU topologies
# (many minutes); all: everything this machine can run.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
suite="${1:-everyday}"
[ $# -gt 0 ] && shift
case "$suite" in
  everyday) marks="not slow and not parity and not aot and not gpu and not network" ;;
  slow) marks="not parity and not aot and not gpu and not network" ;;
  parity) marks="parity" ;;
  aot) marks="aot" ;;
  all) marks="not gpu" ;;
  *)
    echo "error: suite '$suite' is not known; use everyday, slow, parity, aot or all" >&2
    exit 2
    ;;
esac
case "$suite" in
  parity | all)
    python -m pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
    ;;
esac
case "$suite" in
  aot | all)
    python -m pip install --quiet --disable-pip-version-check "jax[tpu]==0.10.2"
    ;;
esac
ruff check .
ruff format --check .
python -m pytest -n 2 -m "$marks" "$@"

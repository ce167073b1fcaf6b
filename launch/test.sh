#!/usr/bin/env bash
# Lint and tests from nothing: bash launch/test.sh [everyday|slow|parity|all] [pytest arguments]
# everyday (default): lint and the fast suite; slow: the slow tests too; parity: installs torch,
# transformers and what fairseq and torchaudio need, and runs the live comparisons (W2V2_FAIRSEQ may
# name a checkout of fairseq); all: everything this machine can run.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
suite="${1:-everyday}"
[ $# -gt 0 ] && shift
case "$suite" in
  everyday) marks="not slow and not parity and not gpu and not network" ;;
  slow) marks="not parity and not gpu and not network" ;;
  parity) marks="parity" ;;
  all) marks="not gpu" ;;
  *)
    echo "error: suite '$suite' is not known; use everyday, slow, parity or all" >&2
    exit 2
    ;;
esac
case "$suite" in
  parity | all)
    # shellcheck source=launch/references.sh
    source launch/references.sh
    install_references
    ;;
esac
ruff check .
ruff format --check .
python -m pytest -n 2 -m "$marks" "$@"

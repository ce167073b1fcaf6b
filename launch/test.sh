#!/usr/bin/env bash
# Lint and tests from nothing: [W2V2_PYTHON=python3.12] bash launch/test.sh [SUITE] [pytest arguments]
#   everyday (default)  lint, types and the fast tests, with requirements.txt alone
#   slow                the slow tests too; installs uroman
#   parity              live comparisons; installs torch, transformers, what fairseq and torchaudio
#                       need (W2V2_FAIRSEQ may name a checkout of fairseq)
#   deploy              runs what was exported; installs onnx and onnxruntime
#   decode              beam search with language models; installs flashlight-text, KenLM, optuna
#   aot                 compiles for TPUs and GPUs (many minutes); installs libtpu and JAX's plugin for CUDA
#   beam                preparation on Apache Beam's runner of this machine; installs apache-beam
#   docs                the pages as a site; installs mkdocs
#   fuzz                damaged files against every reader, W2V2_FUZZ_MINUTES (30) in all; installs
#                       hypothesis
#   hub                 released checkpoints, if the Hugging Face hub can be reached; installs torch,
#                       transformers, huggingface_hub, pyarrow
#   mutants             changes one decision after the other and asks whether the tests notice
#                       (two hours; options: python -m tests.helpers.mutants --help)
#   coverage            the everyday tests, and the share of the package's lines that they run
#   all                 everything this machine can run, but mutants
set -euo pipefail
# shellcheck source=launch/help.sh
source "$(dirname "$0")/help.sh" "${1:-}"
suite="${1:-everyday}"
[ $# -gt 0 ] && shift
optional="not parity and not deploy and not decode and not aot and not beam and not docs and not fuzz and not hub and not gpu and not network"
case "$suite" in
  everyday | coverage) marks="not slow and $optional" ;;
  slow) marks="$optional" ;;
  parity | deploy | decode | aot | beam | docs | fuzz | hub) marks="$suite" ;;
  all) marks="not gpu" ;;
  mutants) marks="" ;;
  *)
    echo "error: suite '$suite' is not known; use everyday, slow, parity, deploy, decode, aot," \
      "beam, docs, fuzz, hub, mutants, coverage or all" >&2
    exit 2
    ;;
esac
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
[ "$suite" != mutants ] || exec python -m tests.helpers.mutants "$@"

install() { # suite, packages...
  if [ "$suite" = "$1" ] || [ "$suite" = all ]; then
    shift
    python -m pip install --quiet --disable-pip-version-check "$@"
  fi
}

if [ "$suite" = parity ] || [ "$suite" = all ]; then
  # shellcheck source=launch/references.sh
  source launch/references.sh
  install_references
fi
install slow uroman==1.3.1.1
install deploy onnx==1.23.2 onnxruntime==1.32.0 onnx-ir==1.1.0
install decode flashlight-text==0.0.7 ufal.kenlm==26.4.1 optuna==5.0.0
install hub torch==2.13.0 transformers==5.23.0 huggingface_hub pyarrow
install fuzz hypothesis==6.170.17
install aot -c requirements.txt "jax[tpu]"
if [ "$suite" = aot ] || [ "$suite" = all ]; then
  jax_version="$(python -c 'import jax; print(jax.__version__)')"
  install "$suite" --no-deps "jax-cuda13-plugin==$jax_version" "jax-cuda13-pjrt==$jax_version"
fi
install docs mkdocs==1.6.1 mkdocs-material==9.8.2 "mkdocstrings[python]==1.0.8" mkdocstrings-python==2.0.11
install beam apache-beam==2.77.0
install coverage pytest-cov==7.1.0
if [ "$suite" = coverage ]; then
  set -- --cov --cov-report=term:skip-covered "$@"
fi
python -c 'import jax, platform, sys; print(f"Python {platform.python_version()}, jax {jax.__version__}: {sys.executable}")'
ruff check .
ruff format --check .
mypy
python -m pytest -n 2 --dist loadfile -m "$marks" "$@" # a file's tests share what they compile

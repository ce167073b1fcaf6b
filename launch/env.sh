# shellcheck shell=bash
# Sourced by the other scripts: makes .venv with the pinned requirements and puts it on PATH.
# W2V2_PYTHON chooses the interpreter (3.11 to 3.13, else 3.12 first); W2V2_JAX is cpu, cuda or tpu. W2V2_VENV=0
# makes and installs nothing: the python on PATH has all that is needed, as in a container's image.
set -euo pipefail
called_in="$PWD"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ "$called_in" -ef . ] || echo "note: relative paths start in $PWD" >&2

minor_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

find_python() { # Debian has ensurepip, without which no .venv is made, in a package of its own
  local candidate candidates=(python3.12 python3.11 python3.13 python3)
  [ -z "${W2V2_PYTHON:-}" ] || candidates=("$W2V2_PYTHON")
  for candidate in "${candidates[@]}"; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
      2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "error: Python 3.11, 3.12 or 3.13 with venv and ensurepip is needed, which ${candidates[*]} is" \
    "not; set W2V2_PYTHON to one" >&2
  return 2
}

check_python() { # an environment that is there has the Python that was asked for
  local asked there
  [ -n "${W2V2_PYTHON:-}" ] && [ -x .venv/bin/python ] || return 0
  asked="$(minor_version "$(find_python)")" || return 2
  there="$(minor_version .venv/bin/python)"
  if [ "$asked" != "$there" ]; then
    echo "error: .venv has Python $there, W2V2_PYTHON=$W2V2_PYTHON is $asked; remove .venv or unset" \
      "W2V2_PYTHON" >&2
    return 2
  fi
}

install_jax() { # in the version of requirements.txt
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -c requirements.txt "$1"
}

make_environment() {
  local python stamp wanted
  check_python || return 2
  wanted="$(cat requirements.txt setup.cfg) ${W2V2_JAX:-cpu}"
  stamp=.venv/installed
  if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    if ! .venv/bin/python -c 'import pip' 2>/dev/null; then # or one that was interrupted
      python="$(find_python)" || return 2
      "$python" -m venv .venv
    fi
    echo "installing into .venv with Python $(minor_version .venv/bin/python) (a few minutes, once)" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
    case "${W2V2_JAX:-cpu}" in
      cuda) install_jax "jax[cuda13]" ;;
      tpu) install_jax "jax[tpu]" ;;
    esac
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
    printf '%s' "$wanted" >"$stamp"
  fi
  export PATH="$PWD/.venv/bin:$PATH"
}

# A machine with an NVIDIA GPU gets JAX's CUDA wheels unless W2V2_JAX says otherwise.
if [ -z "${W2V2_JAX:-}" ] && command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then
  W2V2_JAX=cuda
fi
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
# Huge pages for large arrays: XLA:CPU asks for its memory anew at every call, and the kernel
# otherwise hands it out in pages of 4 KiB (docs/results/speed.md).
export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}"
if [ "${W2V2_VENV:-1}" != 0 ]; then
  make_environment
elif ! python -c 'import jax, w2v2_jax' 2>/dev/null; then
  echo "error: W2V2_VENV=0, but PATH's python ($(command -v python || echo none)) does not import" \
    "jax and w2v2_jax; use another, or unset W2V2_VENV" >&2
  exit 2
fi

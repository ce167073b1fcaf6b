#!/usr/bin/env bash
# From nothing to transcripts on real speech: installs, gets two hours of speech, pretrains,
# fine-tunes from scratch and from the pretrained encoder, evaluates both, prints one table.
#   bash launch/quickstart.sh [--source folder:DIR] [--seed N] [--out DIR]
# --source: your own recordings instead of the sample speech: a folder whose transcripts.tsv has
# lines "relative/path<TAB>text<TAB>split" with splits train, dev, test and unlabeled.
# A second run continues where the first one stopped.
set -euo pipefail
started=$SECONDS
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
source_spec="" seed=1 out=""
while [ $# -gt 0 ]; do
  case "$1" in
    --source) source_spec="$2" ;;
    --seed) seed="$2" ;;
    --out) out="$2" ;;
    *)
      echo "error: '$1' is not an option; use --source folder:DIR, --seed N, --out DIR" >&2
      exit 2
      ;;
  esac
  shift 2
done
data=data/quickstart
# Both fine-tunings run the same programs: the second takes them from here.
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/xla}"
out="${out:-runs/quickstart/seed$seed}"

say() { printf '\n[%d:%02d] %s\n' $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60)) "$*"; }

size=""
if python -c 'import jax, sys; sys.exit(jax.default_backend() != "gpu")' 2>/dev/null; then
  size=",gpu"
fi

if [ -z "$source_spec" ]; then
  say "real speech: Asterisk's core prompts in five languages"
  python -m w2v2_jax.sample_speech --out "$data/speech"
  source_spec="folder:$data/speech/audio"
fi
if [ ! -f "$data/corpus/source" ] || [ "$(cat "$data/corpus/source")" != "$source_spec" ]; then
  say "prepare: 16 kHz records, index, report of rejects"
  python -m w2v2_jax.prepare --source "$source_spec" --out "$data/corpus" --overwrite
  printf '%s' "$source_spec" >"$data/corpus/source"
fi

train() { # name, recipe, further options
  local name="$1" recipe="$2"
  shift 2
  say "train $name"
  python -m w2v2_jax.train --config "experiments/quickstart.py:$recipe$size" \
    --workdir "$out/$name" --config.seed="$seed" "$@"
}

train pretrain pretrain
train scratch finetune
train finetuned finetune --config.init_from="$out/pretrain"

for name in scratch finetuned; do
  say "evaluate $name on the held-out test set"
  python -m w2v2_jax.evaluate --checkpoint "$out/$name" --data "$data/corpus:test" \
    --json "$out/$name.json"
done
python -m w2v2_jax.report.codebook --checkpoint "$out/pretrain" --data "$data/corpus:test" \
  --out "$out/units.npz"
say "results"
python -m w2v2_jax.report --pretrain "$out/pretrain" --scratch "$out/scratch" \
  --finetuned "$out/finetuned" --scratch-eval "$out/scratch.json" \
  --finetuned-eval "$out/finetuned.json" --data "$data/corpus" --units "$out/units.npz" \
  --out "$out"
echo
echo "transcribe your own audio: .venv/bin/w2v2 transcribe --checkpoint $out/finetuned FILE.wav"
say "done"

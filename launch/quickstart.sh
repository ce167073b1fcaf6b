#!/usr/bin/env bash
# From nothing to transcripts on real speech: installs, gets two hours of speech, pretrains,
# fine-tunes from scratch and from the pretrained encoder, evaluates both without and with a
# language model of the training transcripts, prints one table.
#   bash launch/quickstart.sh [--source folder:DIR [--text RULES]] [--seed N] [--out DIR]
# --source: your own recordings and transcripts instead of the sample speech: a folder with
# transcripts.tsv, lines "relative/path<TAB>text[<TAB>split]". Of the transcribed clips that it puts
# into no split, a tenth each is held out as dev and test.
# --text: what makes words of their transcripts (english; unicode:LANGUAGE, none or FILE.json, with
# the characters of the transcripts as symbols: docs/texts.md).
# A second run continues where the first one stopped.
set -euo pipefail
# shellcheck source=launch/help.sh
source "$(dirname "$0")/help.sh" "$@"
# shellcheck source=launch/corpus.sh
source "$(dirname "$0")/corpus.sh"
started=$SECONDS
source_spec="" text=english seed=1 out=""
while [ $# -gt 0 ]; do # before anything is installed
  case "$(option "$@")" in
    "--source VALUE") source_spec="$2" ;;
    "--text VALUE") text="$2" ;;
    "--seed VALUE") seed="$2" ;;
    "--out VALUE") out="$2" ;;
    --source | --text | --seed | --out)
      echo "error: $1 needs a value" >&2
      exit 2
      ;;
    *)
      echo "error: '$1' is not an option; use --source folder:DIR, --text RULES, --seed N, --out DIR" >&2
      exit 2
      ;;
  esac
  shift 2
done
if ! [[ "$seed" =~ ^(0|[1-9][0-9]{0,8})$ ]]; then
  echo "error: --seed '$seed' is not a whole number, of at most 9 digits" >&2
  exit 2
fi
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
data=data/quickstart
options=() symbols=()
# Both fine-tunings run the same programs: the second takes them from here.
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/xla}"
out="${out:-runs/quickstart/seed$seed}"

say() { printf '\n[%d:%02d] %s\n' $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60)) "$*"; }

size=""
if python -c 'import jax, sys; sys.exit(jax.default_backend() != "gpu")' 2>/dev/null; then
  size=",gpu"
fi

if [ -n "$source_spec" ]; then
  prepared="$source_spec $text"
  options=(--holdout dev=0.1 --holdout test=0.1 --text "$text")
  [ "$text" = english ] || symbols=(--config.vocabulary.name=from_transcripts --config.vocabulary.case=keep)
else
  say "real speech: Asterisk's core prompts in five languages"
  python -m w2v2_jax.sample_speech --out "$data/speech"
  source_spec="folder:$data/speech/audio"
  prepared="$source_spec"
fi
prepare_alone "$data/corpus" "$prepared" --source "$source_spec" ${options[@]+"${options[@]}"}

train() { # name, recipe, further options
  local name="$1" recipe="$2"
  shift 2
  say "train $name"
  python -m w2v2_jax.train --config "experiments/quickstart.py:$recipe$size" \
    --workdir "$out/$name" --config.seed="$seed" "$@"
}

for name in train dev test; do
  if [ ! -f "$data/corpus/$name/corpus.json" ]; then
    echo "error: $source_spec gave no split $name; name it in the third column of transcripts.tsv" >&2
    exit 2
  fi
done
# Every split but those that are tested on: train and, where there is one, unlabeled.
spoken="$(cd "$data/corpus" && printf '%s\n' */corpus.json | sed 's|/corpus.json||' |
  grep -vxE 'dev|test' | paste -sd+ -)"
train pretrain pretrain --config.data.train="$data/corpus:$spoken" \
  --config.data.valid="$data/corpus:dev+test"
train scratch finetune ${symbols[@]+"${symbols[@]}"}
train finetuned finetune --config.init_from="$out/pretrain" ${symbols[@]+"${symbols[@]}"}

say "a language model of the training transcripts"
python -m w2v2_jax.lm --text "$data/corpus:train" --vocabulary "$out/finetuned" --order 3 \
  --discount-fallback --out "$out/train.arpa" --lexicon "$out/lexicon.txt"
for name in scratch finetuned; do
  say "evaluate $name on the held-out test set, without and with it" # weights: tuned on dev
  python -m w2v2_jax.evaluate --checkpoint "$out/$name" --data "$data/corpus:test" \
    --json "$out/$name.json"
  python -m w2v2_jax.evaluate --checkpoint "$out/$name" --data "$data/corpus:test" \
    --json "$out/$name.lm.json" --lm "$out/train.arpa" --lexicon "$out/lexicon.txt" \
    --lm-weight 3 --word-score 2.3 --log-add --beam 500 --beam-threshold 100
done
python -m w2v2_jax.report.codebook --checkpoint "$out/pretrain" --data "$data/corpus:test" \
  --out "$out/units.npz"
say "results"
python -m w2v2_jax.report --pretrain "$out/pretrain" --scratch "$out/scratch" \
  --finetuned "$out/finetuned" --scratch-eval "$out/scratch.json" \
  --finetuned-eval "$out/finetuned.json" \
  --lm-evals "$out/scratch.lm.json" "$out/finetuned.lm.json" --data "$data/corpus" \
  --units "$out/units.npz" --out "$out"
echo
echo "transcribe your own audio: .venv/bin/w2v2 transcribe --checkpoint $out/finetuned FILE.wav"
say "done"

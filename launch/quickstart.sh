#!/usr/bin/env bash
# From nothing to transcripts on real speech: installs, gets two hours of speech, pretrains,
# fine-tunes from scratch and from the pretrained encoder, evaluates both without and with a
# language model of the training transcripts, prints one table.
#   bash launch/quickstart.sh [--minutes 60] [--source folder:DIR [--text RULES]] [--seed N] [--out DIR]
# --minutes: 20 (default) or 60, of two cores: 60 takes longer trainings, the transcripts of all five
# languages and, from scratch, the recipe made for that.
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
source_spec="" text=english seed=1 out="" minutes=20
while [ $# -gt 0 ]; do # before anything is installed
  case "$(option "$@")" in
    "--source VALUE") source_spec="$2" ;;
    "--text VALUE") text="$2" ;;
    "--seed VALUE") seed="$2" ;;
    "--out VALUE") out="$2" ;;
    "--minutes VALUE") minutes="$2" ;;
    --source | --text | --seed | --out | --minutes)
      echo "error: $1 needs a value" >&2
      exit 2
      ;;
    *)
      echo "error: '$1' is not an option; use --source folder:DIR, --text RULES, --seed N," \
        "--out DIR, --minutes 60" >&2
      exit 2
      ;;
  esac
  shift 2
done
if ! [[ "$seed" =~ ^(0|[1-9][0-9]{0,8})$ ]]; then
  echo "error: --seed '$seed' is not a whole number, of at most 9 digits" >&2
  exit 2
fi
if [ "$minutes" != 20 ] && [ "$minutes" != 60 ]; then
  echo "error: --minutes '$minutes' is neither 20 nor 60" >&2
  exit 2
fi
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
data=data/quickstart speech=data/quickstart/speech
options=() symbols=() texts=() scratch=finetune
from_transcripts=(--config.vocabulary.name=from_transcripts --config.vocabulary.case=keep)
# Both fine-tunings run the same programs: the second takes them from here.
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/xla}"

say() { printf '\n[%d:%02d] %s\n' $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60)) "$*"; }

size=""
if python -c 'import jax, sys; sys.exit(jax.default_backend() != "gpu")' 2>/dev/null; then
  size=",gpu"
fi
precision=() corpus="$data/corpus" usual=runs/quickstart/seed$seed lm_weights=(--lm-weight 3 --word-score 2.3)
if [ "$minutes" = 60 ]; then
  if [ -z "$size" ] && ! grep -Eqs 'avx512_bf16|amx_bf16' /proc/cpuinfo; then
    precision=(--config.execution.dtype=float32) # where bfloat16 has no units it is the slower
  fi
  size=",hour" scratch=scratch usual=runs/quickstart/hour$seed lm_weights=(--lm-weight 3 --word-score 1)
  if [ -z "$source_spec" ]; then # with other splits: beside those of the 20 minutes
    corpus="$data/corpus-all" speech="$data/speech-all" texts=(--texts all)
    symbols=("${from_transcripts[@]}")
  fi
fi
out="${out:-$usual}"

if [ -n "$source_spec" ]; then
  prepared="$source_spec $text"
  options=(--holdout dev=0.1 --holdout test=0.1 --text "$text")
  [ "$text" = english ] || symbols=("${from_transcripts[@]}")
else
  say "real speech: Asterisk's core prompts in five languages"
  python -m w2v2_jax.sample_speech --out "$speech" ${texts[@]+"${texts[@]}"}
  source_spec="folder:$speech/audio"
  prepared="$source_spec"
fi
prepare_alone "$corpus" "$prepared" --source "$source_spec" ${options[@]+"${options[@]}"}

train() { # name, recipe, further options
  local name="$1" recipe="$2"
  shift 2
  say "train $name"
  python -m w2v2_jax.train --config "experiments/quickstart.py:$recipe$size" \
    --workdir "$out/$name" --config.seed="$seed" \
    --config.data.train="$corpus:train" --config.data.valid="$corpus:dev" \
    ${precision[@]+"${precision[@]}"} "$@"
}

for name in train dev test; do
  if [ ! -f "$corpus/$name/corpus.json" ]; then
    echo "error: $source_spec gave no split $name; name it in the third column of transcripts.tsv" >&2
    prepare_again "$corpus"
    exit 2
  fi
done
# Every split but those that are tested on: train and, where there is one, unlabeled.
spoken="$(cd "$corpus" && printf '%s\n' */corpus.json | sed 's|/corpus.json||' |
  grep -vxE 'dev|test' | paste -sd+ -)"
train pretrain pretrain --config.data.train="$corpus:$spoken" \
  --config.data.valid="$corpus:dev+test"
train scratch "$scratch" ${symbols[@]+"${symbols[@]}"}
train finetuned finetune --config.init_from="$out/pretrain" ${symbols[@]+"${symbols[@]}"}

say "a language model of the training transcripts"
python -m w2v2_jax.lm --text "$corpus:train" --vocabulary "$out/finetuned" --order 3 \
  --discount-fallback --out "$out/train.arpa" --lexicon "$out/lexicon.txt"
for name in scratch finetuned; do
  say "evaluate $name on the held-out test set, without and with it" # weights: tuned on dev
  python -m w2v2_jax.evaluate --checkpoint "$out/$name" --data "$corpus:test" \
    --json "$out/$name.json"
  python -m w2v2_jax.evaluate --checkpoint "$out/$name" --data "$corpus:test" \
    --json "$out/$name.lm.json" --lm "$out/train.arpa" --lexicon "$out/lexicon.txt" \
    "${lm_weights[@]}" --log-add --beam 500 --beam-threshold 100
done
units=()
if [ "$size" != ,hour ]; then # its targets are continuous: no codebook
  units=(--units "$out/units.npz")
  python -m w2v2_jax.report.codebook --checkpoint "$out/pretrain" --data "$corpus:test" \
    --out "$out/units.npz"
fi
say "results"
python -m w2v2_jax.report --pretrain "$out/pretrain" --scratch "$out/scratch" \
  --finetuned "$out/finetuned" --scratch-eval "$out/scratch.json" \
  --finetuned-eval "$out/finetuned.json" \
  --lm-evals "$out/scratch.lm.json" "$out/finetuned.lm.json" --data "$corpus" \
  ${units[@]+"${units[@]}"} --out "$out"
echo
echo "transcribe your own audio: .venv/bin/w2v2 transcribe --checkpoint $out/finetuned FILE.wav"
say "done"

#!/usr/bin/env bash
# Writes the pronunciations of the words of a text, as the program espeak-ng says them: a lexicon for
# --config.vocabulary.name=pronunciations:FILE. A line is word<TAB>p h o n e m e s.
#   bash launch/lexicon.sh LANGUAGE <TEXT >LEXICON    (LANGUAGE as in `espeak-ng --voices`: en-us, cs)
# Stress is left out. Of en-us, reduced vowels and vowels with an r are written by the others, which
# leaves 40 phonemes. Words that espeak-ng does not say are left out and counted on stderr.
set -euo pipefail
# shellcheck source=launch/help.sh
source "$(dirname "$0")/help.sh" "$@"
if [ $# -ne 1 ]; then
  echo "error: lexicon.sh takes a language, such as en-us, and the text on its standard input" >&2
  exit 2
fi
if ! command -v espeak-ng >/dev/null; then
  echo "error: the program espeak-ng is not installed; \`apt-get install espeak-ng\` installs it" >&2
  exit 2
fi
if ! told="$(espeak-ng -q -x -v "$1" a 2>&1 </dev/null)"; then
  echo "error: espeak-ng has no voice '$1' (${told%%$'\n'*}); \`espeak-ng --voices\` lists them" >&2
  exit 2
fi
merged="" # a phoneme and what is written for it, with + for a space
[ "$1" != en-us ] || merged="I2=I I#=I i=i: a#=@ a#:=@ @2=@ @L=@+l t#=t t2=t ?=t 0=A: a:=A: aa=a O2=O:
  3:=3 A@=A:+r O@=O:+r o@=O:+r E@=E+r e@=E+r i@=i:+r i@3=i:+3 U@=U+r aI3=aI+3 aI@=aI+@"
LC_ALL=C.UTF-8 # in which ${,,} knows the letters of all languages, and tr only those of English
capital=É
if [ "${capital,,}" = "$capital" ]; then
  echo "error: the locale C.UTF-8 is not installed, without which capitals are spelled out" >&2
  exit 2
fi
tr -s '[:space:]' '\n' | sed '1s/^\xef\xbb\xbf//; /^$/d; /^</d' | LC_ALL=C sort -u | while IFS= read -r word; do
  lower="$word" # it spells IT out
  case "$1" in tr* | az*) lower="${lower//I/ı}" ;; esac
  said="$(printf '%s\n' "${lower,,}" | espeak-ng -q -x --sep=' ' -v "$1" --stdin)"
  printf '%s\t%s\n' "$word" "${said//$'\n'/ }"
done |
  awk -F'\t' -v merged="$merged" '
    BEGIN {
      for (i = split(merged, pairs, " "); i > 0; i--) {
        place = index(pairs[i], "=")
        other[substr(pairs[i], 1, place - 1)] = substr(pairs[i], place + 1)
      }
    }
    {
      said = ""
      gsub(/\([a-z-]*\)|_:*|[\047,;|!=%-]/, "", $2) # a switch of language, stress, pauses
      for (i = split($2, phonemes, " "); i > 0; i--) {
        phoneme = phonemes[i]
        if (phoneme in other) phoneme = other[phoneme]
        gsub(/\+/, " ", phoneme)
        said = phoneme (said == "" ? "" : " " said)
      }
      if (said == "") {
        silent++
        next
      }
      print $1 "\t" said
    }
    END { if (silent) print silent " without a pronunciation left out" > "/dev/stderr" }'

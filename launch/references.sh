# shellcheck shell=bash
# Sourced by test.sh: installs the references of the parity suite, all from PyPI. fairseq (its
# published code, unbuilt) and torchaudio (only its files, as the package does not load with this
# torch) are unpacked into .venv/references. Missing references are named and their tests skipped.
pip_quietly() {
  python -m pip "$@" --quiet --disable-pip-version-check
}

install_references() {
  local folder="$PWD/.venv/references"
  pip_quietly install torch==2.13.0 transformers==5.23.0 peft==0.21.2 sentencepiece==0.2.3
  if [ -z "${W2V2_FAIRSEQ:-}" ]; then
    if [ ! -d "$folder/fairseq-0.12.2" ]; then
      # Newer pip refuses the version ranges that omegaconf states; hydra-core stays out of the
      # environment because its plugin stops pytest.
      pip_quietly install "pip<24.1" &&
        pip_quietly install scikit-learn regex sacrebleu bitarray pyyaml cython &&
        pip_quietly install --no-deps --target "$folder/needs" \
          omegaconf==2.0.6 hydra-core==1.0.7 antlr4-python3-runtime==4.8 &&
        pip_quietly download --no-deps --no-binary fairseq --dest "$folder" fairseq==0.12.2 &&
        tar -xzf "$folder/fairseq-0.12.2.tar.gz" -C "$folder" ||
        echo "note: fairseq could not be had; its live tests are skipped" >&2
    fi
    export W2V2_FAIRSEQ="$folder/fairseq-0.12.2:$folder/needs"
  fi
  if [ -z "${W2V2_TORCHAUDIO:-}" ]; then
    [ -d "$folder/torchaudio" ] ||
      pip_quietly install --no-deps --target "$folder/torchaudio" torchaudio==2.11.0 ||
      echo "note: torchaudio could not be had; its live tests are skipped" >&2
    export W2V2_TORCHAUDIO="$folder/torchaudio"
  fi
}

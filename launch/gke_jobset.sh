#!/usr/bin/env bash
# Fills launch/gke_jobset.yaml and applies it.
#   bash launch/gke_jobset.sh --name N --image I --accelerator tpu-v5p-slice --topology 4x4x4
#     --config experiments/X.py --workdir gs://bucket/runs/x [--slices N] [--chips 4]
#     [--data gs://bucket/corpus [--data-to DIR]] [--retries N] [--dry-run] [options of w2v2 train]
# --image: an image with the project in /w2v2_jax and its requirements plus jax[tpu].
# --topology: chips of a slice, from which the hosts follow (--chips a host).
# Idempotent: applying the same set again changes nothing. Resume: delete the set and run this again.
# Watch: kubectl get jobset N; kubectl logs -f -l jobset.sigs.k8s.io/jobset-name=N,\
#   batch.kubernetes.io/job-completion-index=0; tensorboard --logdir gs://bucket/runs/x
set -euo pipefail
# shellcheck source=launch/help.sh
source "$(dirname "$0")/help.sh" "$@"
name="" image="" accelerator="" topology="" config="" workdir="" data="" data_to="" slices=1
chips=4 retries=100 more=()
while [ $# -gt 0 ]; do
  case "$1" in
    --name) name="${2-}" ;;
    --image) image="${2-}" ;;
    --accelerator) accelerator="${2-}" ;;
    --topology) topology="${2-}" ;;
    --config) config="${2-}" ;;
    --workdir) workdir="${2-}" ;;
    --data) data="${2-}" ;;
    --data-to) data_to="${2-}" ;;
    --slices) slices="${2-}" ;;
    --chips) chips="${2-}" ;;
    --retries) retries="${2-}" ;;
    --dry-run) dry_run=1 && set -- "" "$@" ;;
    *) more+=("$1") && set -- "" "$@" ;;
  esac
  shift 2 || { echo "error: '$1' needs a value" >&2 && exit 2; }
done
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=launch/show.sh
source "$here/show.sh"
for option in name image accelerator topology config workdir; do
  [ -n "${!option}" ] || fail "give --$option (see the head of $0)"
done
case "$topology" in
  *[!0-9x]* | x* | *x | *xx*) fail "--topology $topology: use sizes like 4x4 or 2x2x4" ;;
esac
case "$workdir" in
  gs://*) ;;
  *) fail "--workdir $workdir: the pods share no disk; use gs://..." ;;
esac
total=$((${topology//x/*}))
[ "$total" -ge "$chips" ] || chips="$total"
[ $((total % chips)) = 0 ] || fail "--chips $chips a host does not divide --topology $topology"

quoted() { printf '%q ' "$@"; }

command=""
[ -z "$data" ] || command="python -m w2v2_jax.stage $(
  quoted --from "$data" --to "${data_to:-data/$(basename "$data")}"
)&& "
command+="exec python -m w2v2_jax.train $(
  quoted --config "$config" --workdir "$workdir" --coordinator auto --stopped-status 75 \
    "${more[@]}"
)"
json="${command//\\/\\\\}"
json="\"${json//\"/\\\"}\""

manifest="$(<"$here/gke_jobset.yaml")"
fill() { manifest="${manifest//"@$1@"/"$2"}"; }
fill NAME "$name"
fill RETRIES "$retries"
fill SLICES "$slices"
fill HOSTS "$((total / chips))"
fill ACCELERATOR "$accelerator"
fill TOPOLOGY "$topology"
fill IMAGE "$image"
fill CHIPS "$chips"
fill COMMAND "$json"
printf '%s\n' "$manifest"
run kubectl apply -f - <<<"$manifest"

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
to_project "$(dirname "$0")/.."
# shellcheck source=launch/show.sh
source launch/show.sh
# shellcheck source=launch/arguments.sh
source launch/arguments.sh
name="" image="" accelerator="" topology="" config="" workdir="" data="" data_to="" slices=1
chips=4 retries=100
read_options "name image accelerator topology config workdir data data-to slices chips retries" \
  "dry-run" "$@"
need name image accelerator topology config workdir
check_name "$name" 40 # the names of pods have more behind it, 63 in all
[[ "$config" == /* ]] || recipe_here # a whole path is the image's own
check_number slices "$slices" 1
check_number chips "$chips" 1
check_number retries "$retries" 0
[[ "$topology" =~ ^[1-9][0-9]{0,2}(x[1-9][0-9]{0,2}){1,2}$ ]] ||
  fail "--topology $topology: use sizes like 4x4 or 2x2x4"
sizes="${topology//[!x]/}"
case "$accelerator" in
  tpu-v4-* | tpu-v5p-*) [ "$sizes" = xx ] || fail "--topology $topology: $accelerator has three sizes, as 2x2x4" ;;
  tpu-v5-lite-* | tpu-v6e-*) [ "$sizes" = x ] || fail "--topology $topology: $accelerator has two sizes, as 4x4" ;;
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

manifest="$(<launch/gke_jobset.yaml)"
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

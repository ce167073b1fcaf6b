#!/usr/bin/env bash
# A TPU pod slice of Google Cloud: asks for it (queued resource), installs, stages the data, trains
# on all of its hosts, and starts again whenever the slice is preempted or a host dies.
#   bash launch/tpu_pod.sh --name N --zone Z --type v5p-32 --config experiments/X.py \
#     --workdir gs://bucket/runs/x [--data gs://bucket/corpus [--data-to DIR]] [--spot]
#     [--runtime V] [--retries N] [--keep] [--dry-run] [further options of w2v2 train]
# Idempotent: a slice that is there is used. The hosts get the code as it is here: what was deleted
# here since the last copy is removed there, and nothing else. Data is copied only where it differs.
# Resume: run the same line again. The slice is deleted after the last step unless --keep.
# Watch: tensorboard --logdir gs://bucket/runs/x
#   gcloud compute tpus queued-resources describe N --zone Z
set -euo pipefail
# shellcheck source=launch/help.sh
source "$(dirname "$0")/help.sh" "$@"
to_project "$(dirname "$0")/.."
# shellcheck source=launch/show.sh
source launch/show.sh
# shellcheck source=launch/arguments.sh
source launch/arguments.sh
name="" zone="" type="" config="" workdir="" data="" data_to="" spot="" runtime="" retries=100 keep=0
read_options "name zone type config workdir data data-to runtime retries" "spot keep dry-run" "$@"
need name zone type config workdir
check_name "$name" 63
recipe_here
check_number retries "$retries" 0
case "$workdir" in
  gs://*) ;;
  *) fail "--workdir $workdir: the hosts share no disk; use gs://..." ;;
esac
if [ -z "$runtime" ] && ! [[ "$type" =~ ^[a-z0-9]+-[1-9][0-9]*$ ]]; then
  fail "--type $type: use CHIP-CORES, such as v5p-32"
fi
case "${runtime:-$type}" in
  v5litepod-*) runtime=v2-alpha-tpuv5-lite ;;
  v5p-*) runtime=v2-alpha-tpuv5 ;;
  v6e-*) runtime=v2-alpha-tpuv6e ;;
  v4-*) runtime=tpu-ubuntu2204-base ;;
  *) [ -n "$runtime" ] || fail "--type $type is not known; give its --runtime" ;;
esac
queued=(gcloud compute tpus queued-resources)
wait_seconds="${W2V2_WAIT_SECONDS:-60}"

state() { # NONE, ACTIVE, WAITING_FOR_RESOURCES, PROVISIONING, SUSPENDED, FAILED, ...
  [ "$dry_run" = 0 ] || { echo "${dry_state:-NONE}" && return; }
  "${queued[@]}" describe "$name" --zone="$zone" --format='value(state.state)' 2>/dev/null ||
    echo NONE
}

remove() { run "${queued[@]}" delete "$name" --zone="$zone" --force --quiet; }

acquire() { # a slice that is ACTIVE; one that was preempted is replaced
  local now refused=0
  while now="$(state)" && [ "$now" != ACTIVE ]; do
    case "$now" in
      FAILED | SUSPENDED) remove || true ;;
      NONE)
        run "${queued[@]}" create "$name" --node-id="$name" --zone="$zone" \
          --accelerator-type="$type" --runtime-version="$runtime" ${spot:+--spot} ||
          refused=$((refused + 1))
        # A wrong zone or no permission does not get better; a network may, once it had worked.
        [ "$refused" -lt 3 ] || [ "$attempt" -gt 0 ] || fail "gcloud does not create $name (see above)"
        dry_state=ACTIVE
        ;;
      *) echo "$name is $now" >&2 ;;
    esac
    [ "$dry_run" = 1 ] || sleep "$wait_seconds"
  done
}

everywhere() { # a command line on every host of the slice
  run gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$1"
}

quoted() { printf '%q ' "$@"; }

# On a host: what the archive before this one had and this one lacks is removed, so that no deleted
# module is imported. Nothing else is touched: the archive before is the record of what was copied.
# shellcheck disable=SC2016
unpack='LC_ALL=C tar -tzf w2v2_jax.new.tgz >w2v2_jax.new &&
{ LC_ALL=C tar -tzf w2v2_jax.tgz 2>/dev/null || true; } >w2v2_jax.old && mkdir -p w2v2_jax &&
LC_ALL=C grep -vxFf w2v2_jax.new w2v2_jax.old | LC_ALL=C sort -r | while IFS= read -r path; do
  path="w2v2_jax/$(printf %b "$path")"
  case "$path" in
    */) [ -L "${path%/}" ] || rmdir "$path" 2>/dev/null || true ;;
    *) { [ -d "$path" ] && [ ! -L "$path" ]; } || rm -f "$path" || exit 1 ;;
  esac
done &&
mv w2v2_jax.new.tgz w2v2_jax.tgz && tar -xzf w2v2_jax.tgz -C w2v2_jax'

install() {
  run tar --exclude=./.venv --exclude=./.git --exclude=./data --exclude=./runs \
    -czf "$archive" . &&
    run gcloud compute tpus tpu-vm scp "$archive" "$name":w2v2_jax.new.tgz --zone="$zone" \
      --worker=all &&
    everywhere "$unpack && cd w2v2_jax && \
pip3 install --user --quiet uv && ~/.local/bin/uv python install --quiet 3.12 && \
W2V2_PYTHON=\$(~/.local/bin/uv python find 3.12) W2V2_JAX=tpu bash -c 'source launch/env.sh'"
}

python="cd w2v2_jax && exec .venv/bin/python -m"
stage() {
  [ -z "$data" ] || everywhere "$python w2v2_jax.stage $(
    quoted --from "$data" --to "${data_to:-data/$(basename "$data")}"
  )"
}

train() {
  everywhere "$python w2v2_jax.train $(
    quoted --config "$config" --workdir "$workdir" --coordinator auto --stopped-status 75 \
      "${more[@]}"
  )"
}

archive="${TMPDIR:-/tmp}/w2v2_jax-$name.tgz"
for ((attempt = 0, quick = 0; ; attempt++)); do
  acquire
  began=$SECONDS
  status=0
  { install && stage && train; } || status=$?
  if [ "$status" = 0 ]; then
    [ "$keep" = 1 ] || remove
    exit 0
  fi
  # Bad input (2) does not get better by trying again, nor what fails at once on a living slice.
  [ $((SECONDS - began)) -ge 300 ] && quick=0
  [ "$(state)" != ACTIVE ] || quick=$((quick + 1))
  [ "$status" != 2 ] && [ "$quick" -lt 3 ] && [ "$attempt" -lt "$retries" ] || exit "$status"
  echo "ended with status $status; trying again ($((attempt + 1)) of $retries)" >&2
  sleep "$wait_seconds"
done

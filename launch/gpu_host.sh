#!/usr/bin/env bash
# One host with 1 to 8 GPUs: stages the data, trains, and starts again after a crash.
#   bash launch/gpu_host.sh --config experiments/X.py --workdir DIR [--data FROM [--data-to DIR]]
#        [--retries N] [--dry-run] [further options of w2v2 train, e.g. --config.train.steps=5]
# --data: a prepared corpus (folder, gs://..., s3://...) to copy to --data-to on this host's own
#   disk first (default data/<its name>, which is how the recipes name it).
# Resume: run the same line again. SIGTERM saves a checkpoint and ends with status 0.
# Watch: tensorboard --logdir DIR, or tail -f DIR/metrics.jsonl
set -euo pipefail
# shellcheck source=launch/help.sh
source "$(dirname "$0")/help.sh" "$@"
to_project "$(dirname "$0")/.."
# shellcheck source=launch/show.sh
source launch/show.sh
# shellcheck source=launch/arguments.sh
source launch/arguments.sh
config="" workdir="" data="" data_to="" retries=3
read_options "config workdir data data-to retries" "dry-run" "$@"
[ -n "$config" ] && [ -n "$workdir" ] || fail "give --config experiments/X.py and --workdir DIR"
check_recipe "$config"
check_number retries "$retries" 0
if [ "$dry_run" = 0 ]; then
  # shellcheck source=launch/env.sh
  source launch/env.sh
fi

[ -z "$data" ] ||
  run python -m w2v2_jax.stage --from "$data" --to "${data_to:-data/$(basename "$data")}"
# Status 2 is bad input, 130 the keyboard: neither gets better by trying again.
for ((attempt = 0; ; attempt++)); do
  status=0
  run python -m w2v2_jax.train --config "$config" --workdir "$workdir" "${more[@]}" || status=$?
  case "$status" in
    0 | 2 | 130) exit "$status" ;;
  esac
  [ "$attempt" -lt "$retries" ] || exit "$status"
  echo "training ended with status $status; resuming ($((attempt + 1)) of $retries)" >&2
done

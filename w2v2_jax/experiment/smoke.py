"""The same recipe at toy size: what `:smoke` makes of an experiment's configuration."""

from __future__ import annotations

from w2v2_jax.objectives.table import OBJECTIVES

TINY_MODEL = dict(
    conv_layers=((32, 10, 5), *(((32, 3, 2),) * 4), *(((32, 2, 2),) * 2)),
    d_model=32,
    num_layers=2,
    num_heads=4,
    ffn_dim=64,
    position_kernel=16,
    position_groups=4,
    code_dim=32,
    final_dim=16,
)
STEPS = 4
TINY_FILTERBANK = ((32, 480, 160), (32, 2, 2))


def shrink(config, *, steps: int | None = None):
    """Keeps every choice of a recipe (norms, rates, objective, schedule) and cuts its sizes.

    steps: the number of updates that the recipe's argument asks for, if it does.
    """
    steps = steps or STEPS
    config.model.update(TINY_MODEL)
    if config.model.get("filterbank_init"):
        config.model.conv_layers = TINY_FILTERBANK
    if config.model.get("channel_mask_length", 0) >= config.model.d_model:
        config.model.channel_mask_length = config.model.d_model // 4
    config.execution = {}
    if config.model.family == "inherit":
        config.model.family = "small"
    config.init_from = ""
    if config.objective.name in OBJECTIVES:
        config.objective.update(OBJECTIVES[config.objective.name].required_settings(2.0))
    if "freeze_updates" in config.objective:
        config.objective.freeze_updates = min(config.objective.freeze_updates, 1)
    if "top_layers" in config.objective:
        config.objective.top_layers = min(config.objective.top_layers, config.model.num_layers)
    if "warmup" in config.schedule and config.schedule.warmup > 1:
        config.schedule.warmup = min(2, steps)
    config.data.update(
        bucket_seconds=(1.0, 2.0),
        batch_seconds=8.0,
        row_multiple=2,
        valid_bucket_seconds=(),
        valid_batch_seconds=0.0,
        min_seconds=0.0,
    )
    half = max(1, steps // 2)
    config.train.update(
        steps=steps,
        accumulate=1,
        log_every=1,
        eval_every=half,
        checkpoint_every=half,
        keep_last=2,
    )
    return config

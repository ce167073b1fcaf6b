"""Whether the network of a run computes what that of its start did."""

from __future__ import annotations

from collections.abc import Collection

from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.settings import ExperimentSettings
from w2v2_jax.models.config import UNSEEN, ModelConfig
from w2v2_jax.system import hosts

TARGETS = "target_projection"  # a part that only pretraining has
SIZES = ("d_model", "num_layers", "ffn_dim")
SMOKE = "recipes with ,smoke have a toy network, which trains from scratch: leave out ,smoke"


def check_start(model: ModelConfig, parts: Collection[str], source: Loaded, *, where: str) -> None:
    """`check_network` and `check_targets` of a run with these parts of the parameter tree."""
    check_network(model, source.description.model, where=where)
    check_targets(model, parts, source, where=where)


def check_network(model: ModelConfig, start: ModelConfig, *, where: str) -> None:
    """Raises InputError if the weights of `start` fit `model`, but it computes another thing with
    them: other strides, heads or order of the norms, another scale of LoRA's updates, a quantizer
    at the input that only one has. Of another size, the sizes are named: its heads would not help.

    Fine-tuning keeps the input's quantizer, as fairseq does, so the recipe must have it."""
    sizes = [name for name in SIZES if getattr(model, name) != getattr(start, name)]
    if sizes:
        ours, theirs = (
            ", ".join(f"{name}={getattr(one, name)}" for name in sizes) for one in (model, start)
        )
        raise InputError(
            f"config.model has {ours}, but {where} has {theirs}; take its network "
            f"(config.model.family=inherit) or set these; {SMOKE}"
        )
    alike = all(getattr(model, x) == getattr(start, x) for x in ("conv_dim", "quantize_input"))
    if alike and model.projects_features != start.projects_features:
        has = start.projects_features
        raise InputError(
            f"config.model.always_project_features={not has}, but {where} "
            f"{'has' if has else 'lacks'} a projection of its features to the same width, as "
            f"other frameworks' files have it; set config.model.always_project_features={has}"
        )
    names = [*UNSEEN]
    if model.lora_rank and start.lora_rank:
        names.append("lora_alpha")
    if model.output_adapter_layers and start.output_adapter_layers:
        names.append("output_adapter_stride")
    for name in names:
        ours, theirs = getattr(model, name), getattr(start, name)
        if ours != theirs:
            raise InputError(
                f"config.model.{name}={ours!r}, but {where} has {theirs!r}; "
                f"set config.model.{name}={theirs!r}"
            )
    shapes = [[layer[:2] for layer in one.conv_layers] for one in (model, start)]
    if shapes[0] == shapes[1] and model.conv_layers != start.conv_layers:
        strides = [", ".join(str(x[2]) for x in one.conv_layers) for one in (model, start)]
        raise InputError(
            f"config.model.conv_layers={model.conv_layers} has the strides {strides[0]}, but "
            f"{where} has {strides[1]}; set config.model.conv_layers={start.conv_layers}"
        )


def check_targets(
    model: ModelConfig, parts: Collection[str], source: Loaded, *, where: str
) -> None:
    """Raises InputError if pretraining goes on from a pretraining whose targets were made in
    another way: what was learned for them would be left out, or would be of no use."""
    if TARGETS not in parts or TARGETS not in source.params:
        return
    for name in ("quantize_targets", "same_quantizer"):
        ours, theirs = getattr(model, name), getattr(source.description.model, name)
        if ours != theirs:
            raise InputError(
                f"config.model.{name}={ours!r}, but {where} was pretrained with {theirs!r}; "
                f"set config.model.{name}={theirs!r}"
            )


def report_start(source: Loaded | None, model: ModelConfig, settings: ExperimentSettings) -> None:
    """Warns of a start that was trained with input normalised otherwise, or with group norms that
    counted other frames. These change the outputs of padded rows alone, not those of whole rows
    (docs/traps.md#t11), so they may be meant, and are not refused."""
    if source is None:
        return
    start = source.description
    pairs = [("data.normalise", settings.data.normalise, start.normalise)]
    if model.extractor_norm == "group":
        norms = model.masked_group_norm, start.model.masked_group_norm
        pairs.append(("model.masked_group_norm", *norms))
    for name, ours, theirs in pairs:
        if ours != theirs:
            hosts.log_on_chief(
                f"warning: config.{name}={ours}, but {settings.init_from} was trained with {theirs}"
            )

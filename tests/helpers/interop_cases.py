"""Random checkpoints and directories that the interop tests share."""

import json
from pathlib import Path

import numpy as np

from w2v2_jax import trees
from w2v2_jax.checkpoint.description import Description, Loaded
from w2v2_jax.interop import names, torch_pickle, torch_read, torch_write
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.objectives.table import OBJECTIVES
from w2v2_jax.vocabulary import SPECIALS, Vocabulary

ENCODER = ("encoder",)
PRETRAINING = ("encoder", "quantizer", "target_projection", "context_projection")
VOCABULARY = Vocabulary((*SPECIALS, *"ABC'"), "upper")


def random_checkpoint(
    model: ModelConfig, *, parts, vocabulary=None, normalise=False, objective=None
) -> Loaded:
    """objective: its name; without, the one of the two that have a vocabulary or none."""
    rng = np.random.default_rng(0)
    objective = objective or ("ctc" if vocabulary else "contrastive")
    shapes = names.expected(
        model, parts=parts, classes=len(vocabulary or ()), objective=OBJECTIVES[objective]
    )
    params = {path: rng.standard_normal(shape, np.float32) for path, shape in shapes.items()}
    description = Description(objective, model, vocabulary, normalise)
    return Loaded(Path("random"), description, trees.nest(params))


LAYER_NORM = dict(extractor_norm="layer", conv_bias=True, norm_order="pre")


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def assert_same(ours, theirs) -> None:
    ours, theirs = trees.flatten(ours), trees.flatten(theirs)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert np.asarray(array).dtype == np.float32
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def rewrite(path, change) -> None:
    """Reads a fairseq file as plain values, lets `change` edit them, writes it back."""
    with torch_read.opened(path) as file:
        state = {k: torch_pickle.plain(v) for k, v in file.value.items() if k != "model"}
        state["model"] = {k: x.copy() for k, x in file.arrays(file.value["model"]).items()}
    change(state)
    torch_write.save(state, path)

"""The network that the updates in a PEFT folder are of: `network.json` beside PEFT's own files.

Those have no setting of the network. Its weights' shapes do not show the order of the norms, the
heads or the strides, so the updates would fit another network, and mean nothing there.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.errors import InputError
from w2v2_jax.interop.files import switch
from w2v2_jax.models.config import UNSEEN
from w2v2_jax.paths import read_json, write_json

FILE = "network.json"
COMPARED = (*UNSEEN, "conv_layers", "d_model", "num_layers", "ffn_dim", "extractor_norm")


def write(folder: Path, loaded: Loaded) -> None:
    """Writes the settings that decide what the network computes, and how it normalises input."""
    description = loaded.description
    settings = dataclasses.asdict(description.model)
    content = {
        "model": {name: settings[name] for name in (*COMPARED, "masked_group_norm")},
        "normalise": description.normalise,
        "normalise_epsilon": description.normalise_epsilon,
    }
    write_json(folder / FILE, content, indent=2)


def checked(base: Loaded, folder: Path) -> Loaded:
    """The base network as the updates were trained on it, if the folder says how: with their
    normalisation. Raises InputError that names a setting in which the base is another network."""
    path = folder / FILE
    if not path.is_file():  # of PEFT alone
        return base
    content = read_json(path)
    said, model = content.get("model"), base.description.model
    if not isinstance(said, dict):
        raise InputError(f"{path}: model={said!r} must be the settings of a network")
    ours = json.loads(json.dumps(dataclasses.asdict(model)))  # lists, as in the file
    for name in COMPARED:
        if name in said and said[name] != ours[name]:
            raise InputError(
                f"{path}: the updates are of a network with model.{name}={said[name]!r}, but "
                f"{base.path} has {ours[name]!r}; give the network that they were trained on"
            )
    where = str(path)
    norms = switch(said, "masked_group_norm", model.masked_group_norm, where=where)
    epsilon = content.get("normalise_epsilon", base.description.normalise_epsilon)
    if type(epsilon) is not float or not 0 < epsilon < 1:
        raise InputError(f"{path}: normalise_epsilon={epsilon!r} must be a number between 0 and 1")
    description = base.description._replace(
        model=dataclasses.replace(model, masked_group_norm=norms),
        normalise=switch(content, "normalise", base.description.normalise, where=where),
        normalise_epsilon=epsilon,
    )
    return base._replace(description=description)

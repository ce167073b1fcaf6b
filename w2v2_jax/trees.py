"""Trees of parameters as flat tables of paths, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax


def name_of(path) -> str:
    """The path of a leaf as "encoder/...", in dicts, tuples and named tuples."""
    parts = (getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))) for key in path)
    return "/".join(map(str, parts))


def flatten(tree) -> dict[str, Any]:
    """Nested dicts -> {"a/b/c": leaf}."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(str(key.key) for key in path): leaf for path, leaf in leaves}


def nest(flat: Mapping[str, Any]) -> dict:
    """The inverse of `flatten`."""
    tree: dict = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = leaf
    return tree

"""Anything that --checkpoint names -> its description and parameters."""

from __future__ import annotations

from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.checkpoint.description import Loaded, require_finite
from w2v2_jax.errors import InputError
from w2v2_jax.interop import foreign, hub
from w2v2_jax.paths import AnyPath, is_remote, read_json, to_path


def load_any(path: str | AnyPath, *, language: str | None = None) -> Loaded:
    """A workdir, one step's directory, a Hugging Face directory or a model of its hub -> its parts.

    language: the language of adapters and head, for a Hugging Face directory with several (MMS).

    Raises InputError also for weights that are not finite.
    """
    path = hub.folder(str(path))
    where = to_path(path)
    if is_hugging_face(where):
        if is_remote(where):
            raise InputError(f"{where}: copy the Hugging Face folder to this machine first")
        from w2v2_jax.interop import hugging_face

        return require_finite(hugging_face.load(path, language=language))
    if language is not None:
        raise InputError(
            f"{path} is not a Hugging Face directory with adapters; language={language!r} can only "
            "be chosen when such a directory is converted or loaded"
        )
    try:
        return require_finite(checkpoint.load(path))
    except checkpoint.NoCheckpoint as error:
        told = None if is_remote(where) or not where.exists() else foreign.remedy(where)
        if told is None:
            raise
        raise InputError(told) from error


def load_start(init_from: str) -> Loaded:
    """`load_any` of a recipe's init_from; its InputError names the option that changes it."""
    try:
        return load_any(init_from)
    except InputError as error:
        raise InputError(f"{error}; --config.init_from=DIR names another start") from error


def is_hugging_face(path: AnyPath) -> bool:
    """Whether a folder's config.json is one of Hugging Face, not of a run, whose checkpoints do not
    need it. Raises InputError if it cannot be read and weights lie beside it."""
    if not (path / "config.json").is_file():
        return False
    try:
        return "model_type" in read_json(path / "config.json")
    except InputError:
        if any(any(path.glob(f"*{suffix}")) for suffix in (".safetensors", ".bin")):
            raise
        return False

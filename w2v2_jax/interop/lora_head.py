"""The CTC head of a PEFT folder, the symbols of its rows, and its input settings.

PEFT's own files name no symbols. The head may have others than the base network, so the folder
also has `vocabulary.json`, and the tokenizer files of a Hugging Face folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from w2v2_jax.checkpoint.description import Description, Loaded
from w2v2_jax.errors import InputError
from w2v2_jax.interop import hugging_face_input, names, tokenizer
from w2v2_jax.interop.files import Imported
from w2v2_jax.interop.hugging_face_names import HUGGING_FACE
from w2v2_jax.interop.tokenizer import Rows
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.vocabulary import Vocabulary, load_vocabulary
from w2v2_jax.vocabulary.make import FILE as VOCABULARY


def write(folder: Path, description: Description) -> None:
    """Writes the symbols of the head's rows and the input settings beside PEFT's files."""
    tokenizer.write(folder, description.ctc_vocabulary)
    description.ctc_vocabulary.save(folder / VOCABULARY)
    hugging_face_input.write(folder, description)


def with_head(
    base: Imported, tensors: dict[str, np.ndarray], folder: Path, notes: list[str]
) -> Loaded:
    """The base network with the folder's head (`lm_head.weight` [C, D], `lm_head.bias` [C]), its
    symbols and its input settings; a base of another objective becomes a CTC network.

    Raises InputError if nothing says which symbols the rows are.
    """
    loaded, description = base.loaded, base.loaded.description
    count = len(next(iter(tensors.values())))
    symbols = _symbols(folder, count) or _of_base(base, count, folder, notes)
    shapes = names.expected(description.model, parts=("head",), classes=count, objective=CTC)
    head = names.join(tensors, shapes, HUGGING_FACE, where=str(folder))["head"]
    params = {**loaded.params, "head": tokenizer.in_our_order(head, symbols.rows, notes)}
    if not description.objective_class.ctc_head:
        left = sorted(set(loaded.params) - {"encoder"})
        notes += [f"left out, as the result is a CTC network: {', '.join(left)}"] if left else []
        params = {name: params[name] for name in ("encoder", "head")}
    description = description._replace(objective=CTC.name, vocabulary=symbols.vocabulary)
    if (folder / "preprocessor_config.json").is_file():
        scale = hugging_face_input.read(folder, description.model, notes)
        description = description._replace(**scale._asdict())
    return Loaded(loaded.path, description, params)


def _symbols(folder: Path, count: int) -> Rows | None:
    """What the folder says of its rows; None if it says nothing."""
    if (folder / "vocab.json").is_file():
        return tokenizer.read(folder, classes=count, blank=None)
    if not (folder / VOCABULARY).is_file():
        return None
    vocabulary = load_vocabulary(folder / VOCABULARY)
    if len(vocabulary) != count:
        raise InputError(
            f"{folder}: {VOCABULARY} has {len(vocabulary)} symbols, the head has {count} rows"
        )
    return Rows(vocabulary, tuple(range(count)))


def _of_base(base: Imported, count: int, folder: Path, notes: list[str]) -> Rows:
    """The base network's symbols for the same number of rows, in the order of its own file."""
    vocabulary = base.loaded.description.vocabulary
    remedy = f"put the {VOCABULARY} or vocab.json that it was trained with into the folder"
    if not isinstance(vocabulary, Vocabulary):
        raise InputError(f"{folder}: nothing says which symbols its CTC head has; {remedy}")
    rows = base.head_rows or tuple(range(len(vocabulary)))
    theirs = sum(row is not None for row in rows)
    if count != theirs:
        raise InputError(
            f"{folder}: its CTC head has {count} rows, the base network's {theirs}, and nothing "
            f"says which symbols they are; {remedy}"
        )
    notes.append(f"{folder} has no {VOCABULARY}: its rows are taken for the base's symbols")
    return Rows(vocabulary, rows)

"""The folder of a deployed classifier or x-vector model: README.md, classes.json, input.json."""

from __future__ import annotations

from pathlib import Path

from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.export.deployment import input_settings, write_readme
from w2v2_jax.models.heads import tdnn_loss

NAMES = 'classes = json.loads(Path("classes.json").read_text("utf-8"))["classes"]\n'
ROWS = "`classes.json` names the {count} classes in the order of the logits."
# Objective -> what it is, its outputs, and how the program prints them.
HEADS = {
    "classify": (
        "with a class for each recording",
        "| out | logits | float32 | [batch, {count}] |",
        NAMES + "print(classes[results[0][0].argmax()])",
    ),
    "frames": (
        "with classes of every frame",
        "| out | logits | float32 | [batch, frames, {count}] |\n"
        "| out | frames | int32 | [batch], real frames of each row; {stride} samples each |",
        NAMES
        + "logits, frames = results\n"
        + "print([classes[row] for row in logits[0, : frames[0]].argmax(-1)])",
    ),
    "xvector": (
        "with an embedding of the speaker of each recording",
        "| out | embeddings | float32 | [batch, {width}], compared by their cosine |",
        "print(results[0][0].tolist())",
    ),
}


def write(out: Path, loaded: Loaded, **texts: str) -> None:
    """texts fill README's fields, as in `deployment.write_folder`; `call` sets `results`."""
    description = loaded.description
    model, classes = description.model, description.vocabulary
    assert classes is not None  # such a head has them
    what, outputs, printed = HEADS[description.objective]
    speaker = description.objective == "xvector"
    settings = input_settings(description)
    if speaker:  # the fewest frames of which there is a deviation
        settings["shortest_samples"] += (tdnn_loss(model) + 1) * model.stride
    else:
        classes.save(out / "classes.json")
    count = len(classes)
    write_readme(
        out,
        description,
        settings,
        what=what,
        outputs=outputs.format(count=count, stride=model.stride, width=model.embedding_dim),
        names="No classes are in it." if speaker else ROWS.format(count=count),
        printed=printed,
        **texts,
    )

"""The folder of a deployed classifier or x-vector model: README.md, classes.json, input.json."""

from __future__ import annotations

from pathlib import Path

from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.export.deployment import input_settings
from w2v2_jax.models.heads import tdnn_loss
from w2v2_jax.paths import write_json, write_text

README = """\
# {title}

wav2vec 2.0, {what}, exported by w2v2_jax {version}. Raw 16 kHz mono waveforms go in; the input
normalisation is inside (this model normalises its input: {normalise}).

| | name | type | shape |
|---|---|---|---|
| in | waveforms | float32 | [batch, samples], at least {shortest} samples |
| in | num_samples | int32 | [batch], real samples of each row; the rest is padding |
{outputs}

{classes}

{files}

```
pip install {packages}
```

```python
import json
from pathlib import Path

import soundfile
{imports}
{load}
waveform, rate = soundfile.read("clip.wav", dtype="float32")
assert rate == 16000 and waveform.ndim == 1
waveforms, num_samples = waveform[None], np.array([len(waveform)], np.int32)
{call}
{printed}
```

{notes}
"""
NAMES = 'classes = json.loads(Path("classes.json").read_text("utf-8"))["classes"]\n'
ROWS = "`classes.json` names the {count} classes in the order of the logits."
# Objective -> what it is, its outputs, and how the program prints them.
HEADS = {
    "classify": (
        "a class for each recording",
        "| out | logits | float32 | [batch, {count}] |",
        NAMES + "print(classes[results[0][0].argmax()])",
    ),
    "frames": (
        "classes of every frame",
        "| out | logits | float32 | [batch, frames, {count}] |\n"
        "| out | frames | int32 | [batch], real frames of each row; {stride} samples each |",
        NAMES
        + "logits, frames = results\n"
        + "print([classes[row] for row in logits[0, : frames[0]].argmax(-1)])",
    ),
    "xvector": (
        "an embedding of the speaker of each recording",
        "| out | embeddings | float32 | [batch, {width}], compared by their cosine |",
        "print(results[0][0].tolist())",
    ),
}


def write(out: Path, loaded: Loaded, **texts: str) -> None:
    """texts fill README's fields, as in `deployment.write_folder`; `call` sets `results`."""
    from w2v2_jax import __version__

    description = loaded.description
    model, classes = description.model, description.vocabulary
    assert classes is not None  # such a head has them
    what, outputs, printed = HEADS[description.objective]
    speaker = description.objective == "xvector"
    settings = input_settings(description)
    if speaker:  # the fewest frames of which there is a deviation
        settings["shortest_samples"] += (tdnn_loss(model) + 1) * model.stride
    if not speaker:
        classes.save(out / "classes.json")
    write_json(out / "input.json", settings, indent=2)
    text = README.format(
        what=what,
        version=__version__,
        normalise="yes" if description.normalise else "no",
        shortest=settings["shortest_samples"],
        outputs=outputs.format(count=len(classes), stride=model.stride, width=model.embedding_dim),
        classes="No classes are in it." if speaker else ROWS.format(count=len(classes)),
        printed=printed,
        **texts,
    )
    write_text(out / "README.md", text)

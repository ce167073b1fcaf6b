"""What all deployment formats have in common: raw 16 kHz waveforms to CTC logits, and a folder.

The function is the network's own, traced in float32 with the input normalisation inside. Its
parameters are arguments and not constants, so that one program serves any size of network and a
runtime keeps a single copy of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from w2v2_jax import trees
from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.checkpoint.description import Description, Loaded, require_ctc
from w2v2_jax.input_scale import normalised_on_device
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import Execution
from w2v2_jax.paths import write_json, write_text
from w2v2_jax.vocabulary.units import CHARACTERS, PHONEMES, PIECES

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
PORTABLE = Execution(
    scan_layers=True,
    position_formulation="grouped_conv",
    conv_formulation="xla_conv",
    attention_formulation="plain",
)
# Its fields: those of every format (`write_readme`), and those of what the network gives.
README = """\
# {title}

wav2vec 2.0 {what}, exported by w2v2_jax {version}. Raw 16 kHz mono waveforms go in; the
input normalisation is inside (this model normalises its input: {normalise}).

| | name | type | shape |
|---|---|---|---|
| in | waveforms | float32 | [batch, samples], at least {shortest} samples |
| in | num_samples | int32 | [batch], real samples of each row; the rest is padding |
{outputs}

{names}

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
OUTPUTS = """\
| out | logits | float32 | [batch, frames, {classes}] |
| out | frames | int32 | [batch], real frames of each row; {stride} samples each |"""
NAMES = "`vocabulary.json` names the {classes} classes; class 0 is the CTC blank{meaning}."
PRINTED = """\
symbols = json.loads(Path("vocabulary.json").read_text("utf-8"))["symbols"]
ids = np.asarray(logits)[0, : int(frames[0])].argmax(-1).tolist()
kept = [symbols[i] for i, before in zip(ids, [-1, *ids]) if i != before and i > 2]
print({joined})"""
# Kind of symbol -> a description for the README, and how the symbols `kept` are joined.
TEXTS = {
    CHARACTERS: (", `|` ends a word", """" ".join("".join(kept).replace("|", " ").split())"""),
    PHONEMES: (", the others are phonemes", """" ".join(s for s in kept if s != "|")"""),
    PIECES: (
        ", `\u2581` begins a word",
        """" ".join("".join(kept).replace("|", " ").replace("\u2581", " ").split())""",
    ),
}


def check(loaded: Loaded) -> Description:
    """The description of a CTC checkpoint; InputError for one without a head."""
    forms = "onnx, hf or" if loaded.description.objective_class.class_labels else "hf or"
    otherwise = f" (deployment needs a CTC head; export --to {forms} safetensors does not)"
    require_ctc(loaded.description, str(loaded.path), otherwise=otherwise)
    return loaded.description


def shortest_input(model: ModelConfig) -> int:
    """The samples that one frame needs: 400 (25 ms) for the released families."""
    samples = 1
    for _, kernel, stride in reversed(model.output_layers):
        samples = (samples - 1) * stride + kernel
    return samples


def waveforms_to_logits(description: Description) -> Callable:
    """(flat parameters {"a/b": array}, waveforms [B, S], num_samples [B]) -> logits, frames [B].

    It has the same formulation on every platform, with scanned layers: runtimes compile a
    program for each new shape, and a scanned one compiles in the time of a single layer.
    """
    network = description.network(PORTABLE)

    def call(flat: Mapping[str, Any], waveforms, num_samples):
        if description.normalise:
            epsilon = description.normalise_epsilon
            waveforms = normalised_on_device(waveforms, num_samples, epsilon)
        else:
            real = jnp.arange(waveforms.shape[1])[None] < num_samples[:, None]
            waveforms = jnp.where(real, waveforms, 0.0)
        logits, frames = network.apply({"params": trees.nest(flat)}, waveforms, num_samples)
        return logits, frames.astype(jnp.int32)

    return call


def trace(loaded: Loaded, *, platforms: tuple[str, ...] = PLATFORMS) -> export.Exported:
    """The function as StableHLO for any batch and any length from `shortest_input` on."""
    description = check(loaded)
    shortest = shortest_input(description.model)
    scope = export.SymbolicScope((f"S >= {shortest}",))
    batch, samples = export.symbolic_shape("B, S", scope=scope)
    shapes = {
        name: jax.ShapeDtypeStruct(leaf.shape, jnp.float32)
        for name, leaf in trees.flatten(loaded.params).items()
    }
    function = jax.jit(waveforms_to_logits(description))
    return export.export(function, platforms=platforms)(
        shapes,
        jax.ShapeDtypeStruct((batch, samples), jnp.float32),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
    )


def input_settings(description: Description) -> dict[str, Any]:
    """What a program that uses the exported model needs to know: the content of `input.json`."""
    return {
        "sampling_rate": SAMPLE_RATE,
        "waveforms": "raw, -1 to 1",
        "normalised_inside": description.normalise,
        "normalise_epsilon": description.normalise_epsilon if description.normalise else None,
        "padding": "ignored beyond num_samples",
        "shortest_samples": shortest_input(description.model),
        "samples_per_frame": description.model.stride,
    }


def write_folder(out: Path, loaded: Loaded, **texts: str) -> None:
    """Writes README.md, vocabulary.json and input.json of a CTC model; texts fill the fields of
    the README; `call` sets `logits` and `frames`."""
    description, vocabulary = loaded.description, loaded.description.ctc_vocabulary
    vocabulary.save(out / "vocabulary.json")
    meaning, joined = TEXTS[vocabulary.units]
    classes = len(vocabulary)
    write_readme(
        out,
        description,
        input_settings(description),
        what="with a CTC head",
        outputs=OUTPUTS.format(classes=classes, stride=description.model.stride),
        names=NAMES.format(classes=classes, meaning=meaning),
        printed=PRINTED.format(joined=joined),
        **texts,
    )


def write_readme(
    out: Path, description: Description, settings: Mapping[str, Any], **texts: str
) -> None:
    """Writes input.json, the settings of the input, and README.md; texts fill its fields."""
    from w2v2_jax import __version__

    write_json(out / "input.json", settings, indent=2)
    text = README.format(
        version=__version__,
        normalise="yes" if description.normalise else "no",
        shortest=settings["shortest_samples"],
        **texts,
    )
    write_text(out / "README.md", text)

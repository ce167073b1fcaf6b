"""The README.md of an exported folder: what made the model, how good it is, how to run it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from w2v2_jax.checkpoint.description import Description, Loaded
from w2v2_jax.checkpoint.record import record_of
from w2v2_jax.errors import InputError
from w2v2_jax.evaluation.rates import rates_shown
from w2v2_jax.evaluation.result_files import check_rates
from w2v2_jax.models.families import family_of
from w2v2_jax.paths import MOST_LARGE_JSON, read_json, write_text
from w2v2_jax.system.revision import stamp

UNSAID = "not stated"
MOST_SYMBOLS = 100
FOLDERS = ("hf", "peft", "onnx", "stablehlo", "savedmodel")


class CardFacts(NamedTuple):
    """What the command line says of a model: its licence, the languages it is for (codes), files
    of `evaluate --json`."""

    licence: str | None = None
    languages: tuple[str, ...] = ()
    evaluations: tuple[Path, ...] = ()


def refuse_elsewhere(facts: CardFacts, form: str) -> None:
    """InputError where there is no folder for a card."""
    if facts != CardFacts() and form not in FOLDERS:
        raise InputError(
            "--licence, --languages and --evaluation are for the README.md of a folder: "
            f"--to {', '.join(FOLDERS)}; --to {form} writes a file"
        )


def check_evaluations(facts: CardFacts) -> None:
    """InputError for a file of --evaluation that is none, before a checkpoint is loaded."""
    for path in facts.evaluations:
        _read_splits(path)


def write(folder: Path, loaded: Loaded, facts: CardFacts, *, form: str) -> None:
    """README.md with the model's origin, in the form of the hub's model cards; behind what a
    deployed form's says already of running it."""
    tables = [*_origin(loaded, facts), "", *_rates(facts.evaluations, loaded)]
    text = "\n".join(["## Where it comes from", "", *tables, ""])
    readme = folder / "README.md"
    if readme.exists():
        write_text(readme, readme.read_text("utf-8").rstrip() + "\n\n" + text)
        return
    description = loaded.description
    size = sum(leaf.size for leaf in jax.tree.leaves(loaded.params)) / 1e6
    bare = set(loaded.params) == {"encoder"}
    head = [*_front_matter(facts, form), "", f"# wav2vec 2.0, {_purpose(description)}", ""]
    about = (
        f"{family_of(description.model)}, {size:.1f} M parameters, for audio of 16 kHz; waveforms "
        f"are {'' if description.normalise else 'not '}normalised to mean 0 and variance 1."
    )
    if form == "peft" and description.objective_class.ctc_head:
        about += (
            " The symbols of its head are in vocabulary.json and vocab.json; the base network may "
            f"have others. They are: {_symbols(description)}"
        )
    run = ["## How to run it", "", "```python", *_program(description, form, bare=bare), "```", ""]
    write_text(readme, "\n".join([*head, about, "", *run, text]))


def _symbols(description: Description) -> str:
    """The symbols as code, shortened where there are many."""
    symbols = description.ctc_vocabulary.symbols
    shown = " ".join(symbols[:MOST_SYMBOLS])
    return f"`` {shown} ``" + (" and more." if len(symbols) > MOST_SYMBOLS else ".")


def _purpose(description: Description) -> str:
    kind, rows = description.objective_class, len(description.vocabulary or ())
    if kind.ctc_head:
        return f"speech recognition with {rows} symbols"
    if kind.class_labels:
        what = {"xvector": "embeddings of speakers", "frames": f"{rows} classes of frames"}
        return what.get(kind.name, f"{rows} classes of recordings")
    return "pretrained on speech"


def _front_matter(facts: CardFacts, form: str) -> list[str]:
    lines = ["---", f"library_name: {'peft' if form == 'peft' else 'transformers'}"]
    if facts.licence is not None:
        lines.append(f"license: {facts.licence}")
    if facts.languages:
        lines += ["language:", *(f"- {language}" for language in facts.languages)]
    return [*lines, "tags:", "- wav2vec2", "- speech", "---"]


def _program(description: Description, form: str, *, bare: bool) -> list[str]:
    """bare: an encoder without the heads of its objective."""
    kind = description.objective_class
    if form == "peft":
        return _peft_program(description)
    task = {"ctc": "automatic-speech-recognition", "classify": "audio-classification"}
    if kind.name in task:
        return [
            "import soundfile",
            "from transformers import pipeline",
            "",
            "# An array, mono at 16 kHz: for the name of a file, pipeline needs ffmpeg.",
            'waveform, rate = soundfile.read("clip.wav", dtype="float32")',
            f'run = pipeline("{task[kind.name]}", model=".")',
            'print(run({"array": waveform, "sampling_rate": rate}))',
        ]
    classes = {
        "contrastive": "AutoModelForPreTraining",
        "frames": "AutoModelForAudioFrameClassification",
        "xvector": "AutoModelForAudioXVector",
    }
    name = "AutoModel" if bare else classes.get(kind.name, "AutoModel")
    return [
        f"from transformers import AutoFeatureExtractor, {name}",
        "",
        'extractor = AutoFeatureExtractor.from_pretrained(".")',
        f'model = {name}.from_pretrained(".")',
    ]


def _peft_program(description: Description) -> list[str]:
    rows = len(description.vocabulary or ()) if description.objective_class.ctc_head else 0
    auto = "AutoModelForCTC" if rows else "AutoModel"
    resized = f", vocab_size={rows}, ignore_mismatched_sizes=True" if rows else ""
    lines = [
        "from peft import PeftModel",
        f"from transformers import {auto}{', AutoProcessor' if rows else ''}",
        "",
        "# BASE: the folder of the network it was tuned from",
        f'base = {auto}.from_pretrained("BASE"{resized})',
        'model = PeftModel.from_pretrained(base, ".")',
    ]
    return [*lines, 'processor = AutoProcessor.from_pretrained(".")'] if rows else lines


def _origin(loaded: Loaded, facts: CardFacts) -> list[str]:
    """The table of what made the model; what nothing says is "not stated"."""
    record = record_of(loaded.path)
    made = record.get("facts", {})
    data, config = made.get("data", {}), made.get("config", {})
    train = data.get("train") or {}
    start = (record.get("starts") or [{}])[-1]
    code = start.get("code", {})
    commit = [f"commit {code['commit'][:12]}"] if "commit" in code else []
    rows = {
        "training data": _names(config.get("data", {}).get("train")),
        "hours of it": _hours(train),
        "languages": ", ".join(facts.languages) or UNSAID,
        "started from": _names(config.get("init_from")),
        "updates": loaded.path.name if loaded.path.name.isdigit() else UNSAID,
        "code of the training": ", ".join(
            [f"w2v2_jax {code['version']}", *commit] if "version" in code else [UNSAID]
        ),
        "exported": stamp(),
        "licence": facts.licence or UNSAID,
    }
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def _hours(train: dict[str, Any]) -> str:
    """The hours that a run trained on; records of earlier versions have only the corpus's."""
    if "used_hours" in train:
        return f"{train['used_hours']:g}"
    return f"at most {train['hours']:g}" if "hours" in train else UNSAID


def _names(value: Any) -> str:
    """Names of corpora or folders without the places where they lie on one machine."""
    values = value if isinstance(value, (list, tuple)) else [value]
    parts = [str(one).rstrip("/").split("/")[-1] for one in values if one]
    return ", ".join(parts) or UNSAID


def _rates(evaluations: Sequence[Path], loaded: Loaded) -> list[str]:
    """A table of error rates with their intervals, a row for each split of each evaluation."""
    splits = [split for path in evaluations for split in _splits(path, loaded)]
    if not splits:
        return ["Not evaluated: no `--evaluation` was given when it was exported."]
    lines = [
        "| evaluated on | rate | value | 95 % interval | utterances |",
        "|---|---|---|---|---|",
    ]
    for split in splits:
        for name in rates_shown(split):
            low, high = map(_percent, split[f"{name}_interval"])
            lines.append(
                f"| {_names(split['data'])} | {name.upper()} | {_percent(split[name])} % "
                f"| {low} to {high} % | {split['num_utterances']} |"
            )
    return lines


def _percent(rate: float | None) -> str:
    """A rate of a JSON file, where null is an infinite one."""
    return "infinite" if rate is None else f"{100 * rate:.2f}"


def _splits(path: Path, loaded: Loaded) -> list[dict[str, Any]]:
    """The splits of a file of `evaluate --json`; InputError for another file or checkpoint."""
    checkpoint, splits = _read_splits(path)
    places = [checkpoint, str(loaded.path)]
    if len({tuple(place.rstrip("/").split("/")[-3:]) for place in places}) > 1:
        raise InputError(f"--evaluation {path} is of {places[0]}, not of {places[1]}")
    return splits


def _read_splits(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """The checkpoint that a file of `evaluate --json` is of, and its splits."""
    result = read_json(path, most=MOST_LARGE_JSON)
    splits = result.get("splits", [result])
    splits = splits if isinstance(splits, list) else []
    needed = {"data", "wer", "wer_interval", "num_utterances"}
    if not splits or not all(isinstance(x, dict) and needed <= set(x) for x in splits):
        raise InputError(f"--evaluation {path}: not a file of `w2v2 evaluate --json`")
    for split in splits:
        check_rates(split, where=f"--evaluation {path}")
        for name in ("per", "cer"):
            if name in split and f"{name}_interval" not in split:
                raise InputError(f"--evaluation {path}: {name} is there without {name}_interval")
    return str(result.get("checkpoint")), splits

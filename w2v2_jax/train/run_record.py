"""The record of a run in WORKDIR/run.json, and what may change when the run resumes.

run.json holds the configuration with all defaults and the fingerprints of the corpora. For each
start that differs from the one before, it also holds the code, the libraries and the devices.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

import w2v2_jax
from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.checkpoint.record import FILE, read_record
from w2v2_jax.data.augment import AugmentConfig
from w2v2_jax.data.feed import Feed
from w2v2_jax.data.joined import rules_name, without_name
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.build import Experiment
from w2v2_jax.experiment.resolved import resolved
from w2v2_jax.paths import AnyPath, read_json
from w2v2_jax.system.revision import revision
from w2v2_jax.train import old_records
from w2v2_jax.vocabulary.make import file_of

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
REFUSED, TOLD, FREE = "refused", "told", "free"
ORDER = "data.train.order"
START = "config.init_from"
SYMBOLS = "config.vocabulary.name"
ORDERS = (
    "config.seed",
    "config.data.",
    "data.train.fingerprint",
    "data.train.shares",
    "data.train.parts",
)  # what another order of the same code comes from
SHOWN = 60  # characters of a value


class Change(NamedTuple):
    """How a resume responds to a change of a path; the longest path that matches decides."""

    path: str
    verdict: str
    reason: str


# A change of any other path is refused.
CHANGES = (
    Change("config.seed", REFUSED, "batches, masks, negatives and dropout are drawn from it"),
    Change(START, REFUSED, "a resumed run does not read it again"),
    Change("config.model", REFUSED, "another network"),
    Change("config.execution", FREE, "other ways to compute the same values"),
    Change("config.execution.dtype", REFUSED, "sums are rounded differently"),
    Change("config.objective", REFUSED, "another loss"),
    Change("config.schedule", REFUSED, "other learning rates"),
    Change("config.optimizer", REFUSED, "other updates"),
    Change("config.optimizer.ema_decay", REFUSED, "another average of the parameters"),
    Change("config.vocabulary", REFUSED, "other labels"),
    Change("config.data", REFUSED, "other rows"),
    Change("config.data.train", FREE, "a path: the data's fingerprint says whether it is the same"),
    Change("config.data.alpha", FREE, "its effect is in the shares"),
    Change("config.data.augment", REFUSED, "other samples in the same rows"),
    Change("config.data.augment.noise", FREE, "a path: data.train.noise says what it is"),
    Change("config.data.augment.rooms", FREE, "a path: data.train.rooms says what it is"),
    Change("config.data.valid", FREE, "a path: the data's fingerprint says whether it is the same"),
    Change("config.data.valid_bucket_seconds", TOLD, "other validation rows: other metrics"),
    Change("config.data.valid_batch_seconds", TOLD, "other validation rows: other metrics"),
    Change("config.data.verify", FREE, "reads the same samples"),
    Change("config.data.reader", FREE, "reads the same samples"),
    Change("config.data.workers", FREE, "reads the same samples"),
    Change("config.data.prefetch_mib", FREE, "reads the same samples"),
    Change("config.train", FREE, "when a run logs, validates and saves; how it splits a batch"),
    Change("config.train.steps", TOLD, "a schedule without its own total depends on it"),
    Change("config.train.best_metric", REFUSED, "the saved checkpoints are ranked by it"),
    Change("config.train.best_mode", REFUSED, "the saved checkpoints are ranked by it"),
    Change("config.mesh", FREE, "the same sums on other devices"),
    Change("config.health", FREE, "when a run warns, rolls back or ends"),
    Change("data.train.fingerprint", REFUSED, "other clips, texts or samples"),
    Change("data.train.text", REFUSED, "its texts were made with other rules"),
    Change("data.train.shares", REFUSED, "other corpora, data.alpha or weights: other rows"),
    Change("data.train.parts", REFUSED, "the same shares of other clips"),
    Change("data.train.noise", REFUSED, "other noise in the same rows"),
    Change("data.train.rooms", REFUSED, "the same rows in other rooms"),
    Change(ORDER, REFUSED, "this version of the code makes other batches of it"),
    Change("data.valid.fingerprint", TOLD, "other validation clips: other metrics"),
    Change("data", FREE, "follows from the fingerprint"),
    Change("code.version", TOLD, "other code may plan or compute differently"),
)


def change_of(path: str) -> Change:
    """The row of CHANGES that decides about a path."""
    fits = [row for row in CHANGES if path == row.path or path.startswith(f"{row.path}.")]
    return max(fits, key=lambda row: len(row.path), default=Change(path, REFUSED, "unknown"))


def facts(experiment: Experiment, train: Feed, valid: Feed | None) -> dict[str, Any]:
    """What is compared when a run resumes."""
    return {
        "config": resolved(experiment),
        "data": {
            "train": {
                **_content(train),
                **_shares(train),
                **mixed_in(train),
                "order": _order(train),
            },
            "valid": _content(valid) if valid else None,
        },
        "code": {"version": w2v2_jax.__version__},
    }


def _content(feed: Feed) -> dict[str, Any]:
    """clips and hours of the corpus (with labels: those with a transcript); `used_`: without what
    the plan leaves out as too short or too long."""
    used = feed.plan.summary()
    hours = int(feed.corpus.num_samples.sum()) / SAMPLE_RATE / 3600
    return {
        "fingerprint": _digest(feed.corpus.fingerprint()),
        "clips": len(feed.corpus),
        "hours": round(hours, 4),
        "used_clips": used.utterances,
        "used_hours": round(used.hours, 4),
    }


def text_rules(feed: Feed) -> str:
    """The text rules of a labelled corpus by name, and a hash of what they do."""
    rules = without_name(feed.corpus.text_rules)
    name = rules_name(feed.corpus)
    return f"{name} {_digest(json.dumps(rules, sort_keys=True))[:8]}" if rules else name


def _shares(feed: Feed) -> dict[str, str]:
    """The share of each part of a mixture of corpora, and a hash of which part each utterance
    belongs to; empty texts if there is no mixture. Names are not included, as they may change."""
    if feed.mixture is None:
        return {"shares": "", "parts": ""}
    shares = " ".join(f"{share:.6g}" for share, _ in feed.shares().values())
    cells = np.asarray(feed.mixture.cells, "<i4").tobytes()
    return {"shares": shares, "parts": hashlib.sha256(cells).hexdigest()[:16]}


def mixed_in(feed: Feed) -> dict[str, str]:
    """The fingerprints of noise and rooms, empty if there are none."""
    if feed.augmentation is None:
        return {"noise": "", "rooms": ""}
    prints = feed.augmentation.fingerprints()
    return {name: print_ and _digest(print_) for name, print_ in prints.items()}


def _order(feed: Feed) -> str:
    """A hash of the first batch. With equal configuration and data it differs only if the code of
    the plan has changed."""
    rows = feed.plan.batch(0).rows
    numbers = [[[int(number) for number in segment] for segment in row] for row in rows]
    return _digest(json.dumps(numbers))


def _digest(text: str) -> str:
    """A digest that is short enough to be compared in the line of an error."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def compare(before: dict[str, Any], now: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(what is refused, what is told) of the changes between two `facts`, each as words.

    A path that only one of them has is ignored, because another version may have added it. The
    order of the data is named only if no other refused change explains it.
    """
    old, new = dict(_leaves(before)), dict(_leaves(now))
    if _one_place(old.get(START), new.get(START)):
        old.pop(START)
    if _is_compared_file(new.get(SYMBOLS)):
        old.pop(SYMBOLS, None)
    rows = {p: change_of(p) for p in sorted(old.keys() & new.keys()) if old[p] != new[p]}
    refused = [path for path, row in rows.items() if row.verdict == REFUSED and path != ORDER]
    if any(path.startswith(ORDERS) for path in refused):
        rows.pop(ORDER, None)
    words: dict[str, list[str]] = {REFUSED: [], TOLD: [], FREE: []}
    for path, row in rows.items():
        line = f"{path}: {_short(old[path])} there, {_short(new[path])} now ({row.reason})"
        words[row.verdict].append(line)
    return words[REFUSED], words[TOLD]


def _one_place(before: Any, now: Any) -> bool:
    """Whether two names are of one file or folder of this machine: runs/a, /home/me/runs/a/."""
    names = [name for name in (before, now) if isinstance(name, str) and os.path.exists(name)]
    return len(names) == 2 and os.path.samefile(*names)


def _is_compared_file(name: Any) -> bool:
    """Whether a vocabulary's name is a file that is there. `resume_check.check_resumed` has then
    compared its content with the run's symbols, and where it lies does not matter."""
    return isinstance(name, str) and os.path.exists(file_of(name))


def _leaves(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}", inner


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def read_facts(workdir: AnyPath) -> dict[str, Any] | None:
    """The facts of the run in `workdir`, None if there is none; without run.json, what its
    config.json says. Raises InputError if a file is damaged."""
    config, record = workdir / "config.json", workdir / FILE
    before: dict[str, Any] = {}
    try:
        if config.exists():
            before = {"facts": {"config": old_records.without_record(config)}}
        if record.exists():
            before = read_record(record)
        elif not before:
            return None
    except InputError as error:
        raise InputError(f"{error}; put it back, or use another --workdir") from error
    return before["facts"]


def not_compared(workdir: AnyPath) -> str:
    """Which facts of the run in `workdir` are in no file, so that no change of them is found; ""
    if all are there."""
    if (workdir / FILE).exists():
        return ""
    if (workdir / "config.json").exists():
        return f"no {FILE}: whether the data is that of the run is not known"
    return (
        f"no {FILE} and no config.json: whether settings and data are those of the run is not known"
    )


class Changes(NamedTuple):
    """What changed since a run began, as words: changes that a resume refuses, and others."""

    refused: list[str]
    told: list[str]


def changes(workdir: AnyPath, now: dict[str, Any]) -> Changes:
    """The changes since the run in `workdir` began; none if there is no run."""
    before = read_facts(workdir)
    if before is None:
        return Changes([], [])
    if "data" not in before:  # of version 0.1, which left no run.json
        before, now = (
            {**one, "config": old_records.in_rows(one["config"])} for one in (before, now)
        )
    return Changes(*compare(_completed(before), now))


def check_facts(workdir: AnyPath, now: dict[str, Any]) -> list[str]:
    """The messages about changes since the run began; InputError for refused changes."""
    refused, told = changes(workdir, now)
    if refused:
        raise InputError(
            f"--workdir {workdir} was started with another {'; '.join(refused)}; use what it was "
            "started with, or a new --workdir"
        )
    return told


def _completed(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts of an earlier version, with the entries of what it did not have: augmentation, an
    average of the parameters."""
    config = facts["config"]
    plain = json.loads(json.dumps(dataclasses.asdict(AugmentConfig())))
    for section, values in (("data", {"augment": plain}), ("optimizer", {"ema_decay": 0.0})):
        stored = config.get(section)
        if isinstance(stored, dict):
            config = {**config, section: {**values, **stored}}
    return {**facts, "config": config}


def with_start(workdir: AnyPath, now: dict[str, Any]) -> dict[str, Any]:
    """The content of run.json: the facts, and the starts so far with this one."""
    path = workdir / FILE
    starts = read_json(path).get("starts", []) if path.exists() else []
    start = {"date": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **surroundings()}
    undated = lambda one: {k: v for k, v in one.items() if k != "date"}  # noqa: E731
    if not starts or undated(starts[-1]) != undated(json.loads(json.dumps(start))):
        starts = [*starts, start]
    return {"facts": now, "starts": starts}


def surroundings() -> dict[str, Any]:
    """The code, the libraries and the devices of this process."""
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {
        "code": revision(),
        "versions": {"python": platform.python_version(), **versions},
        "devices": f"{jax.device_count()} {jax.devices()[0].device_kind}",
        "processes": jax.process_count(),
    }

"""Every kind of source is recognised and gives its utterances, and no file of it is lost."""

import contextlib
import io
import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.helpers.prepare_cases import OPTIONS
from tests.helpers.source_cases import CASES, EXTRAS, Row, noise, place_of
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.data.splits import list_splits
from w2v2_jax.errors import InputError
from w2v2_jax.prepare import work_units
from w2v2_jax.prepare.prepare import prepare
from w2v2_jax.prepare.sources import SOURCES, resolve

PLAIN = OPTIONS | {"holdout": {}}
KINDS = sorted(CASES)


class Prepared(NamedTuple):
    kind: str
    place: Path
    rows: list[Row]
    out: Path  # made at once
    told: str  # on the way


@pytest.fixture(scope="module", params=KINDS)
def case(request, tmp_path_factory):
    if request.param in EXTRAS:
        pytest.importorskip(EXTRAS[request.param])
    base = tmp_path_factory.mktemp("kind")
    (base / "in").mkdir()
    rows = CASES[request.param](base / "in")
    place, told = place_of(request.param, base / "in"), io.StringIO()
    with contextlib.redirect_stdout(told):
        prepare(str(place), base / "out", **PLAIN)
    kind = request.param.split("-")[0]
    return Prepared(kind, place, rows, base / "out", told.getvalue())


def rows_of(out):
    corpora = [open_corpus(f"{out}:{name}") for name in list_splits(out)]
    return sorted(
        Row(c.id(i), c.text(i), c.split, c.speaker(i), c.language(i))
        for c in corpora
        for i in range(len(c))
    )


def intake(out):
    return json.loads((out / list_splits(out)[0] / "report.json").read_text())["intake"]


def test_every_kind_has_a_case():
    assert set(SOURCES) - {"tfds"} == {name.split("-")[0] for name in CASES}


def test_a_place_is_recognised_by_what_lies_there_and_named(case):
    assert resolve(str(case.place)).kind == case.kind
    assert f"{case.place} is read as {case.kind}: " in case.told
    assert f"\n  read as {case.kind}: " in case.told
    assert intake(case.out)["read_as"] == case.kind
    if case.place.is_dir():
        assert resolve(f"folder:{case.place}").kind == case.kind


def test_it_gives_its_utterances_with_their_texts_splits_speakers_and_languages(case):
    assert rows_of(case.out) == sorted(case.rows)


# What is seen beside files: rows of validated.tsv in other tables; rows of three files.
ROWS = {"common_voice": 4, "parquet": 6 - 3}
LISTS = ("nemo", "kaldi", "lhotse", "manifest", "tarball")  # what they name lies anywhere


def test_every_file_is_used_rejected_or_passed_over(case):
    account = intake(case.out)
    passed = sum(entry["count"] for entry in account["passed_over"].values())
    assert account["seen"] == account["used"] + account["rejected"] + passed
    assert account["used"] == len(case.rows) and account["rejected"] == 0
    if case.kind not in LISTS:
        files = sum(len(names) for _, _, names in os.walk(case.place))
        assert account["seen"] == files + ROWS.get(case.kind, 0)


def test_pieces_hold_the_same_bytes(case, tmp_path, monkeypatch):
    monkeypatch.setattr(work_units, "PART", 2)
    prepare(str(case.place), tmp_path / "pieces", **PLAIN, resumable=True)
    names = sorted(p.relative_to(case.out) for p in case.out.rglob("*.*"))
    assert len(names) >= 4
    for name in names:
        assert (case.out / name).read_bytes() == (tmp_path / "pieces" / name).read_bytes(), name


SAMPLES = {  # id -> number of the noise, first and last second
    "nemo": {"wavs/1.wav:0.25+0.5": (1, 0.25, 0.75), "wavs/1.wav:0.75+0.25": (1, 0.75, 1.0)},
    "kaldi": {"u1": (0, 0.1, 0.4), "u2": (0, 0.5, 0.9), "u3": (1, 0.0, 1.0)},
    "lhotse": {"c0": (0, 0.25, 0.75), "s2": (1, 0.5, 0.7), "c2": (2, 0.0, 0.75)},
}


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_a_segment_is_its_stretch_of_the_recording(kind, tmp_path):
    CASES[kind](tmp_path / "in")
    prepare(f"{kind}:{tmp_path}/in", tmp_path / "out", **PLAIN | {"split": "all"})
    corpus = open_corpus(tmp_path / "out")
    for i in range(len(corpus)):
        if corpus.id(i) in SAMPLES[kind]:
            number, first, last = SAMPLES[kind][corpus.id(i)]
            whole = np.rint(noise(number, 1.0) * 32768)
            expected = whole[round(16_000 * first) : round(16_000 * last)]
            assert corpus.num_samples[i] == len(expected)
            assert np.abs(corpus.read(i, 0, len(expected)) - expected).max() <= 1


@pytest.mark.parametrize(
    ("kind", "where"),
    [("common_voice", "train.tsv"), ("metadata", "train/metadata.csv"),
     ("ljspeech", "metadata.csv"), ("nemo", "dev_manifest.json"), ("kaldi", "data/train"),
     ("manifest", "valid.tsv"), ("lhotse", "small_cuts_train-clean.jsonl.gz"),
     ("librispeech", "dev-clean"), ("libri_light", "1h"), ("libritts", "dev-clean"),
     ("mls", "mls_polish_opus/dev")],
)  # fmt: skip
def test_a_part_of_a_source_is_recognised_too(kind, where, tmp_path):
    rows = CASES[kind](tmp_path / "in")
    resolved = resolve(f"{tmp_path}/in/{where}")
    assert resolved.kind == kind
    prepare(str(resolved.place), tmp_path / "out", **PLAIN)
    read = {(r.text, r.split) for r in rows_of(tmp_path / "out")}
    assert read and read <= {(r.text, r.split) for r in rows}
    assert len(read) < len(rows) or kind in ("ljspeech", "lhotse")


def test_a_place_that_may_be_two_kinds_is_asked_about_in_one_line(tmp_path):
    for kind in ("common_voice", "kaldi"):
        CASES[kind](tmp_path)
    with pytest.raises(InputError, match=r"may be common_voice \(train.tsv .*or kaldi.*--as"):
        resolve(str(tmp_path))
    assert resolve(str(tmp_path), "kaldi").kind == "kaldi"
    assert resolve(f"folder:{tmp_path}", "folder").kind == "folder"

"""Sources whose folders or files are links: data sets often lie on another disk."""

import os

import pytest

from tests.helpers.prepare_cases import OPTIONS
from tests.helpers.source_cases import CASES, EXTRAS, place_of, put
from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.prepare import prepare
from w2v2_jax.prepare.sources import open_source, resolve


def content(place):
    read = open_source(str(place), account=Account())
    return sorted((u.id, u.text, u.split, u.speaker, u.language) for u in read)


@pytest.mark.parametrize("deep", [False, True], ids=["top", "every"])
@pytest.mark.parametrize("case", sorted(set(CASES) - {"tarball"}))
def test_folders_that_are_links_are_read_as_if_they_lay_there(case, deep, tmp_path):
    if case in EXTRAS:
        pytest.importorskip(EXTRAS[case])
    (tmp_path / "in").mkdir()
    CASES[case](tmp_path / "in")
    place = place_of(case, tmp_path / "in")
    kind, before = resolve(str(place)).kind, content(place)
    folders = [d for d, _, _ in os.walk(place) if d != str(place)]
    folders = folders[::-1] if deep else [d for d in folders if os.path.dirname(d) == str(place)]
    (tmp_path / "elsewhere").mkdir()
    for number, folder in enumerate(sorted(folders, key=len, reverse=True)):
        target = tmp_path / "elsewhere" / f"{number}"
        os.rename(folder, target)
        os.symlink(target, folder)
    assert resolve(str(place)).kind == kind
    assert content(place) == before


@pytest.mark.parametrize(
    "content", [None, "a,b".encode("utf-16"), b"file_name,text\ncaf\xe9.wav,x\n"]
)
def test_a_table_of_one_split_that_cannot_be_read_is_no_table_to_pass_over(content, tmp_path):
    CASES["metadata"](tmp_path / "in")
    table = tmp_path / "in/test/metadata.csv"
    if content is None:
        os.symlink(tmp_path / "not mounted", table)
    else:
        table.write_bytes(content)
    with pytest.raises(InputError, match=f"{table}: (a link to nothing|UTF-16 text|not UTF-8)"):
        prepare(str(tmp_path / "in"), tmp_path / "out", **OPTIONS | {"holdout": {}})


def test_an_archive_folder_that_is_a_link_is_looked_into(tmp_path):
    CASES["librispeech"](tmp_path / "disk")
    os.makedirs(tmp_path / "in")
    os.symlink(tmp_path / "disk", tmp_path / "in" / "speech")
    assert resolve(str(tmp_path / "in")).kind == "librispeech"
    CASES["ljspeech"](tmp_path / "other")
    os.makedirs(tmp_path / "one")
    os.symlink(tmp_path / "other", tmp_path / "one" / "LJSpeech-1.1")
    assert resolve(str(tmp_path / "one")).kind == "ljspeech"


def test_links_in_a_circle_are_no_source_of_any_kind(tmp_path):
    put(tmp_path / "in" / "a.wav", 0)
    for name in ("train", "dev", "up"):
        os.symlink(tmp_path / "in", tmp_path / "in" / name)
    assert resolve(str(tmp_path / "in")).kind == "folder"
    os.makedirs(tmp_path / "only")
    os.symlink(tmp_path / "only", tmp_path / "only" / "again")
    assert resolve(str(tmp_path / "only")).kind == "folder"


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
@pytest.mark.parametrize(
    ("case", "name"),
    [("folder", "transcripts.tsv"), ("manifest", "valid.wrd"), ("kaldi", "data/train/text")],
)
def test_a_table_of_transcripts_that_cannot_be_read_is_never_taken_for_none(
    case, name, kind, tmp_path
):
    (tmp_path / "in").mkdir()
    CASES[case](tmp_path / "in")
    table = tmp_path / "in" / name
    table.unlink(missing_ok=True)
    if kind == "link":
        os.symlink(tmp_path / "not mounted", table)
    elif kind == "folder":
        table.mkdir()
    else:
        os.mkfifo(table)
    with pytest.raises(InputError, match=f"{table}: (a link to nothing|is a folder|not a plain)"):
        prepare(f"{case}:{tmp_path}/in", tmp_path / "out", **OPTIONS | {"holdout": {}})

"""The quickstart's sample speech: packages, texts, splits. No network."""

import gzip
import hashlib
import io
import itertools
import random
import tarfile

import numpy as np
import pytest
import soundfile

from w2v2_jax.errors import InputError, run_command
from w2v2_jax.sample_speech import command as sample_speech
from w2v2_jax.sample_speech import packages as sample_packages
from w2v2_jax.sample_speech import texts as sample_texts


def deb(files: dict[str, bytes], *, compression: str = "xz") -> bytes:
    """A .deb: an `ar` archive of debian-binary, control.tar and data.tar, padded to even sizes."""

    def tar(contents: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
            directory = tarfile.TarInfo("./usr")
            directory.type = tarfile.DIRTYPE
            archive.addfile(directory)
            for name, content in contents.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    members = {"debian-binary": b"2.0", f"control.tar.{compression}": tar({"control": b"x"})}
    members[f"data.tar.{compression}"] = tar(files)
    archive = b"!<arch>\n"
    for name, content in members.items():
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        archive += content + b"\n" * (len(content) % 2)
    return archive


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Small packages in place of the real ones: three clips and three texts a language."""
    G722 = pytest.importorskip("G722").G722
    tone = (3000 * np.sin(np.arange(16_000) * 0.2)).astype(np.int16)
    sound = bytes(G722(16_000, 64_000).encode(tone))
    contents = {}
    for language in sample_speech.SPEAKERS:
        texts = b"; comment\nhello: Hello there.\ndigits/1: one\nbeep: [a beep]\nodd: see 3D\n"
        if language == "fr":
            french = "\ufeff; un\nhello: L\u2019été, c'est «\u00a0là-bas\u00a0».\nodd: tapez 3\n"
            texts = french.encode()
        documents = {f"usr/share/doc/core-sounds-{language}.txt.gz": gzip.compress(texts)}
        contents[language] = deb(documents)
        clips = {"hello": sound, "digits/1": sound, "odd": sound, "beep": sound, "tiny": sound[:99]}
        contents[f"{language}-g722"] = deb(
            {f"usr/share/asterisk/sounds/voice/{name}.g722": data for name, data in clips.items()}
        )
    directory = tmp_path / "out" / "packages"
    directory.mkdir(parents=True)
    hashes = {}
    for key, content in contents.items():
        (directory / f"asterisk-core-sounds-{key}_1.6.1-1_all.deb").write_bytes(content)
        hashes[key] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(sample_packages, "SHA256", hashes)
    return directory


# ---- packages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["xz", "gz"])
def test_a_deb_gives_its_regular_files(tmp_path, compression):
    path = tmp_path / "a.deb"
    files = {"usr/share/a": b"odd", "usr/share/b/c": b"even"}
    path.write_bytes(deb(files, compression=compression))
    assert dict(sample_packages.deb_members(path)) == files


@pytest.mark.parametrize("content", [b"", b"not an archive", deb({})[:100]])
def test_a_file_that_is_no_deb_is_an_input_error(tmp_path, content):
    path = tmp_path / "a.deb"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.deb is not a Debian package"):
        list(sample_packages.deb_members(path))


def test_a_cached_package_with_another_hash_is_an_input_error(packages):
    damaged = packages / "asterisk-core-sounds-fr-g722_1.6.1-1_all.deb"
    damaged.write_bytes(damaged.read_bytes() + b"x")
    with pytest.raises(InputError, match=r"fr-g722.*SHA-256.*expected"):
        sample_packages.fetch_packages(packages, sample_packages.SHA256)


def test_a_downloaded_package_with_another_hash_is_an_input_error_and_is_not_kept(
    packages, monkeypatch
):
    missing = packages / "asterisk-core-sounds-en_1.6.1-1_all.deb"
    missing.unlink()

    def download(names, directory, mirror):
        assert (names, mirror) == (["en"], "file:///mirror")
        (directory / missing.name).write_bytes(b"something else")

    monkeypatch.setattr(sample_packages, "_download_from_mirror", download)
    with pytest.raises(InputError, match=r"SHA-256.*prepare --source folder:DIR"):
        sample_packages.fetch_packages(packages, sample_packages.SHA256, mirror="file:///mirror")
    assert not missing.exists()


def test_a_mirror_is_read_at_its_pool_path(packages, tmp_path):
    pool = tmp_path / "mirror/pool/main/a/asterisk-core-sounds"
    pool.mkdir(parents=True)
    for path in packages.iterdir():
        path.rename(pool / path.name)
    found = sample_packages.fetch_packages(
        packages, sample_packages.SHA256, mirror=(tmp_path / "mirror").as_uri()
    )
    assert all(path.exists() for path in found.values())
    assert found.keys() == sample_packages.SHA256.keys()


def test_without_apt_the_error_names_both_ways_and_the_way_out(packages, monkeypatch):
    next(packages.iterdir()).unlink()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError) as error:
        sample_packages.fetch_packages(packages, sample_packages.SHA256)
    for part in ("apt-get download:", "private state directory:", "--mirror", "folder:DIR"):
        assert part in str(error.value)


# ---- texts and splits ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Press 1, or 2 to exit.", "PRESS ONE OR TWO TO EXIT"),
        ("...letters of your party's name...", "LETTERS OF YOUR PARTY'S NAME"),
        ('a polite "don\u2019t call" menu', "A POLITE DON'T CALL MENU"),
        ("Call-Forward on Busy!", "CALL FORWARD ON BUSY"),
        ("at [@]", "AT"),
        ("A.M.", "A M"),
        ("fourtieth", "FORTIETH"),
        ("[sound of monkeys]", ""),
        ("Leave a message. (tone plays)", ""),
        ("<beep ascending>", ""),
        ("press # to enter", ""),
        ("3D audio", ""),
        ("dial 500", ""),
        ("a 28.8 modem", ""),
        ("visit www.asterisk.org.", ""),
        ("déjà vu", ""),
        (" ... ", ""),
    ],
)
def test_texts_are_normalised_or_left_out(text, expected):
    assert sample_texts.normalise_transcript(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("¿Está «listo»?", "ESTÁ LISTO"),
        ("l\u2019attente \u2013 c'est-à-dire…", "L'ATTENTE C'EST À DIRE"),
        ("Нажмите «решётку».", "НАЖМИТЕ РЕШЁТКУ"),
        ("e\u0301te\u0301", "ÉTÉ"),  # composed
        ("Presione 1", ""),
        ("[sonidos]", ""),
        ("включить / выключить", ""),
        (" ... ", ""),
    ],
)
def test_texts_of_other_languages_are_normalised_or_left_out(text, expected):
    assert sample_texts.normalise_foreign(text) == expected


def test_near_equal_transcripts_are_one_group_and_others_are_not():
    groups = sample_texts.group_transcripts(
        [
            "PRESS ONE TO SEND IT",
            "PRESS TWO TO SEND IT",
            "TWO PRESS TO SEND IT NOW",
            "PLEASE HOLD",
            "PLEASE TRY AGAIN",
            "PLEASE HOLD",
        ]
    )
    assert sorted(map(len, groups)) == [1, 1, 3]


def random_transcripts(seed: int) -> list[str]:
    rng = random.Random(seed)
    vocabulary = [f"{a}{b}" for a in "ABCDEF" for b in "AEIOU"]
    texts = [" ".join(rng.choices(vocabulary, k=rng.randint(1, 8))) for _ in range(300)]
    return texts + rng.choices(texts, k=60)


def test_no_transcript_nor_its_near_copy_is_on_two_sides():
    texts = random_transcripts(0)
    split = dict(zip(texts, sample_texts.split_transcripts(texts, [1.0] * len(texts)), strict=True))
    repeated = sample_texts.split_transcripts(texts, [1.0] * len(texts))
    assert all(split[text] == side for text, side in zip(texts, repeated, strict=True))
    for a, b in itertools.combinations(split, 2):
        shared, longest = set(a.split()) & set(b.split()), max(len(a.split()), len(b.split()))
        if len(shared) >= 0.7 * longest:
            assert split[a] == split[b], (a, b)


def test_splits_do_not_depend_on_the_order_of_the_clips():
    texts = random_transcripts(1)
    sides = sample_texts.split_transcripts(texts, [1.0] * len(texts))
    backward = sample_texts.split_transcripts(texts[::-1], [1.0] * len(texts))
    assert backward == sides[::-1]


def test_splits_are_about_seventy_ten_twenty_by_time():
    texts = random_transcripts(2)
    seconds = [1.0 + len(text) / 10 for text in texts]
    sides = sample_texts.split_transcripts(texts, seconds)
    for name, share in {"train": 0.7, "dev": 0.1, "test": 0.2}.items():
        time = sum(s for s, side in zip(seconds, sides, strict=True) if side == name)
        assert time / sum(seconds) == pytest.approx(share, abs=0.03)


def test_one_word_prompts_and_long_groups_are_always_train():
    texts = ["A", "B", "A B C D", "E F G H"] * 10
    sides = sample_texts.split_transcripts(texts, [1.0, 1.0, 1.0, 3.0] * 10)
    assert set(sides[0::4] + sides[1::4] + sides[3::4]) == {"train"}
    assert set(sides[2::4]) != {"train"}


# ---- the whole command ---------------------------------------------------------------------------


def test_the_command_writes_audio_index_and_licence_and_runs_twice(packages, capsys, monkeypatch):
    out = packages.parent
    assert run_command(sample_speech.main, ["--out", str(out)]) == 0
    rows = [line.split("\t") for line in (out / "audio/transcripts.tsv").read_text().splitlines()]
    english = {path: (text, split) for path, text, split, _ in rows if path.startswith("en/")}
    assert english["en/hello.flac"][0] == "HELLO THERE"
    assert english["en/digits/1.flac"] == ("ONE", "train")
    assert english["en/odd.flac"] == ("", "unlabeled")
    assert len(english) == 3  # neither the beep nor the clip under half a second
    assert {(t, s) for path, t, s, _ in rows if path[:3] != "en/"} == {("", "unlabeled")}
    assert len(rows) == 15
    info = soundfile.info(out / "audio/fr/digits/1.flac")
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    assert info.duration == pytest.approx(1.0)
    printed = capsys.readouterr().out
    assert "Allison Smith" in printed and "CC-BY-SA-3.0" in (out / "LICENCE.txt").read_text()
    assert "wrote" in printed

    first = (out / "audio/transcripts.tsv").read_text()
    monkeypatch.setattr(sample_speech, "decode_all", lambda *_: pytest.fail("decoded twice"))
    assert run_command(sample_speech.main, ["--out", str(out)]) == 0
    assert (out / "audio/transcripts.tsv").read_text() == first


def test_a_damaged_clip_is_decoded_again_and_other_recordings_are_left_alone(packages, capsys):
    out = packages.parent
    assert run_command(sample_speech.main, ["--out", str(out)]) == 0
    clip = out / "audio" / "en" / "hello.flac"
    whole = clip.read_bytes()
    clip.write_bytes(b"")
    assert run_command(sample_speech.main, ["--out", str(out)]) == 0
    assert clip.read_bytes() == whole
    mine = "a.wav\tmy own text\n"
    (out / "audio" / "transcripts.tsv").write_text(mine)
    capsys.readouterr()
    assert run_command(sample_speech.main, ["--out", str(out)]) == 2
    assert "is of other recordings ('a.wav')" in capsys.readouterr().err
    assert (out / "audio" / "transcripts.tsv").read_text() == mine


def test_with_texts_all_every_language_has_transcripts_and_splits(packages):
    out = packages.parent
    assert run_command(sample_speech.main, ["--out", str(out), "--texts", "all"]) == 0
    rows = [line.split("\t") for line in (out / "audio/transcripts.tsv").read_text().splitlines()]
    text = {path: (text, split) for path, text, split, _ in rows}
    assert len(text) == 15
    assert text["fr/hello.flac"][0] == "L'ÉTÉ C'EST LÀ BAS"
    assert text["fr/odd.flac"] == text["fr/digits/1.flac"] == ("", "unlabeled")
    for language in ("en", "es", "it", "ru"):
        assert text[f"{language}/digits/1.flac"] == ("ONE", "train")
        assert text[f"{language}/hello.flac"][0] == "HELLO THERE"
    assert "unlabeled" not in {split for path, (text, split) in text.items() if "hello" in path}


def test_only_the_packages_of_the_texts_asked_for_are_needed(packages):
    for language in ("es", "fr", "it", "ru"):
        (packages / f"asterisk-core-sounds-{language}_1.6.1-1_all.deb").unlink()
    assert run_command(sample_speech.main, ["--out", str(packages.parent)]) == 0

"""A small corpus of every kind that `prepare` reads, and what is to be read of it."""

import gzip
import io
import json
import tarfile
import zipfile
from typing import NamedTuple

import numpy as np
import soundfile


class Row(NamedTuple):
    """What an utterance of a prepared corpus says."""

    id: str
    text: str
    split: str
    speaker: str = ""
    language: str = ""


def noise(number, seconds=0.2):
    """[S] of its own for each number."""
    return 0.1 * np.random.default_rng(number).standard_normal(int(16_000 * seconds))


def put(path, number, seconds=0.2, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(number, seconds), 16_000, **options)


def sound(number, form="WAV"):
    file = io.BytesIO()
    soundfile.write(file, noise(number), 16_000, format=form)
    return file.getvalue()


def lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), "utf-8")


def objects(path, *rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def common_voice(folder):
    names = [f"common_voice_cy_{k}.mp3" for k in range(7)]
    for k, name in enumerate(names):
        put(folder / "clips" / name, k, 0.5, format="MP3")
    head = "client_id\tpath\tsentence\tup_votes\tlocale"
    row = lambda k, text: f"ana{k}\t{names[k]}\t{text}\t2\tcy"  # noqa: E731
    lines(folder / "train.tsv", head, row(0, 'Dyma "un".'), row(1, "dau"))
    lines(folder / "dev.tsv", head, row(2, "tri"))
    lines(folder / "test.tsv", head, row(3, "pedwar"))
    every = [row(0, 'Dyma "un".'), row(1, "dau"), row(2, "tri"), row(3, "pedwar"), row(4, "pump")]
    lines(folder / "validated.tsv", head, *every)
    lines(folder / "invalidated.tsv", head, row(5, "chwech"))
    lines(folder / "reported.tsv", "sentence\treason", "dau\twrong")
    texts = ['Dyma "un".', "dau", "tri", "pedwar", "pump", "chwech"]
    splits = ["train", "train", "dev", "test", "validated", "invalidated"]
    return [
        Row(names[k], texts[k], splits[k], f"ana{k}", "cy") for k in range(6)
    ]  # names[6]: no table has it


def metadata(folder):
    for k, name in enumerate(("train/a.wav", "train/x/b.wav", "test/c.flac", "test/d.wav")):
        put(folder / name, k)
    lines(
        folder / "train/metadata.csv",
        "file_name,transcription,speaker_id,language",
        'a.wav,"Hello, ""world""",7,en',
        "x/b.wav,two,8,",
    )
    objects(folder / "test/metadata.jsonl", {"file_name": "c.flac", "transcription": "Größe"})
    return [
        Row("test/c.flac", "Größe", "test"),
        Row("train/a.wav", 'Hello, "world"', "train", "7", "en"),
        Row("train/x/b.wav", "two", "train", "8"),
    ]  # test/d.wav: no line names it


def parquet(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    def table(numbers):
        audio = [{"bytes": sound(k, "FLAC"), "path": f"{k}.flac"} for k in numbers]
        columns = {"audio": audio, "sentence": [f"text {k}" for k in numbers]}
        columns |= {"client_id": [f"s{k}" for k in numbers], "locale": ["eu"] * len(numbers)}
        return pa.table(columns)

    (folder / "data").mkdir(parents=True)
    pq.write_table(table(range(3)), folder / "data/train-00000-of-00002.parquet", row_group_size=2)
    pq.write_table(table([3]), folder / "data/train-00001-of-00002.parquet")
    made = table([4, 5])
    (folder / "validation").mkdir()
    path = str(folder / "validation/data-00000-of-00001.arrow")
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, made.schema) as writer:
        writer.write_table(made)
    (folder / "README.md").write_text("a card")
    (folder / "dataset_dict.json").write_text("{}")
    split = lambda k: "train" if k < 4 else "validation"  # noqa: E731
    return [Row(f"{k}.flac", f"text {k}", split(k), f"s{k}", "eu") for k in range(6)]


def nemo(folder):
    for k in range(3):
        put(folder / "wavs" / f"{k}.wav", k, 1.0)
    objects(
        folder / "train_manifest.json",
        {"audio_filepath": "wavs/0.wav", "duration": 1.0, "text": "zero", "speaker": 3},
        {"audio_filepath": "wavs/1.wav", "offset": 0.25, "duration": 0.5, "text": "one"},
        {"audio_filepath": "wavs/1.wav", "offset": 0.75, "duration": 0.25, "text": "rest"},
    )
    there = str(folder / "wavs/2.wav")
    objects(folder / "dev_manifest.json", {"audio_filepath": there, "text": "two", "lang": "en"})
    return [
        Row(there, "two", "dev", "", "en"),
        Row("wavs/0.wav", "zero", "train", "3"),
        Row("wavs/1.wav:0.25+0.5", "one", "train"),
        Row("wavs/1.wav:0.75+0.25", "rest", "train"),
    ]


def kaldi(folder):
    for k in range(3):
        put(folder / "audio" / f"{k}.flac", k, 1.0)
    train, dev = folder / "data/train", folder / "data/dev"
    lines(train / "wav.scp", "rec0 audio/0.flac", f"rec1 cat {folder}/audio/1.flac |")
    lines(train / "segments", "u1 rec0 0.1 0.4", "u2 rec0 0.5 0.9", "u3 rec1 0.0 -1")
    lines(train / "text", "u1 ONE", "u2 TWO  WORDS", "u3 THREE")
    lines(train / "utt2spk", "u1 ana", "u2 bob", "u3 bob")
    lines(dev / "wav.scp", "v audio/2.flac")
    lines(dev / "text", "v FOUR")
    lines(dev / "utt2lang", "v fi")
    return [
        Row("u1", "ONE", "train", "ana"),
        Row("u2", "TWO WORDS", "train", "bob"),
        Row("u3", "THREE", "train", "bob"),
        Row("v", "FOUR", "dev", "", "fi"),
    ]


def ljspeech(folder):
    for k in range(4):
        put(folder / "wavs" / f"LJ001-{k}.wav", k)
    lines(folder / "metadata.csv", "LJ001-0|Dr. A|Doctor A", 'LJ001-1|"So", it|', "LJ001-2|2|two")
    (folder / "README").write_text("about")
    texts = ["Doctor A", '"So", it', "two"]
    return [Row(f"wavs/LJ001-{k}.wav", text, "train") for k, text in enumerate(texts)]


def timit(folder):
    phones = "0 50 h#\n50 900 sh\n900 1500 ix\n1500 1800 q\n1800 3200 tcl\n"
    rows = []
    for k, (split, speaker, name) in enumerate(
        [("TRAIN", "FCJF0", "SA1"), ("TRAIN", "FCJF0", "SX37"), ("TEST", "MDAB0", "SI1039")]
    ):
        place = folder / split / "DR1" / speaker / name
        put(place.with_suffix(".WAV"), k, format="NIST")
        place.with_suffix(".PHN").write_text(phones)
        place.with_suffix(".TXT").write_text("0 3200 She had your dark suit.\n")
        place.with_suffix(".WRD").write_text("50 900 she\n")
        name = f"{split}/DR1/{speaker}/{name}.WAV"
        rows.append(Row(name, "h# sh ix q tcl", split.lower(), speaker))
    return rows


def librispeech(folder):
    rows = []
    for k, (subset, speaker) in enumerate([("train-clean-100", 19), ("dev-clean", 84)]):
        chapter = folder / subset / str(speaker) / "7"
        stem = f"{speaker}-7-0000"
        put(chapter / f"{stem}.flac", k)
        lines(chapter / f"{speaker}-7.trans.txt", f"{stem} CHAPTER {subset.upper()}")
        name = f"{subset}/{speaker}/7/{stem}.flac"
        rows.append(Row(name, f"CHAPTER {subset.upper()}", subset, str(speaker)))
    (folder / "SPEAKERS.TXT").write_text("; about")
    return rows


def libri_light(folder):
    rows = []
    for k, place in enumerate(("1h/0/clean/26/49", "1h/3/other/8/9", "9h/clean/19/19")):
        speaker, chapter = place.split("/")[-2:]
        stem = f"{speaker}-{chapter}-0001"
        put(folder / place / f"{stem}.flac", k)
        lines(folder / place / f"{speaker}-{chapter}.trans.txt", f"{stem} WORDS {k}")
        rows.append(Row(f"{place}/{stem}.flac", f"WORDS {k}", place.split("/")[0], speaker))
    return rows


def libritts(folder):
    rows = []
    for k, subset in enumerate(("train-clean-100", "dev-clean")):
        chapter, stem = folder / subset / "19" / "198", f"19_198_{k:06}_000000"
        put(chapter / f"{stem}.wav", k)
        lines(chapter / f"{stem}.original.txt", f"Chapter {k}.")
        lines(chapter / f"{stem}.normalized.txt", f"Chapter {['one', 'two'][k]}.")
        lines(chapter / "19_198.trans.tsv", f"{stem}\tChapter {k}.\tChapter.")
        lines(chapter / "19_198.book.tsv", f"{stem}\t12.5")
        name = f"{subset}/19/198/{stem}.wav"
        rows.append(Row(name, f"Chapter {['one', 'two'][k]}.", subset, "19"))
    (folder / "speakers.tsv").write_text("READER\tGENDER\n")
    return rows


def mls(folder):
    folder, rows = folder / "mls_polish_opus", []
    for k, split in enumerate(("train", "dev")):
        name, suffix = f"7_8{k}_000001", (".opus", ".flac")[k]
        form = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
        put(folder / split / "audio" / "7" / f"8{k}" / f"{name}{suffix}", k, **form)
        lines(folder / split / "transcripts.txt", f"{name}\tdzień {k}")
        lines(folder / split / "segments.txt", f"{name}\thttp://x/a.mp3\t1.0\t1.2")
        rows.append(Row(f"{split}/audio/7/8{k}/{name}{suffix}", f"dzień {k}", split, "7", "pl"))
    put(folder / "dev/audio/7/80/7_80_000009.flac", 5)  # no line names it
    lines(folder / "train/limited_supervision/9hr/handles.txt", "7_80_000001")
    (folder / "metainfo.txt").write_text("SPEAKER | GENDER\n")
    return rows


def tarball(folder):
    inner = folder / "inner"
    rows = librispeech(inner / "LibriSpeech")
    put(inner / "LibriSpeech/dev-clean/84/7/84-7-0001.flac", 7)
    with tarfile.open(folder / "speech.tar.gz", "w:gz") as archive:
        archive.add(inner / "LibriSpeech", "LibriSpeech")
    alone = Row("dev-clean/84/7/84-7-0001.flac", "", "dev-clean")
    return [row._replace(id=f"LibriSpeech/{row.id}") for row in [*rows, alone]]


def manifest(folder):
    put(folder / "audio/x/a.wav", 0)
    with zipfile.ZipFile(folder / "audio/some.zip", "w", zipfile.ZIP_STORED) as archive:
        for k in (1, 2):
            archive.writestr(f"{k}.flac", sound(k, "FLAC"))
    data = (folder / "audio/some.zip").read_bytes()
    places = [(data.index(sound(k, "FLAC")), len(sound(k, "FLAC"))) for k in (1, 2)]
    slices = [f"some.zip:{first}:{count}" for first, count in places]
    lines(folder / "train.tsv", "audio", "x/a.wav\t3200", f"{slices[0]}\t3200")
    lines(folder / "train.ltr", "H I | Y O U |", "O N E |")
    lines(folder / "valid.tsv", f"{folder}/audio", f"{slices[1]}\t3200")
    lines(folder / "valid.wrd", "two")
    return [
        Row("x/a.wav", "HI YOU", "train"),
        Row(slices[0], "ONE", "train"),
        Row(slices[1], "two", "valid"),
    ]


def recording(name, path, channels=(0,)):
    source = {"type": "file", "channels": list(channels), "source": str(path)}
    return {"id": name, "sources": [source], "sampling_rate": 16_000, "num_samples": 16_000,
            "duration": 1.0, "channel_ids": list(channels)}  # fmt: skip


def supervision(name, record, start, duration, text, **more):
    return {"id": name, "recording_id": record, "start": start, "duration": duration,
            "channel": 0, "text": text, **more}  # fmt: skip


def lhotse(folder):
    for k in range(3):
        put(folder / "audio" / f"{k}.wav", k, 1.0)
    one = [supervision("s0", "r0", 0.0, 0.5, "one", speaker="ana", language="fi")]
    two = [supervision("s1", "r1", 0.1, 0.3, "two"), supervision("s2", "r1", 0.5, 0.2, "three")]
    cut = {"duration": 0.75, "channel": 0, "type": "MonoCut"}
    objects(
        folder / "small_cuts_train-clean.jsonl.gz",
        cut | {"id": "c0", "start": 0.25, "supervisions": one,
               "recording": recording("r0", "audio/0.wav")},
        cut | {"id": "c1", "start": 0.0, "supervisions": two,
               "recording": recording("r1", "audio/1.wav")},
        cut | {"id": "c2", "start": 0.0, "supervisions": [],
               "recording": recording("r2", folder / "audio/2.wav")},
        {"id": "m", "type": "MixedCut", "tracks": []},
    )  # fmt: skip
    return [
        Row("c0", "one", "train-clean", "ana", "fi"),
        Row("s1", "two", "train-clean"),
        Row("s2", "three", "train-clean"),
        Row("c2", "", "train-clean"),
    ]


def lhotse_pairs(folder):
    for k in range(2):
        put(folder / "audio" / f"{k}.wav", k, 1.0)
    rows = (recording(f"r{k}", f"audio/{k}.wav") for k in range(2))
    objects(folder / "my_recordings_dev.jsonl", *rows)
    objects(
        folder / "my_supervisions_dev.jsonl.gz",
        supervision("s0", "r0", 0.0, 0.5, "one", speaker="ana"),
        supervision("s1", "r0", 0.5, 0.5, "two"),
        supervision("gone", "r9", 0.5, 0.5, "nowhere"),
    )
    return [Row("s0", "one", "dev", "ana"), Row("s1", "two", "dev"), Row("r1", "", "dev")]


def folder(folder):
    put(folder / "a.wav", 0)
    put(folder / "b/c.wav", 1)
    lines(folder / "transcripts.tsv", "a.wav\tone\tdev\tana")
    (folder / "b/c.txt").write_text("two")
    return [Row("a.wav", "one", "dev", "ana"), Row("b/c.wav", "two", "train")]


# Name -> what makes it in an empty folder; the kind is what stands before a hyphen.
CASES = {
    "folder": folder, "manifest": manifest, "common_voice": common_voice, "metadata": metadata,
    "parquet": parquet, "nemo": nemo, "kaldi": kaldi, "ljspeech": ljspeech, "timit": timit,
    "librispeech": librispeech, "libri_light": libri_light,
    "libritts": libritts, "mls": mls, "tarball": tarball, "lhotse": lhotse,
    "lhotse-pairs": lhotse_pairs,
}  # fmt: skip
PLACES = {
    "tarball": "speech.tar.gz",
    "mls": "mls_polish_opus",
}  # what is named of the folder, where that is not itself
EXTRAS = {"parquet": "pyarrow"}


def place_of(case, folder):
    return folder / PLACES[case] if case in PLACES else folder

"""Small whole files of every kind that is read from others, and the readers that take them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from tests.helpers import fuzz_own, source_cases
from tests.helpers.interop_cases import LAYER_NORM, PRETRAINING, VOCABULARY, random_checkpoint
from w2v2_jax import compare
from w2v2_jax.checkpoint.description import describe
from w2v2_jax.data.audio import AudioError, audio_blocks
from w2v2_jax.data.corpus import Entry, open_corpus
from w2v2_jax.data.writer import CorpusWriter
from w2v2_jax.decode import emissions
from w2v2_jax.decode.lexicon import read_lexicon
from w2v2_jax.decode.make import settings
from w2v2_jax.errors import InputError
from w2v2_jax.evaluation.phone_labels import read_labels
from w2v2_jax.interop import (
    dictionary,
    fairseq,
    fairseq2,
    hugging_face,
    lora,
    safetensors_file,
    sentencepiece_model,
    torch_pickle,
    torch_read,
    torchaudio_file,
)
from w2v2_jax.interop.files import Imported
from w2v2_jax.interop.inferred import FileHints
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.ngram import arpa, backoff
from w2v2_jax.paths import read_json
from w2v2_jax.prepare import clips, timed_texts
from w2v2_jax.prepare.prepare import read_ids
from w2v2_jax.prepare.sources import SOURCES, open_source, resolve
from w2v2_jax.prepare.utterance import Clip
from w2v2_jax.sample_speech.packages import deb_members
from w2v2_jax.vocabulary import load_vocabulary

Files = dict[str, bytes]  # name -> content
TINY = ModelConfig(
    conv_layers=((8, 10, 5), (8, 3, 2), (8, 2, 2)), d_model=16, num_layers=2, num_heads=2,
    ffn_dim=32, position_kernel=8, position_groups=2, entries=8, code_dim=8, final_dim=8,
    **LAYER_NORM,
)  # fmt: skip


class Case(NamedTuple):
    """seeds: makes whole sets of files, given an empty folder; read: what must cope with them."""

    seeds: Callable[[Path], list[Files]]
    read: Callable[[Path], object]


def taken(folder: Path) -> Files:
    """The files of a folder, by their names relative to it."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@functools.cache
def tuned():
    return random_checkpoint(TINY, parts=("encoder", "head"), vocabulary=VOCABULARY)


@functools.cache
def pretrained():
    return random_checkpoint(TINY, parts=PRETRAINING)


def sound(seconds: float = 0.1, rate: int = 16000) -> np.ndarray:
    times = np.arange(int(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * 300 * times)).astype(np.float32)


FORMATS = (
    ("wav", "PCM_16"), ("wav", "FLOAT"), ("wav", "PCM_U8"), ("wav", "ULAW"), ("wav", "IMA_ADPCM"),
    ("flac", "PCM_16"), ("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", "MPEG_LAYER_III"),
    ("aiff", "PCM_16"), ("au", "PCM_16"), ("w64", "PCM_16"), ("nist", "PCM_16"),
)  # fmt: skip


def audio_seeds(folder: Path) -> list[Files]:
    seeds = []
    for form, subtype in FORMATS:
        for channels in (1, 2):
            file = io.BytesIO()
            samples = np.stack([sound()] * channels, axis=1)
            soundfile.write(file, samples, 16000, format=form.upper(), subtype=subtype)
            seeds.append({f"a.{form}": file.getvalue()})
    return seeds


def read_audio(folder: Path) -> None:
    for path in folder.iterdir():
        for _ in audio_blocks(path):
            pass


def source_seeds(folder: Path) -> list[Files]:
    return [
        {
            "transcripts.tsv": b"a.wav\tHELLO WORLD\ttrain\tzoe\nx/b.wav\tTWO\tdev\n./c.wav\t\n",
            "a.wav": b"", "x/b.wav": b"", "c.wav": b"",
        },
        {"1/2/1-2.trans.txt": b"1-2-0000 HELLO WORLD\n1-2-0001 TWO\n", "1/2/1-2-0000.flac": b""},
        {"a.txt": b"hello\nworld\n", "a.wav": b"", "b.wav": b""},
    ]  # fmt: skip


def read_folder(folder: Path) -> None:
    for utterance in open_source(f"folder:{folder}"):
        inside(folder, utterance.audio)


def inside(folder: Path, path) -> None:
    """Whatever a list says, what is opened lies below its folder."""
    assert Path(path).absolute().is_relative_to(folder.absolute()), path
    assert ".." not in Path(path).parts, path


def corpus_kind_seeds(folder: Path) -> list[Files]:
    """A small corpus of every kind of source; recordings that are files of their own are empty."""
    seeds = []
    for name, make in source_cases.CASES.items():
        if name in source_cases.EXTRAS and not find_spec(source_cases.EXTRAS[name]):
            continue
        (folder / name).mkdir()
        make(folder / name)
        files = taken(folder / name)
        if name == "tarball":
            files = {path: c for path, c in files.items() if path.endswith(".gz")}
        audio = (".wav", ".flac", ".mp3")
        seeds.append({p: b"" if p.lower().endswith(audio) else c for p, c in files.items()})
    return seeds


def read_kinds(folder: Path) -> None:
    """As every kind; InputError where all refuse it."""
    read, refused = 0, None
    for kind in (kind for kind in SOURCES if kind != "tfds"):
        place = source_cases.place_of(kind, folder)
        try:
            for utterance in open_source(f"{kind}:{place}"):
                read += 1
                if isinstance(utterance.audio, Clip):
                    with contextlib.suppress(AudioError):
                        clips.content(utterance.audio, "a clip")
        except InputError as error:
            assert "\n" not in str(error)
            refused = error
    with contextlib.suppress(InputError):
        resolve(str(folder))
    if not read:
        raise refused


def manifest_seeds(folder: Path) -> list[Files]:
    lines = b".\na.wav\t1600\nx/b.wav\t3200\n"
    return [
        {"train.tsv": lines, "train.wrd": b"HELLO WORLD\nTWO\n"},
        {"train.tsv": lines, "train.ltr": b"H E L L O | W O R L D |\nT W O |\n"},
        {"train.tsv": lines},
    ]


def read_manifest(folder: Path) -> None:
    for utterance in open_source(f"manifest:{folder / 'train.tsv'}"):
        assert "\0" not in utterance.audio


ARPA = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-1.2\t<unk>\t0
0\t<s>\t-0.3
-0.9\t</s>\t0
-0.8\tHELLO\t-0.2
-0.8\tWORLD\t-0.2

\\2-grams:
-0.3\t<s> HELLO
-0.3\tHELLO WORLD
-0.3\tWORLD </s>

\\end\\
"""


def text_seeds(folder: Path) -> list[Files]:
    import gzip

    return [
        {"lm.arpa": ARPA.encode()},
        {"lm.arpa.gz": gzip.compress(ARPA.encode(), mtime=0)},
        {"lexicon.txt": b"HELLO\tH E L L O |\nWORLD\tW O R L D |\n"},
        {"dict.ltr.txt": b"| 9\nE 5\nT 3 #fairseq:overwrite\n"},
        {"rows.model": b"\n\x07\n\x03<s>\x18\x03\n\x05\n\x03\xe2\x96\x81\n\x03\n\x01a"},
        {"phones/a.phn": b"0 1600 h#\n1600 3200 aa\n"},
        {"phones.tsv": b"a\t0.0\t0.1\th#\na\t0.1\t0.2\taa\n"},
        {"ids.txt": b"1-2-0000\nx/y.flac\n"},
        {"vocabulary.json": b'{"symbols": ["<s>","<pad>","</s>","<unk>","|","A"],"case":"upper"}'},
        {
            "result.json": b'{"data": "x:test", "utterances": '
            b'[{"id": "a", "reference": "A B", "hypothesis": "A C", "wer": 0.5, "speaker": "z"}]}'
        },
        {"settings.json": b'{"settings": {"lm_weight": 1.5, "beam": 50, "kind": "beam"}}'},
    ]


def read_texts(folder: Path) -> None:
    readers: dict[str, Callable] = {
        "lm.arpa": arpa_words, "lm.arpa.gz": arpa_words,
        "lexicon.txt": lambda path: read_lexicon(path, ["|", *"HELOWRD"]),
        "dict.ltr.txt": dictionary.read_symbols,
        "rows.model": lambda path: fairseq2.symbols_of(
            sentencepiece_model.read_pieces(path), where=str(path)
        ),
        "phones": lambda path: read_labels(path, ["a"]),
        "phones.tsv": lambda path: read_labels(path, ["a"]),
        "ids.txt": read_ids,
        "vocabulary.json": load_vocabulary,
        "result.json": compare.read_splits,
        "settings.json": lambda path: settings({}, file=str(path)),
    }  # fmt: skip
    for path in folder.iterdir():
        readers[path.name](path)


def timed_seeds(folder: Path) -> list[Files]:
    cue = b"1\n00:00:01,000 --> 00:00:02,500\n<i>Hello</i> [noise] there\n\n"
    grid = (
        b'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 2\n'
        b'tiers? <exists>\nsize = 1\nitem []:\n    item [1]:\n        class = "IntervalTier"\n'
        b'        name = "words"\n        xmin = 0\n        xmax = 2\n'
        b"        intervals: size = 1\n        intervals [1]:\n            xmin = 0\n"
        b'            xmax = 2\n            text = "he ""said"""\n'
    )
    return [
        {"a.srt": cue}, {"a.vtt": b"WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>Yes &amp; no\n"},
        {"a.ctm": b";; x\nr 1 0.0 0.5 hello 0.9\nr 1 0.6 0.5 there\n"},
        {"a.TextGrid": grid}, {"a.TextGrid": grid.decode().encode("utf-16")},
    ]  # fmt: skip


def read_timed(folder: Path) -> None:
    for path in folder.iterdir():
        readers = {".ctm": timed_texts.ctm, ".TextGrid": timed_texts.praat}
        readers.get(path.suffix, timed_texts.subtitles)(path)


def arpa_words(path: Path) -> None:
    arpa.check_counts(path)
    arpa.vocabulary(path)
    backoff.read(path)


def safetensors_seeds(folder: Path) -> list[Files]:
    seeds = []
    for loaded in (tuned(), pretrained()):
        safetensors_file.save(loaded, folder / "model.safetensors")
        seeds.append({"model.safetensors": (folder / "model.safetensors").read_bytes()})
    return seeds


def hugging_face_seeds(folder: Path) -> list[Files]:
    seeds = []
    for number, loaded in enumerate((tuned(), pretrained())):
        hugging_face.save(loaded, folder / str(number))
        seeds.append(taken(folder / str(number)))
    sharded = dict(seeds[0])
    sharded["a.safetensors"] = sharded.pop("model.safetensors")
    table = {"weight_map": {"lm_head.bias": "a.safetensors"}}
    sharded["model.safetensors.index.json"] = json.dumps(table).encode()
    added = {"added_tokens_decoder": {"7": {"content": "C"}}, "target_lang": "eng"}
    by_language = dict(seeds[0])
    by_language["vocab.json"] = b'{"eng": ' + by_language["vocab.json"] + b"}"
    by_language["tokenizer_config.json"] = json.dumps(added).encode()
    return [*seeds, sharded, by_language]


def torch_seeds(folder: Path) -> list[Files]:
    seeds = []
    for name, loaded in (("tuned", tuned()), ("pretrained", pretrained())):
        fairseq.save(loaded, folder / f"{name}.pt")
        seeds.append({"fairseq.pt": (folder / f"{name}.pt").read_bytes()})
    fairseq2.save(pretrained(), folder / "second.pt")
    seeds.append({"fairseq2.pt": (folder / "second.pt").read_bytes()})
    torchaudio_file.save(tuned(), folder / "audio.pt")
    seeds.append({"torchaudio.pt": (folder / "audio.pt").read_bytes()})
    seeds.append({"fairseq.old": legacy()})
    return seeds


class _Number:
    """Pickles as torch's rebuild of a one-number tensor."""

    def __reduce__(self):
        return _rebuild, (_Storage(), 0, (1,), (1,))


class _Storage:
    pass


def _rebuild():
    raise AssertionError("only its name is pickled")


def legacy() -> bytes:
    """A file of torch before 1.6: version, machine, value, keys, storages."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, _Storage):
                return ("storage", _Float, "0", "cpu", 1, None)
            return None

    out = io.BytesIO()
    Pickler(out, protocol=2).dump({"model": {"mask_emb": _Number()}, "args": {"a": [1, (2.5,)]}})
    body = out.getvalue()
    body = body.replace(f"c{__name__}\n_rebuild\n".encode(), b"ctorch._utils\n_rebuild_tensor_v2\n")
    body = body.replace(f"c{__name__}\n_Float\n".encode(), b"ctorch\nFloatStorage\n")
    head = torch_read.LEGACY_MAGIC + pickle.dumps(1001, 2) + pickle.dumps({"little": True}, 2)
    return head + body + pickle.dumps(["0"], 2) + struct.pack("<qf", 1, 2.5)


class _Float:
    pass


def read_torch(folder: Path) -> None:
    hints = FileHints(norm_order="pre", num_heads=2, strides=(5, 2, 2))
    for path in folder.iterdir():
        readers = {"torchaudio": torchaudio_file, "fairseq2": fairseq2}
        reader = readers.get(path.name.split(".")[0], fairseq)
        with torch_read.opened(path) as file:
            if isinstance(file.value, dict):
                with torch_read.damage(path):
                    torch_pickle.plain({k: v for k, v in file.value.items() if k != "model"})
        if path.suffix == ".pt":
            reader.read(path, hints)


def peft_seeds(folder: Path) -> list[Files]:
    loaded = tuned()
    model = dataclasses.replace(loaded.description.model, lora_rank=2)
    description = loaded.description._replace(model=model)
    made = random_checkpoint(model, parts=("encoder", "head"), vocabulary=description.vocabulary)
    lora.save(made, folder / "peft")
    return [taken(folder / "peft")]


def read_peft(folder: Path) -> None:
    lora.with_updates(Imported(tuned(), [], [], []), folder)


def corpus_seeds(folder: Path) -> list[Files]:
    writer = CorpusWriter(folder / "train")
    for name in ("a", "b/c", "é"):
        samples = np.arange(100, dtype="<i2")
        writer.add(Entry(name, f"TEXT {name}", "zoe", 100, 0.0, 0.1, 7, 9), iter([samples]))
    writer.close(split="train", source="folder:x")
    return [taken(folder / "train")]


def read_corpus(folder: Path) -> None:
    corpus = open_corpus(folder)
    if len(corpus) > 10_000:
        assert len(corpus.num_samples) == len(corpus)
    for i in range(len(corpus)):
        corpus.id(i), corpus.text(i), corpus.speaker(i), corpus.verify(i)
        corpus.read(i, 0, int(corpus.num_samples[i]) // 2)
    corpus.speakers, corpus.mean, corpus.std, corpus.audio_sha256, corpus.has_text  # noqa: B018
    corpus.fingerprint()


def emissions_seeds(folder: Path) -> list[Files]:
    rows = [
        emissions.Utterance(name, np.zeros((4, len(VOCABULARY)), np.float32), "AB") for name in "ab"
    ]
    emissions.write(
        folder / "logits", rows, vocabulary=VOCABULARY, num_frames=8, seconds_per_frame=0.02
    )
    return [taken(folder / "logits")]


def read_emissions(folder: Path) -> None:
    found = emissions.Emissions(folder)
    for number in range(len(found)):
        found[number].sum()


def description_seeds(folder: Path) -> list[Files]:
    return [
        {"description.json": json.dumps(loaded.description.to_json()).encode()}
        for loaded in (tuned(), pretrained())
    ]


def read_description(folder: Path) -> None:
    describe(read_json(folder / "description.json"), "description.json")


def package_seeds(folder: Path) -> list[Files]:
    seeds = []
    for form in ("", "gz", "xz"):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=f"w:{form}") as archive:
            for name in ("./usr/share/sounds/en/a.g722", "./usr/share/doc/b.txt"):
                info = tarfile.TarInfo(name)
                info.size = 3
                archive.addfile(info, io.BytesIO(b"abc"))
        content = b"!<arch>\n"
        data_name = f"data.tar.{form}".rstrip(".")
        for name, data in (("debian-binary", b"2.0\n"), (data_name, packed.getvalue())):
            content += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
            content += data + b"\n" * (len(data) % 2)
        seeds.append({"a.deb": content})
    return seeds


def read_package(folder: Path) -> None:
    for name, _ in deb_members(folder / "a.deb"):
        assert not name.startswith("/") and ".." not in name.split("/")


CASES: dict[str, Case] = {
    "audio": Case(audio_seeds, read_audio),
    "folder": Case(source_seeds, read_folder),
    "kinds": Case(corpus_kind_seeds, read_kinds),
    "manifest": Case(manifest_seeds, read_manifest),
    "texts": Case(text_seeds, read_texts),
    "timed": Case(timed_seeds, read_timed),
    "safetensors": Case(
        safetensors_seeds, lambda d: safetensors_file.read(d / "model.safetensors")
    ),
    "hugging_face": Case(hugging_face_seeds, hugging_face.read),
    "torch": Case(torch_seeds, read_torch),
    "peft": Case(peft_seeds, read_peft),
    "corpus": Case(corpus_seeds, read_corpus),
    "emissions": Case(emissions_seeds, read_emissions),
    "description": Case(description_seeds, read_description),
    "package": Case(package_seeds, read_package),
    "options": Case(fuzz_own.option_seeds, fuzz_own.read_options),
    "workdir": Case(fuzz_own.workdir_seeds, fuzz_own.read_workdir),
    "arrays": Case(fuzz_own.array_seeds, fuzz_own.read_array),
}


def write(files: Files, folder: Path) -> None:
    """Puts files into an empty folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

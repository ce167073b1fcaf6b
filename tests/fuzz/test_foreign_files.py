"""Files from others are data: none runs code, names a path outside its folder, or takes time and
memory out of proportion to its size. One threat a test."""

import contextlib
import gzip
import io
import json
import os
import struct
import sys
import tarfile
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import soundfile

from tests.helpers.fuzz_cases import ARPA, corpus_seeds, legacy, package_seeds, write
from tests.helpers.interop_cases import edit
from w2v2_jax.data import audio
from w2v2_jax.data.audio import AudioError, load_audio
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.experiment.recipe import load_config
from w2v2_jax.interop import fairseq, hugging_face, safetensors_file, torch_read, torch_write
from w2v2_jax.ngram import arpa
from w2v2_jax.prepare.sources import open_source
from w2v2_jax.sample_speech.packages import deb_members


@pytest.fixture(autouse=True)
def quick():
    """Each of these ends within seconds."""
    start = time.process_time()
    yield
    assert time.process_time() - start < 5


@contextlib.contextmanager
def at_most(limit: int):
    """The block takes at most so many bytes at any moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def refuse(read, path, message):
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


# ---- torch ---------------------------------------------------------------------------------------


@pytest.fixture
def torch_file(tmp_path):
    """pickle steps -> a file of torch's zip format that consists of them."""

    def make(steps: bytes, *, how=zipfile.ZIP_STORED, more=()):
        with zipfile.ZipFile(tmp_path / "a.pt", "w", how) as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + steps + b".")
            for name, content in more:
                archive.writestr(f"archive/{name}", content)
        return tmp_path / "a.pt"

    return make


def opened(path):
    with torch_read.opened(path) as file:
        return file.arrays(file.value)


NESTED = b")" + b"2\x86" * 60  # a tuple of twice the tuple below it, sixty deep
PICKLES = {
    "hash": (b"}" + NESTED + b"Ns", "a tuple as a key"),
    "member": (b"\x8f(" + NESTED + b"\x90", "a tuple as a key"),
    "set": (b"cbuiltins\nset\n](" + NESTED + b"e\x85R", "a tuple as a key"),
    "text": (b"cbuiltins\nstr\n" + NESTED + b"\x85R", "str of a tuple"),
    "zeros": (b"cbuiltins\nbytes\n\x8a\x06" + b"\0" * 5 + b"\x7f\x85R", "whole torch file"),
    "attribute": (b"ctorch._utils\n_rebuild_tensor_v2\nN}X\x08\0\0\0__code__Ns\x86b", "a state"),
    "copies": (
        b"X\0\0\x10\0"
        + b"a" * (1 << 20)
        + b"q\x01cbuiltins\nbytearray\nq\x02"
        + b"h\x02h\x01\x85R" * 100,
        "copies its parts without end",
    ),
    "function": (b"cos\nsystem\nX\x04\0\0\0true\x85R", r"names os\.system"),
    "dotted": (b"\x80\x04\x8c\x08builtins\x8c\x08str.join\x93)R", r"names builtins\.str\.join"),
    "extension": (b"\x82\x01)R", "an opcode"),
    "length": (b"\x8e" + b"\xff" * 7 + b"\x7f", "whole torch file"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_builds_plain_values_in_proportion_to_its_size(torch_file, name):
    steps, message = PICKLES[name]
    refuse(opened, torch_file(steps), message)


def test_a_memo_number_sets_no_memory_aside(torch_file):
    assert opened(torch_file(b"}r\xff\xff\xff\xff")) == {}


def test_settings_that_hold_each_part_twice_are_not_unfolded(torch_file):
    steps = b"}X\x03\0\0\0cfg" + NESTED + b"s"
    refuse(fairseq.read, torch_file(steps), "unfold to more than 100000 values")


def test_a_compressed_record_is_refused_before_it_is_inflated(torch_file):
    path = torch_file(b"}", how=zipfile.ZIP_DEFLATED, more=[("data/0", bytes(8 << 20))])
    assert path.stat().st_size < 20_000
    with at_most(1 << 20):
        refuse(opened, path, "is compressed")


def test_records_that_share_bytes_are_refused(torch_file):
    path = torch_file(b"}", more=[("data/0", b"\0" * 10_000), ("data/1", b"\0" * 10)])
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    entry = content.index(b"archive/data/1", directory) - 46
    content[entry + 20 : entry + 28] = struct.pack("<II", 20_000, 20_000)
    path.write_bytes(content)
    refuse(opened, path, "overlap")


def test_a_storage_that_many_tensors_share_is_read_once(tmp_path, torch_file):
    storage = (
        b"((X\x07\0\0\0storagectorch\nByteStorage\nX\x01\0\0\x000X\x03\0\0\0cpuJ"
        + struct.pack("<i", 10**6)
        + b"tQK\0J"
        + struct.pack("<i", 10**6)
        + b"\x85K\x01\x85t"
    )
    one = b"ctorch._utils\n_rebuild_tensor_v2\n" + storage + b"R"
    steps = b"}(" + b"".join(b"X\x03\0\0\0%03d" % n + one for n in range(100)) + b"u"
    path = torch_file(steps, more=[("data/0", bytes(10**6))])
    with at_most(10 << 20):
        found = opened(path)
    assert len(found) == 100 and all(x.shape == (10**6,) for x in found.values())


def test_a_tensor_of_more_numbers_than_its_storage_is_refused(torch_file):
    shape = b"J\xff\xff\xff\x7f"
    steps = (
        b"}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nByteStorage\n"
        b"X\x01\0\0\x000X\x03\0\0\0cpuK\x01tQK\0" + shape + b"\x85K\0\x85tRs"
    )
    refuse(opened, torch_file(steps, more=[("data/0", b"x")]), "reaches outside its storage")


def test_an_old_file_that_claims_a_huge_storage_is_refused(tmp_path):
    path = tmp_path / "old.pt"
    path.write_bytes(legacy().replace(b"K\x01Nt", b"J\xff\xff\xff\x7fNt"))
    refuse(opened, path, "numbers, not 2147483647")
    whole = legacy()
    path.write_bytes(whole[:-12].replace(b"K\x01Nt", b"J\xff\xff\xff\x7fNt")
                     + struct.pack("<q", 2**31 - 1))  # fmt: skip
    refuse(opened, path, "is cut short")


# ---- configurations ------------------------------------------------------------------------------


def test_code_that_a_configuration_names_is_not_run(folder, pretrained, tmp_path, monkeypatch):
    code = f"open({str(tmp_path / 'ran')!r}, 'w')"
    (folder / "modeling.py").write_text(code)
    (tmp_path / "plugin.py").write_text(code)
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    edit(folder / "config.json", auto_map={"AutoModel": "modeling.Model"}, trust_remote_code=True)
    hugging_face.load(folder)
    fairseq.save(pretrained, tmp_path / "a.pt")
    with torch_read.opened(tmp_path / "a.pt") as file:
        state = {**file.value, "model": file.arrays(file.value["model"])}
    state["cfg"]["common"]["user_dir"] = str(tmp_path / "plugin.py")
    state["cfg"]["model"]["w2v_path"] = str(tmp_path / "plugin.py")
    torch_write.save(state, tmp_path / "b.pt")
    fairseq.read(tmp_path / "b.pt")
    assert not (tmp_path / "ran").exists() and "plugin" not in sys.modules


SIZES = {
    "layers": (dict(num_hidden_layers=10**9), "num_layers=1000000000"),
    "width": (dict(hidden_size=10**12, num_attention_heads=10**12), "d_model=1000000000000"),
    "convolutions": (dict(conv_dim=[8] * 500, conv_kernel=[2] * 500, conv_stride=[2] * 500), "100"),
    "rows": (dict(vocab_size=-1), "vocab_size=-1"),
    "kind": (dict(hidden_size=16.0), "d_model=16.0"),
    "list": (dict(conv_bias=[]), "conv_bias="),
}


@pytest.mark.parametrize("name", SIZES)
def test_absurd_sizes_in_a_configuration_are_refused(folder, name):
    changes, message = SIZES[name]
    edit(folder / "config.json", **changes)
    refuse(hugging_face.load, folder, message)


@pytest.mark.parametrize("file", ["config.json", "vocab.json", "preprocessor_config.json"])
def test_json_nested_without_end_is_one_error(folder, file):
    (folder / "processor_config.json").unlink()
    (folder / file).write_text('{"a":' * 30_000)
    refuse(hugging_face.load, folder, f"{file}: cannot be read as JSON: nested too deep")


@pytest.mark.parametrize("name", ["../other/model.safetensors", "/etc/passwd", "..", 7])
def test_an_index_of_shards_names_files_of_its_own_folder_alone(folder, name):
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.bias": name}}))
    refuse(hugging_face.load, folder, "is not the name of a file beside it")


def test_a_language_is_no_path(folder):
    edit(folder / "config.json", adapter_attn_dim=4)
    with pytest.raises(InputError, match="is not the name of a file beside it"):
        hugging_face.read(folder, language="../../x")


@pytest.mark.parametrize("size", [0, 1 << 30, 1 << 62, 2**64 - 1])
def test_the_length_of_a_safetensors_header_is_bounded_by_the_file(folder, size):
    file = folder / "model.safetensors"
    file.write_bytes(struct.pack("<Q", size) + file.read_bytes()[8:])
    refuse(safetensors_file.read, file, "not a whole safetensors file")


# ---- language models -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", ["999999999999", "-1", "1e3", "5" * 5000])
def test_counts_that_an_arpa_file_has_no_room_for_are_refused(tmp_path, count):
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA.replace("ngram 2=3", f"ngram 2={count}"))
    refuse(arpa.check_counts, path, "n-grams|ARPA language model|is not ngram 2=COUNT")
    refuse(arpa.vocabulary, path, "n-grams|ARPA language model|is not ngram 2=COUNT")


def test_a_compressed_line_without_end_is_refused(tmp_path):
    path = tmp_path / "lm.arpa.gz"
    path.write_bytes(gzip.compress(b"\\data\\\nngram 1=5\n\\1-grams:\n-1 " + b"a" * (8 << 20)))
    with at_most(2 << 20):
        refuse(arpa.vocabulary, path, "a line of more than 65536 characters")


def test_damaged_compression_is_one_error(tmp_path):
    content = bytearray(gzip.compress(ARPA.encode() * 50))
    content[30] ^= 255
    (tmp_path / "lm.arpa.gz").write_bytes(content)
    refuse(arpa.vocabulary, tmp_path / "lm.arpa.gz", "ARPA language model")


# ---- audio ---------------------------------------------------------------------------------------


def wav(samples, *, rate=16000, channels=None) -> bytes:
    """A WAV file whose header may say another rate or number of channels."""
    file = io.BytesIO()
    soundfile.write(file, samples, 16000, format="WAV")
    content = bytearray(file.getvalue())
    content[24:28] = struct.pack("<I", rate)
    if channels:
        content[22:24], content[32:34] = (
            struct.pack("<H", channels),
            struct.pack("<H", 2 * channels & 65535),
        )
    return bytes(content)


@pytest.mark.parametrize("rate", [0, 1, 999, 768_001, 2**31 - 1, 2**32 - 1])
def test_a_sampling_rate_that_no_sound_has_is_refused(rate):
    with pytest.raises(AudioError, match="unreadable"):
        load_audio(wav(np.zeros(16000), rate=rate))


def test_a_thousand_channels_take_no_more_memory_than_one():
    content = wav(np.zeros(1024 * 2000), channels=1024)
    with at_most(2 << 20):
        assert len(load_audio(content)) == 2000


def test_more_channels_than_libsndfile_knows_are_refused():
    with pytest.raises(AudioError, match="unreadable"):
        load_audio(wav(np.zeros(65535), channels=65535))


def test_silence_that_unpacks_to_weeks_is_refused(monkeypatch):
    monkeypatch.setattr(audio, "MOST_SECONDS", 1)
    file = io.BytesIO()
    soundfile.write(file, np.zeros(300_000), 16000, format="FLAC")
    assert len(file.getvalue()) < 20_000
    with pytest.raises(AudioError, match="too long"):
        load_audio(file.getvalue())


def test_a_header_that_claims_hours_is_a_truncated_file():
    content = bytearray(wav(np.zeros(1600)))
    content[40:44] = struct.pack("<I", 0x70000000)
    with pytest.raises(AudioError, match="truncated"):
        load_audio(bytes(content))


# ---- lists of files ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../a.wav", "x/../../a.wav", "/etc/passwd", "a\0.wav", "./../a"])
@pytest.mark.parametrize("source", ["folder", "manifest"])
def test_a_list_leads_to_files_below_its_folder_alone(tmp_path, source, name):
    if source == "folder":
        (tmp_path / "transcripts.tsv").write_text(f"{name}\tTEXT\n")
        where = f"folder:{tmp_path}"
    else:
        (tmp_path / "train.tsv").write_text(f".\n{name}\t16000\n")
        where = f"manifest:{tmp_path / 'train.tsv'}"
    with pytest.raises(InputError, match=r"\.tsv:[12]: .*lies outside"):
        list(open_source(where))


def test_a_pipe_with_the_name_of_a_transcript_is_not_waited_for(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"a\.txt: not a plain file"):
        list(open_source(f"folder:{tmp_path}"))


def test_a_line_without_end_is_refused(tmp_path):
    (tmp_path / "transcripts.tsv").write_text("a" * (5 << 20))
    with pytest.raises(InputError, match="a line of more than 1048576 characters"):
        list(open_source(f"folder:{tmp_path}"))


def test_a_file_name_that_is_no_text_gets_an_id_that_is(tmp_path):
    (tmp_path / os.fsdecode(b"a\xff.wav")).write_bytes(b"")
    (utterance,) = open_source(f"folder:{tmp_path}")
    assert utterance.id == "a\\xff.wav" and os.path.exists(utterance.audio)


def test_an_error_line_does_not_steer_the_terminal(capsys):
    def main(argv):
        raise InputError("a\x1b[2J\x07\u202eb: no such file")

    assert run_command(main) == 2
    assert capsys.readouterr().err == "error: a\\x1b[2J\\x07\\u202eb: no such file\n"


def test_an_archive_is_no_recipe(tmp_path):
    path = tmp_path / "recipe.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__main__.py", f"open({str(tmp_path / 'ran')!r}, 'w')")
    refuse(load_config, str(path), "is not a Python file")
    assert not (tmp_path / "ran").exists()


# ---- packages ------------------------------------------------------------------------------------


def package(*members: tarfile.TarInfo) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"\0" * member.size))
    head = f"{'data.tar':<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(packed.getvalue()):<10}`\n"
    return b"!<arch>\n" + head.encode() + packed.getvalue()


def member(name: str, **values) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize("name", ["../a", "./../a", "/etc/a", "x/../../a"])
def test_a_member_of_a_package_that_leads_outside_is_refused(tmp_path, name):
    (tmp_path / "a.deb").write_bytes(package(member(name, size=1)))
    refuse(lambda path: list(deb_members(path)), tmp_path / "a.deb", "lies outside")


def test_links_of_a_package_are_passed_over(tmp_path):
    link = member("a", type=tarfile.SYMTYPE, linkname="/etc/passwd")
    (tmp_path / "a.deb").write_bytes(package(link, member("b", size=1)))
    assert list(deb_members(tmp_path / "a.deb")) == [("b", b"\0")]


def test_a_package_that_unpacks_to_gigabytes_is_refused(tmp_path):
    huge = package(member("a", size=0), member("b", size=0))
    field = huge.index(b"b" + b"\0" * 99) + 124
    changed = bytearray(huge)
    changed[field : field + 12] = b"77777777777\0"  # 8 GiB
    start = field - 124
    changed[start + 148 : start + 156] = b" " * 8
    total = sum(changed[start : start + 512])
    changed[start + 148 : start + 156] = b"%06o\0 " % total
    (tmp_path / "a.deb").write_bytes(changed)
    refuse(lambda path: list(deb_members(path)), tmp_path / "a.deb", "more than 512 MiB")


def test_a_damaged_package_is_one_error(tmp_path):
    for seed in package_seeds(tmp_path):
        (tmp_path / "a.deb").write_bytes(seed["a.deb"][:-60])
        with pytest.raises(InputError, match=r"a\.deb"):
            list(deb_members(tmp_path / "a.deb"))
            raise InputError(f"{tmp_path / 'a.deb'}: only the padding was cut")


# ---- prepared corpora ----------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path):
    (files,) = corpus_seeds(tmp_path / "made")
    write(files, tmp_path / "corpus")
    return tmp_path / "corpus"


def change_index(corpus, change, how=zipfile.ZIP_STORED) -> None:
    """Rewrites index.npz by its members' bytes, and the size that corpus.json tells."""
    with zipfile.ZipFile(corpus / "index.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(corpus / "index.npz", "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    edit(corpus / "corpus.json", index_bytes=(corpus / "index.npz").stat().st_size)


def array(values, kind=np.int64) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(values, kind))
    return file.getvalue()


def read_first(corpus) -> None:
    found = open_corpus(corpus)
    found.id(0), found.text(2), found.read(0, 0, 10)


def test_an_index_that_was_compressed_is_refused(corpus):
    change_index(corpus, lambda members: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"index\.npz: damaged index \(.* is compressed"):
        read_first(corpus)


INDEXES = {
    "claim": ("num_samples", array([100] * 3).replace(b"(3,)", b"(9" + b"9" * 9 + b",)")),
    "object": ("num_samples", array([100] * 3).replace(b"'<i8'", b"'|O8'")),
    "rows": ("num_samples", array([100] * 2)),
    "kind": ("num_samples", array([100] * 3, np.float64)),
    "before": ("offset", array([-5, 0, 0])),
    "backward": ("id_ends", array([3, 2, 1])),
    "behind": ("text_ends", array([3, 2**40, 2**41])),
    "binary": ("id_blob", array([255] * 6, np.uint8)),
    "shard": ("shard", array([7, 7, 7], np.int32)),
    "samples": ("num_samples", array([2**60] * 3)),
}


@pytest.mark.parametrize("name", INDEXES)
def test_an_index_whose_values_lead_outside_is_refused(corpus, name):
    member, content = INDEXES[name]
    change_index(corpus, lambda members: members.update({f"{member}.npy": content}))
    with pytest.raises(InputError, match=r"damaged index|cut short|cannot map"):
        read_first(corpus)
        found = open_corpus(corpus)
        found.read(0, 2**50, 2**50)


@pytest.mark.parametrize("change", [{"utterances": "3"}, {"utterances": -1}, {"split": None}])
def test_a_description_of_a_corpus_with_odd_values_is_refused(corpus, change):
    edit(corpus / "corpus.json", **change)
    refuse(open_corpus, corpus, "unreadable")


def test_blank_lines_among_the_1_grams_lose_no_word_and_fewer_than_announced_are_refused(tmp_path):
    path = tmp_path / "lm.arpa"
    head = "\\data\\\nngram 1=3\n\n\\1-grams:\n-1\t<unk>\n\n-1\tA\n"
    path.write_text(head + "-1\tB\n\n\\end\\\n")
    assert arpa.vocabulary(path) == ["<unk>", "A", "B"]
    path.write_text(head + "\n\\end\\\n")
    refuse(arpa.vocabulary, path, "2 of the 3 1-grams")

"""torch's files are written and read without torch, and nothing in a pickle is ever run."""

import collections
import os
import pickle
import zipfile

import numpy as np
import pytest

from w2v2_jax.errors import InputError
from w2v2_jax.interop import files, torch_pickle, torch_read, torch_write

VALUE = {
    "model": {
        "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
        "none": np.zeros((0, 3), np.float32),
        "half": np.ones(3, np.float16),
        "count": np.array(7),
    },
    "args": torch_write.Instance("argparse", "Namespace", {"rate": 0.1, "list": [1, None, "é"]}),
    "numbers": (2**70, -5, True, False),
}


@pytest.fixture
def file(tmp_path):
    torch_write.save(VALUE, tmp_path / "a.pt", records={"note.json": b"{}"})
    return tmp_path / "a.pt"


def test_what_is_written_is_read_back(file):
    with torch_read.opened(file) as opened:
        arrays = opened.arrays(opened.value["model"])
        assert torch_pickle.plain(opened.value["args"]) == {"rate": 0.1, "list": [1, None, "é"]}
        assert opened.value["numbers"] == (2**70, -5, True, False)
        assert opened.record("note.json") == b"{}" and opened.record("other") is None
    assert arrays.keys() == VALUE["model"].keys()
    for name, array in VALUE["model"].items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_the_bytes_depend_on_the_content_alone_and_storages_are_aligned(file, tmp_path):
    torch_write.save(VALUE, tmp_path / "b.pt", records={"note.json": b"{}"})
    assert file.read_bytes() == (tmp_path / "b.pt").read_bytes()
    start = file.read_bytes().index(VALUE["model"]["matrix"].tobytes())
    assert start % 64 == 0


def replace_pickle(file, content: bytes) -> None:
    """The archive with another data.pkl."""
    with zipfile.ZipFile(file) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    records["archive/data.pkl"] = content
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("name", ["posix\nsystem", "builtins\neval", "os\nsystem", "sys\nexit"])
def test_code_in_a_pickle_is_refused_and_not_run(file, tmp_path, name):
    target = tmp_path / "ran"
    argument = f"X{chr(len(f'touch {target}'))}\0\0\0touch {target}".encode()
    replace_pickle(file, b"\x80\x02c" + name.encode() + b"\n" + argument + b"\x85R.")
    message = rf"a.pt: its pickle names {name.replace(chr(10), '.')}"
    with pytest.raises(InputError, match=message), torch_read.opened(file):
        pass
    assert not target.exists()


class Settings(collections.UserDict):
    """Stands for a class of fairseq's; the reader must not need it."""


def test_objects_of_known_packages_stay_inert(file):
    pickled = pickle.dumps({"cfg": Settings(a=1)}, protocol=2)
    foreign = pickled.replace(f"c{__name__}\nSettings".encode(), b"cfairseq.dataclass\nSettings")
    assert foreign != pickled
    replace_pickle(file, foreign)
    with torch_read.opened(file) as opened:
        assert isinstance(opened.value["cfg"], torch_pickle.Inert)
        assert torch_pickle.plain(opened.value["cfg"]) == {"data": {"a": 1}}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_of_every_protocol_are_read(file, protocol):
    value = {
        "bytes": b"x\xff", "array": bytearray(b"xy"), "set": {1, 2}, "frozen": frozenset("ab"),
        (1, "a"): 1.5, None: [1, (2, 3), {}], "defaults": collections.defaultdict(list, a=[1]),
        "ordered": collections.OrderedDict(b=2), "complex": 1 + 2j, "text": "é" * 300,
    }  # fmt: skip
    replace_pickle(file, pickle.dumps(value, protocol))
    with torch_read.opened(file) as opened:
        assert opened.value == value | {"complex": (1.0, 2.0)}


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_one_error_that_names_it(file, share):
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"a\.pt: not a whole torch"), torch_read.opened(file):
        pass


def test_a_flipped_bit_in_a_storage_is_found(file):
    content = bytearray(file.read_bytes())
    content[content.index(VALUE["model"]["matrix"].tobytes()) + 5] ^= 1
    file.write_bytes(content)
    with torch_read.opened(file) as opened, pytest.raises(InputError, match="whole torch file"):
        opened.arrays(opened.value["model"])


@pytest.mark.parametrize("content", [b"", b"<html>", b"version https://git-lfs"])
def test_a_foreign_file_is_one_error(file, content):
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pt: not a torch file"), torch_read.opened(file):
        pass


@pytest.mark.parametrize(
    ("offset", "shape", "strides"), [(0, (13,), (1,)), (10, (3,), (1,)), (0, (2, 7), (7, 1)),
                                     (-1, (2,), (1,)), (0, (3,), (-1,)), (0, (2,), (1, 1))],
)  # fmt: skip
def test_a_tensor_outside_its_storage_is_refused(offset, shape, strides):
    storage = torch_pickle.Storage("0", np.dtype(np.float32), 12)
    with pytest.raises(ValueError, match="storage"):
        torch_pickle.BUILDERS["torch._utils._rebuild_tensor_v2"](storage, offset, shape, strides)


@pytest.mark.parametrize("read", [files.read_tensors, files.read_bin])
def test_a_pipe_is_no_file_of_weights_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt: not a plain file"):
        read(tmp_path / "a.pt")

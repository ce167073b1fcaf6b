"""Files as people have them: saved from inside wrappers, with nulls, with a row named twice; and
disks that fill up under what is written."""

import errno
import re

import jax
import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tests.helpers.interop_cases import edit
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.export import command as export
from w2v2_jax.interop import hugging_face
from w2v2_jax.interop.files import unwrapped

WRAPPED = {
    "DataParallel": lambda name: f"module.{name}",
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "compiled, then DataParallel": lambda name: f"module._orig_mod.{name}",
    "a compiled part": lambda name: name.replace("encoder.layers", "encoder._orig_mod.layers"),
    "FSDP": lambda name: name.replace(".layers.", ".layers._fsdp_wrapped_module."),
    "twice": lambda name: f"module.module.{name}",
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_weights_saved_inside_a_wrapper_load_as_its_module_s(folder, wrapper):
    plain = hugging_face.load(folder).params
    tensors = load_file(folder / "model.safetensors")
    renamed = {WRAPPED[wrapper](name): x for name, x in tensors.items()}
    assert renamed.keys() != tensors.keys()
    save_file(renamed, folder / "model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, hugging_face.load(folder).params, plain)


def test_a_module_of_that_name_is_no_wrapper():
    names = {"module.a": 1, "b": 2}
    assert unwrapped(names) == names and unwrapped({}) == {}


@pytest.mark.parametrize(
    "name", ["hidden_act", "layerdrop", "mask_time_prob", "add_adapter", "conv_bias", "vocab_size",
             "mask_feature_length", "architectures", "pad_token_id", "adapter_attn_dim"],
)  # fmt: skip
def test_null_in_the_configuration_is_what_an_absent_key_is(folder, name):
    def described():
        try:
            return hugging_face.load(folder).description
        except InputError as error:
            return str(error)

    edit(folder / "config.json", **{name: None})
    with_null = described()
    config = hugging_face.read_json(folder / "config.json")
    config.pop(name)
    hugging_face.write_json(folder / "config.json", config)
    assert described() == with_null


@pytest.mark.parametrize("name", ["sampling_rate", "do_normalize", "feature_size"])
def test_null_in_the_preprocessor_is_what_an_absent_key_is(folder, name):
    (folder / "processor_config.json").unlink()
    edit(folder / "preprocessor_config.json", **{name: None})
    assert hugging_face.load(folder).description.normalise in (True, False)
    hugging_face.write_json(folder / "processor_config.json", {"feature_extractor": None})
    assert hugging_face.load(folder).description.normalise in (True, False)


def test_a_row_with_two_names_is_refused(folder):
    edit(folder / "vocab.json", Z=5)
    with pytest.raises(InputError, match=r"vocab.json gives row 5 to both '.' and 'Z'"):
        hugging_face.load(folder)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "x"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        RuntimeError("UNKNOWN: /x; No space left on device"),
        OSError(errno.EROFS, "Read-only file system", "x"),
    ],
)
def test_a_full_disk_ends_an_export_in_one_line_and_leaves_nothing(
    folder, tmp_path, capsys, monkeypatch, error
):
    def fails(loaded, out):
        out.mkdir()
        (out / "half").write_text("x")
        raise error

    monkeypatch.setitem(export.EXPORTERS, "hf", fails)
    out = tmp_path / "out" / "hf"
    assert (
        run_command(export.main, ["--checkpoint", str(folder), "--to", "hf", "--out", str(out)])
        == 2
    )
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and line.startswith(f"error: --out {out} cannot be written: ")
    assert re.search("No space left|Read-only", line) and list(out.parent.iterdir()) == []

"""Which file of a checkpoint is damaged is said."""

import pytest

from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.errors import InputError
from w2v2_jax.interop import native


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model/metadata", b"", "model/metadata: cannot be read: Expecting value"),
        ("model/metadata", b'{"format": 2', "model/metadata: cannot be read: Expecting ','"),
        ("model/metadata", None, "model/metadata: cannot be read: No such file or directory"),
        ("params/_METADATA", b"", "params/_METADATA: cannot be read: Expecting value"),
        ("params/_METADATA", b"[]", "params/_METADATA: cannot be read: it is no JSON object"),
        ("params/_METADATA", b"{}", "params: cannot be read: its list of tensors is damaged"),
        ("params/manifest.ocdbt", b"x", "params: cannot be read: its list of tensors is damaged"),
    ],
)
def test_the_damaged_file_of_a_checkpoint_is_named(tuned, tmp_path, file, content, said):
    """It was "'NoneType' object has no attribute 'tree'"."""
    native.write_initial(tmp_path / "run", tuned)
    step = tmp_path / "run/checkpoints/0"
    if content is None:
        (step / file).unlink()
    else:
        (step / file).write_bytes(content)
    with pytest.raises(InputError) as told:
        checkpoint.load(tmp_path / "run")
    assert str(told.value).startswith(f"{step}/{said}")
    assert str(told.value).endswith("; use another step or a copy")

"""fairseq2's files in and out: stored outputs of a reference, names, tokenizers, refusals."""

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.helpers.interop_cases import LAYER_NORM, VOCABULARY, assert_same, random_checkpoint
from tests.helpers.parity_cases import difference
from tests.helpers.places import GOLDEN
from w2v2_jax import convert
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.export import command as export
from w2v2_jax.interop import (
    fairseq,
    fairseq2,
    hugging_face,
    native,
    torch_read,
    torch_write,
    torchaudio_file,
)
from w2v2_jax.interop.inferred import FileHints
from w2v2_jax.interop.sentencepiece_model import CONTROL, NORMAL, SPACE, UNKNOWN, Piece, read_pieces
from w2v2_jax.recognition.network import Network
from w2v2_jax.vocabulary import SPECIALS, Vocabulary

STORED = dict(np.load(GOLDEN / "fairseq2.npz"))
TUNED = ("encoder", "head")
CASES = sorted({key.split("/")[0] for key in STORED})
PIECES = [("<s>", CONTROL), ("<pad>", CONTROL), ("</s>", CONTROL), ("<unk>", UNKNOWN),
          (SPACE, NORMAL), ("ç", NORMAL), ("a", NORMAL), ("b", NORMAL), ("ß", NORMAL)]  # fmt: skip


def model_file(path, pieces=PIECES) -> str:
    """A SentencePiece model of these pieces, with a field that is not read."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    rows = [
        field(1, field(1, text.encode()) + bytes([2 << 3 | 5]) + bytes(4)
              + (bytes([3 << 3, kind]) if kind != NORMAL else b""))
        for text, kind in pieces
    ]  # fmt: skip
    path.write_bytes(b"".join(rows) + field(2, b"trainer"))
    return str(path)


@pytest.fixture(params=CASES)
def stored(request, tmp_path):
    """(name, file, hints, {key: array}, {their name: weight})."""
    name = request.param
    case = {k.partition("/")[2]: x for k, x in STORED.items() if k.startswith(f"{name}/")}
    weights = {k[7:]: x for k, x in case.items() if k.startswith("weight/")}
    torch_write.save({"model": weights}, tmp_path / "model.pt")
    tokenizer = model_file(tmp_path / "rows.model")
    hints = FileHints(num_heads=3, strides=(5, 2, 2), normalise=False, dictionary=tokenizer)
    return name, tmp_path / "model.pt", hints, case, weights


def test_a_stored_network_gives_the_references_outputs(stored):
    name, file, hints, case, weights = stored
    imported = fairseq2.read(file, hints)
    assert imported.left == [] and set(imported.matched) >= set(weights)
    loaded = imported.loaded
    network = Network(file, loaded.description, loaded.params)
    assert difference(network.features(case["waveform"])[0], case["context"]) < 1e-4
    if "ctc" in name:
        assert difference(network.logits(case["waveform"])[0], case["logits"]) < 1e-4
        assert loaded.description.vocabulary.symbols[4:] == ("|", "ç", "a", "b", "ß")
    else:
        np.testing.assert_array_equal(network.units(case["waveform"])[0], case["ids"])
    assert loaded.description.normalise_epsilon == 1e-5
    assert loaded.description.model.norm_order == ("pre" if "omni" in name else "post")


def test_every_tensor_comes_back_bit_for_bit(stored, tmp_path):
    _, file, hints, _, weights = stored
    loaded = fairseq2.read(file, hints).loaded
    fairseq2.save(loaded, tmp_path / "again.pt")
    again = fairseq2._tensors(tmp_path / "again.pt")
    assert set(weights) <= set(again) <= {*weights, fairseq2.MASK_EMBEDDING, fairseq2.COUNTER}
    for key, value in weights.items():
        np.testing.assert_array_equal(again[key], value, err_msg=key)
    assert_same(fairseq2.read(tmp_path / "again.pt", hints).loaded.params, loaded.params)


def test_commands_take_a_ctc_model_from_fairseq2_to_hugging_face_and_back(tiny, tmp_path, capsys):
    model = dataclasses.replace(tiny, **LAYER_NORM)
    made = random_checkpoint(
        model, parts=("encoder", "head"), vocabulary=VOCABULARY, normalise=True
    )
    native.write_initial(tmp_path / "native", made)
    arguments = ["--checkpoint", str(tmp_path / "native"), "--to", "fairseq2"]
    export.main([*arguments, "--out", str(tmp_path / "model.pt")])
    printed = capsys.readouterr().out
    assert "wav2vec2_asr" in printed and "normalize_audio: True" in printed
    VOCABULARY.save(tmp_path / "rows.json")
    arguments = ["--from", "fairseq2", "--input", str(tmp_path / "model.pt"), "--heads", "2"]
    arguments += ["--strides", "5,2,2", "--dictionary", str(tmp_path / "rows.json")]
    convert.main([*arguments, "--out", str(tmp_path / "again")])
    again = checkpoint.load(tmp_path / "again")
    assert_same(again.params, made.params)
    assert again.description.vocabulary.symbols == VOCABULARY.symbols
    assert again.description.normalise
    hugging_face.save(again, tmp_path / "hf")
    assert_same(hugging_face.load(tmp_path / "hf").params, made.params)


def test_fairseqs_own_file_is_sent_to_its_own_converter(tuned, tmp_path):
    fairseq.save(tuned, tmp_path / "old.pt")
    with pytest.raises(InputError, match="convert --from fairseq reads it"):
        fairseq2.read(tmp_path / "old.pt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("encoder.layers.0.conv_layer_norm.weight", "use_conformer=True"),
        ("encoder_frontend.layer_norm.weight", "has both of"),
    ],
)
def test_a_network_that_this_is_not_is_refused_by_its_option(tmp_path, name, message):
    start = "omni/weight/"
    weights = {k.removeprefix(start): x for k, x in STORED.items() if k.startswith(start)}
    torch_write.save({"model": weights | {name: np.zeros(3, np.float32)}}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=message):
        fairseq2.read(tmp_path / "model.pt")


def test_what_fairseq2_has_no_network_for_is_refused_by_its_option(tiny, tmp_path):
    for changes, message in (
        (dict(quantize_input=True, input_code_dim=8), "quantize_input=True"),
        (dict(adapter_dim=4, **LAYER_NORM), "adapter_dim=4"),
        (dict(d_model=8, always_project_features=True), "always_project_features=True"),
    ):
        model = dataclasses.replace(tiny, **changes)
        made = random_checkpoint(model, parts=("encoder", "head"), vocabulary=VOCABULARY)
        with pytest.raises(InputError, match=message):
            fairseq2.save(made, tmp_path / "out.pt")


def test_pieces_are_read_and_a_space_is_the_boundary(tmp_path):
    pieces = read_pieces(model_file(tmp_path / "rows.model"))
    assert pieces == [Piece(*piece) for piece in PIECES]
    symbols = fairseq2.symbols_of(pieces, where="rows")
    assert symbols == ["<s>", "<pad>", "</s>", "<unk>", "|", "ç", "a", "b", "ß"]
    swapped = [pieces[1], pieces[0], *pieces[2:]]
    assert fairseq2.symbols_of(swapped, where="rows") == symbols  # row 0 is the blank
    with pytest.raises(InputError, match="CTC's blank, is the character 'a'"):
        fairseq2.symbols_of([Piece("a", NORMAL)], where="rows")


@pytest.mark.parametrize(
    "content", [b"", b"\x0a\xff\xff\xff\x7f", b"\x0a\x02\x12\x00", b"\x80" * 12]
)
def test_a_file_that_is_no_tokenizer_is_one_line(tmp_path, content):
    (tmp_path / "rows.model").write_bytes(content)
    with pytest.raises(InputError, match="not a SentencePiece model"):
        read_pieces(tmp_path / "rows.model")


def test_hints_of_other_formats_are_refused_in_one_line(tmp_path, capsys):
    arguments = ["--from", "hf", "--input", str(tmp_path), "--out", str(tmp_path / "x")]
    assert run_command(convert.main, [*arguments, "--heads", "2"]) == 2
    assert "fairseq2" in capsys.readouterr().err


def test_the_tokenizer_that_is_written_names_the_rows_and_spells_texts_as_we_do(
    tiny, tmp_path, capsys
):
    made = random_checkpoint(tiny, parts=("encoder", "head"), vocabulary=VOCABULARY)
    native.write_initial(tmp_path / "native", made)
    tokenizer = tmp_path / "my_tokenizer.model"
    arguments = ["--checkpoint", str(tmp_path / "native"), "--to", "fairseq2"]
    export.main([*arguments, "--out", str(tmp_path / "a.pt"), "--tokenizer", str(tokenizer)])
    assert f"wrote {tokenizer}" in capsys.readouterr().out
    pieces = read_pieces(tokenizer)
    assert tuple(fairseq2.symbols_of(pieces, where="a")) == VOCABULARY.symbols
    # found beside the file, without being named
    found = fairseq2.read(tmp_path / "a.pt", FileHints(num_heads=2, strides=(5, 2, 2)))
    assert found.loaded.description.vocabulary.symbols == VOCABULARY.symbols
    library = pytest.importorskip("sentencepiece")
    spell = library.SentencePieceProcessor(model_file=str(tokenizer))
    text = "CAB  A'C"
    assert spell.encode(text) == VOCABULARY.encode(text).tolist()[:-1]  # no boundary at the end
    assert (spell.unk_id(), spell.bos_id(), spell.eos_id(), spell.pad_id()) == (3, 0, 2, 1)
    assert spell.decode(spell.encode(text)) == "CAB A'C"


def test_a_tokenizer_goes_with_symbols_of_one_character_and_with_fairseq2(tiny, tmp_path):
    phonemes = Vocabulary((*SPECIALS, "t\u0283", "a"), "keep", units="phonemes")
    made = random_checkpoint(tiny, parts=("encoder", "head"), vocabulary=phonemes)
    with pytest.raises(InputError, match="are phonemes; fairseq2's tokenizer is one of characters"):
        fairseq2.write_tokenizer(made, tmp_path / "a.model")
    assert not (tmp_path / "a.model").exists()
    arguments = ["--checkpoint", "x", "--to", "fairseq", "--out", str(tmp_path / "a.pt")]
    with pytest.raises(InputError, match="--tokenizer goes with --to fairseq2"):
        export.main([*arguments, "--tokenizer", str(tmp_path / "a.model")])


WITHOUT_SETTINGS = {"fairseq": fairseq, "fairseq2": fairseq2, "torchaudio": torchaudio_file}


def without_settings(loaded, form, path, *lost):
    """A file of a format that holds tensors alone, without those whose names have one of `lost`."""
    WITHOUT_SETTINGS[form].save(loaded, path)
    with torch_read.opened(path) as file:
        tensors = file.arrays(file.value if form == "torchaudio" else file.value["model"])
        kept = {k: x.copy() for k, x in tensors.items() if not any(part in k for part in lost)}
    assert bool(lost) == (len(kept) < len(tensors))
    torch_write.save(kept if form == "torchaudio" else {"model": kept}, path)


@pytest.mark.parametrize(
    ("form", "lost", "said"),
    [
        ("fairseq2", "encoder.layers.1.", "has encoder.layers.3, but not encoder.layers.1"),
        ("fairseq2", "encoder.layers.0.", "has encoder.layers.3, but not encoder.layers.0"),
        ("fairseq2", "layers.3.ffn.inner_proj.bias", "no tensor encoder.layers.3.ffn.inner_proj"),
        ("fairseq2", "extractor.layers.1.", "layers.2, but not .*feature_extractor.layers.1"),
        ("fairseq2", "extractor.layers.1.conv.", "no tensor .*feature_extractor.layers.1.conv"),
        ("fairseq", "encoder.layers.1.", "encoder.layers.3, but not .*encoder.layers.1"),
        ("fairseq", "layers.3.fc1.bias", "has no tensor .*encoder.layers.3.fc1"),
        ("torchaudio", "transformer.layers.2.", "layers.3, but not encoder.transformer.layers.2"),
        ("torchaudio", "extractor.conv_layers.1.", "but not feature_extractor.conv_layers.1"),
    ],
)
def test_a_file_with_a_gap_in_its_layers_is_not_read_up_to_it(tiny, tmp_path, form, lost, said):
    model = dataclasses.replace(tiny, num_layers=4, **LAYER_NORM)
    loaded = random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY)
    file, letters = tmp_path / "a.pt", tmp_path / "vocabulary.json"
    VOCABULARY.save(letters)
    hints = FileHints("pre", num_heads=2, strides=(5, 2, 2), dictionary=str(letters))
    without_settings(loaded, form, file)
    assert_same(WITHOUT_SETTINGS[form].read(file, hints).loaded.params["head"],
                loaded.params["head"])  # fmt: skip
    without_settings(loaded, form, file, lost)
    with pytest.raises(InputError, match=said) as error:
        WITHOUT_SETTINGS[form].read(file, hints)
    assert str(file) in str(error.value)


def test_a_gap_in_stacked_positions_is_named(tiny, tmp_path):
    stacked = dict(position_depth=3, position_kernel=3)
    model = dataclasses.replace(tiny, norm_order="post", **stacked)
    loaded = random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY)
    without_settings(loaded, "fairseq2", tmp_path / "a.pt", "pos_encoder.layers.1.")
    with pytest.raises(InputError, match=r"pos_encoder.layers.2, but not .*pos_encoder.layers.1$"):
        fairseq2.read(tmp_path / "a.pt", FileHints(num_heads=2, strides=(5, 2, 2)))


def test_a_hugging_face_folder_with_a_gap_in_its_layers_names_a_tensor(tiny, tmp_path):
    loaded = random_checkpoint(dataclasses.replace(tiny, num_layers=3), parts=("encoder",))
    hugging_face.save(loaded, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    gone = {name for name in tensors if "layers.1." in name and "encoder.layers" in name}
    assert gone
    save_file({k: x for k, x in tensors.items() if k not in gone}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"has no tensor .*encoder.layers.1"):
        hugging_face.read(tmp_path)

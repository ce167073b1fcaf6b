"""Texts beside recordings that `w2v2 transcribe --out` wrote are told from those of people."""

import numpy as np
import soundfile

from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import run_command
from w2v2_jax.prepare import command as prepare
from w2v2_jax.recognition import transcript_record


def test_transcripts_of_a_model_are_counted_and_corrected_ones_are_not(tmp_path, capsys):
    """Whoever transcribed into the folder of the recordings trained on it as on people's texts."""
    speech = tmp_path / "speech"
    (speech / "sub").mkdir(parents=True)
    texts = {"a": "A", "b": "B", "sub/c": "C", "d": "D"}
    for k, (name, text) in enumerate(texts.items()):
        soundfile.write(speech / f"{name}.wav", 0.1 * np.sin(np.arange(16000.0) * (k + 1)), 16000)
        (speech / f"{name}.txt").write_text(f"{text}\n")
    by = transcript_record.begin(speech, {"checkpoint": "runs/x"})
    contents = {speech / f"{name}.txt": f"{texts[name]}\n" for name in ("a", "b", "sub/c")}
    transcript_record.note(speech, by, str(speech / "a.wav"), contents)
    (speech / "b.txt").write_text("CORRECTED\n")

    command = ["--source", f"folder:{speech}", "--out", f"{tmp_path}/out", "--workers", "1"]
    assert run_command(prepare.main, command) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "w2v2 transcribe" in x]
    assert line.split() == ["a", "transcript", "of", "w2v2", "transcribe", "2", "e.g.", "a.wav"]
    assert sorted(open_corpus(tmp_path / "out").texts()) == ["A", "C", "CORRECTED", "D"]

    (speech / transcript_record.FILE).write_bytes(b"\xff\xfe")
    assert run_command(prepare.main, [*command, "--overwrite"]) == 0
    assert "w2v2 transcribe" not in capsys.readouterr().out

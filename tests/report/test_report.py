"""The quickstart's report: numbers of the table, panels of the figure, clear errors."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.corpora import write_split
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.evaluation.result_files import read_evaluation
from w2v2_jax.inference import Model
from w2v2_jax.paths import write_json
from w2v2_jax.report import cells, cells_figure, codebook
from w2v2_jax.report import command as report
from w2v2_jax.report.results import read_units


def write_run(workdir, records):
    workdir.mkdir()
    text = "".join(json.dumps(record) + "\n" for record in records)
    (workdir / "metrics.jsonl").write_text(text)


def pretraining(step: int, split: str) -> dict:
    done = step / 1000
    return {
        "step": step,
        "split": split,
        "loss": 4.7 - 2 * done,
        "contrastive_loss": math.log(101) - 2 * done,
        "contrastive_accuracy": (0.02 if split == "train" else 0.01) + 0.3 * done,
        "code_perplexity": 64 + 256 * done,
        "prob_perplexity": 600 - 100 * done,
        "diversity_loss": 0.9 - 0.4 * done,
    }


def evaluation(cer: float, wer: float, hypothesis: str, step: int = 500) -> dict:
    utterances = [
        {"id": f"clip{n}", "reference": f"NUMBER {n}", "hypothesis": f"{hypothesis} {n}", "wer": n}
        for n in range(9)
    ]
    return {
        "checkpoint": "somewhere",
        "data": "test",
        "step": step,
        "wer": wer,
        "cer": cer,
        "wer_interval": [wer - 0.1, wer + 0.1],
        "cer_interval": [cer - 0.05, cer + 0.05],
        "num_utterances": 9,
        "num_words": 18,
        "utterances": utterances,
    }


@pytest.fixture
def inputs(tmp_path):
    """The arguments of the command; every file they name exists."""
    steps = [(s, "train") for s in range(0, 1001, 50)] + [(s, "valid") for s in (0, 500, 1000)]
    write_run(tmp_path / "pretrain", [pretraining(*key) for key in steps])
    for name, floor in (("scratch", 0.8), ("finetuned", 0.2)):
        records = [
            {"step": s, "split": split, "loss": 3 * math.exp(-s / 200) + floor}
            | ({"cer": floor + math.exp(-s / 100), "wer": 1.0} if split == "valid" else {})
            for s in range(0, 501, 50)
            for split in ("train", "valid")
        ]
        write_run(tmp_path / name, records)
    (tmp_path / "a.json").write_text(json.dumps(evaluation(0.8, 1.0, "NUMB")))
    (tmp_path / "b.json").write_text(json.dumps(evaluation(0.2, 0.5, "NUMBER")))
    (tmp_path / "data").mkdir()
    names = {"pretrain": "pretrain", "scratch": "scratch", "finetuned": "finetuned"}
    names |= {"scratch-eval": "a.json", "finetuned-eval": "b.json", "data": "data", "out": "out"}
    return {f"--{option}": str(tmp_path / name) for option, name in names.items()}


def write_units(path) -> str:
    rng = np.random.default_rng(0)
    time = np.arange(32_000) / 16_000
    waveform = np.sin(2 * np.pi * (200 + 800 * time) * time) + 0.01 * rng.normal(size=32_000)
    mask = np.zeros(99, bool)
    mask[[*range(10, 30), *range(60, 75), 98]] = True
    counts = rng.poisson(rng.gamma(0.5, 40, size=(2, 320)))
    np.savez(path, waveform=waveform.astype(np.float32), mask=mask, code_counts=counts)
    return str(path)


def run(inputs: dict[str, str]) -> int:
    return run_command(report.main, [part for pair in inputs.items() for part in pair])


def png_size(path) -> tuple[int, int]:
    header = path.read_bytes()[:24]
    assert header[:4] == b"\x89PNG"
    return int.from_bytes(header[16:20]), int.from_bytes(header[20:24])


def row(text: str, label: str) -> str:
    (line,) = [line for line in text.splitlines() if line.strip().startswith(label)]
    return " ".join(line.split())


def test_the_table_has_validation_values_chance_ratios_and_relative_change(
    inputs, capsys, tmp_path
):
    assert run(inputs) == 0
    text = capsys.readouterr().out
    assert row(text, "PRETRAINING") == "PRETRAINING (valid) step 0 step 1000 change"
    assert row(text, "contrastive accuracy") == "contrastive accuracy 0.0100 0.3100 31.00 x"
    assert row(text, "over chance") == "over chance (1/101 = 0.0099) 1.0 x 31.3 x"
    assert row(text, "code perplexity").endswith("of 640 (valid) 64.0 320.0 5.00 x")
    assert "(9 utterances, 18 words)" in row(text, "HELD-OUT TEST")
    assert row(text, "CER") == "CER % 80.00 20.00 -75.0 %"
    assert row(text, "WER") == "WER % 100.00 50.00 -50.0 %"
    assert "75.00 to 85.00 15.00 to 25.00" in " ".join(text.split())
    assert row(text, "updates") == "updates 500 500"
    for option in ("--pretrain", "--scratch", "--finetuned", "--data"):
        assert inputs[option] in text
    assert (tmp_path / "out/report.txt").read_text().strip() in text


def test_five_transcripts_stand_beside_their_references(inputs, capsys):
    assert run(inputs) == 0
    text = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for n in (0, 2, 4, 6, 8):  # evenly spaced from the best to the worst
        start = lines.index(f"clip{n}")
        assert lines[start + 1 : start + 4] == [
            f"reference NUMBER {n}",
            f"from scratch NUMB {n}",
            f"from pretrained NUMBER {n}",
        ]
    assert sum(line.startswith("reference") for line in lines) == 5


def run_with_model(inputs, tmp_path, hypothesis="NUMBER"):
    for name, wer in (("la", 0.9), ("lb", 0.25)):
        (tmp_path / f"{name}.json").write_text(json.dumps(evaluation(0.5, wer, hypothesis)))
    more = ["--lm-evals", str(tmp_path / "la.json"), str(tmp_path / "lb.json")]
    return run_command(report.main, [part for pair in inputs.items() for part in pair] + more)


def test_rates_and_texts_with_a_language_model_stand_below_those_without(inputs, capsys, tmp_path):
    assert run_with_model(inputs, tmp_path, "SEVEN") == 0
    text = capsys.readouterr().out
    assert row(text, "WER % with a") == "WER % with a language model 90.00 25.00 -72.2 %"
    assert "15.00 to 35.00" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    start = lines.index("clip4")
    assert lines[start + 3 : start + 5] == ["from pretrained NUMBER 4", "and with the LM SEVEN 4"]


def test_phonemes_have_a_per_beside_the_wer_of_a_model_of_words(inputs, capsys, tmp_path):
    for name, rate in (("a", 0.8), ("b", 0.4)):
        made = evaluation(0.5, rate, "N AH") | {"per": rate, "per_interval": [rate, rate]}
        made["utterances"] = [u | {"reference": f"N AH M {u['id']}"} for u in made["utterances"]]
        (tmp_path / f"{name}.json").write_text(json.dumps(made))
    assert run_with_model(inputs, tmp_path) == 0
    text = capsys.readouterr().out
    assert "9 utterances, 36 phones" in text
    assert row(text, "PER %") == "PER % 80.00 40.00 -50.0 %"
    assert row(text, "WER % with a") == "WER % with a language model 90.00 25.00 -72.2 %"


def test_an_evaluation_of_another_checkpoint_with_the_model_is_noted(inputs, capsys, tmp_path):
    assert run_with_model(inputs, tmp_path) == 0
    assert "note: with a language model" not in capsys.readouterr().out
    for name, where in (("a", "runs/scratch"), ("b", "runs/finetuned")):
        made = json.loads((tmp_path / f"{name}.json").read_text())
        (tmp_path / f"{name}.json").write_text(json.dumps(made | {"checkpoint": where}))
    assert run_with_model(inputs, tmp_path) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "with a language mod" in line]
    assert len([note for note in notes if "without one runs/" in note]) == 2


def test_an_evaluation_of_other_utterances_with_the_model_is_refused(inputs, capsys, tmp_path):
    other = evaluation(0.8, 1.0, "NUMB")
    other["utterances"] = other["utterances"][:-1]
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(other))
    assert run_with_model(inputs, tmp_path) == 2
    assert "not of the same test utterances" in capsys.readouterr().err


def test_without_validation_training_values_are_used_and_named(inputs, capsys, tmp_path):
    path = tmp_path / "pretrain/metrics.jsonl"
    kept = [line for line in path.read_text().splitlines() if '"valid"' not in line]
    path.write_text("\n".join(kept) + '\n{"step": 1050, "spl')  # killed while writing
    assert run(inputs) == 0
    text = capsys.readouterr().out
    assert row(text, "contrastive accuracy") == "contrastive accuracy 0.0200 0.3200 16.00 x"
    assert "(train)" in row(text, "PRETRAINING")


def test_the_figure_without_units_omits_two_panels_and_says_so(inputs, capsys, tmp_path):
    assert run(inputs) == 0
    assert "no --units file" in capsys.readouterr().out
    assert png_size(tmp_path / "out/report.png") == (1600, 800)


@pytest.mark.slow
def test_the_figure_with_units_is_1600_by_1200(inputs, capsys, tmp_path):
    inputs["--units"] = write_units(tmp_path / "units.npz")
    assert run(inputs) == 0
    assert "note" not in capsys.readouterr().out
    assert png_size(tmp_path / "out/report.png") == (1600, 1200)


def test_unequal_updates_are_noted(inputs, capsys, tmp_path):
    (tmp_path / "b.json").write_text(json.dumps(evaluation(0.2, 0.5, "NUMBER", step=900)))
    assert run(inputs) == 0
    assert "updates differ, 500 and 900" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--pretrain", "--scratch-eval", "--data", "--units"])
def test_a_missing_file_is_one_clear_line(inputs, capsys, tmp_path, option):
    inputs[option] = str(tmp_path / "nowhere")
    assert run(inputs) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "nowhere") in error
    assert error.count("\n") == 1


def test_bad_content_is_an_input_error(inputs, capsys, tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert run(inputs) == 2
    assert "a.json is not a result of evaluate" in capsys.readouterr().err
    (tmp_path / "a.json").write_text("{")
    assert run(inputs) == 2
    assert "a.json is not JSON" in capsys.readouterr().err
    headless = evaluation(0.8, 1.0, "NUMB") | {"utterances": [{"id": "clip0"}]}
    (tmp_path / "a.json").write_text(json.dumps(headless))
    assert run(inputs) == 2
    assert "a.json: utterances[0] lacks hypothesis" in capsys.readouterr().err
    (tmp_path / "units.npz").write_text("text")
    (tmp_path / "a.json").write_text(json.dumps(evaluation(0.8, 1.0, "NUMB")))
    assert run(inputs | {"--units": str(tmp_path / "units.npz")}) == 2
    assert "needs waveform, mask, code_counts" in capsys.readouterr().err
    (tmp_path / "pretrain/metrics.jsonl").write_text('{"step": 1, "split": "train"}\n')
    assert run(inputs) == 2
    assert "never has contrastive_accuracy" in capsys.readouterr().err


def test_evaluations_of_different_test_sets_are_not_compared(inputs, capsys, tmp_path):
    other = evaluation(0.2, 0.5, "NUMBER")
    other["utterances"].pop()
    (tmp_path / "b.json").write_text(json.dumps(other))
    assert run(inputs) == 2
    assert "not of the same test utterances" in capsys.readouterr().err


# ---- cells of the evidence -----------------------------------------------------------------------


def write_cell(directory, name: str, wrong: int) -> None:
    """Ten utterances of ten characters and two words each, `wrong` of them with two wrong ones."""
    utterances = [
        {
            "id": f"{'a' if n < 5 else 'b'}/clip{n}.flac",
            "reference": "ABCDE FGHI",
            "hypothesis": "AXCDX FGHI" if n < wrong else "ABCDE FGHI",
            "wer": 0.5 * (n < wrong),
        }
        for n in range(10)
    ]
    cer, wer = 2 * wrong / 100, wrong / 20
    rates = {"cer": cer, "cer_interval": [cer - 0.01, cer + 0.01], "wer": wer}
    rates |= {"wer_interval": [wer, wer], "step": 9, "utterances": utterances}
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps(rates))


def test_the_evidence_tables_give_seeds_means_sources_and_changes(tmp_path, capsys):
    for name, wrong in {
        "scratch@10m@1": 10, "scratch@10m@2": 6, "pretrain@10m@1": 5, "pretrain@10m@2": 5,
        "short@10m@1": 6, "no_gumbel@10m@1": 9,
    }.items():  # fmt: skip
        write_cell(tmp_path / "cells", name, wrong)
    files = ("--json", str(tmp_path / "cells.json"), "--png", str(tmp_path / "cells.png"))
    cells.main([str(tmp_path / "cells"), *files])
    lines = capsys.readouterr().out.splitlines()
    assert "| 10m | 1 | 20.0 (19.0 to 21.0) | 10.0 (9.0 to 11.0) | -50.0 % | 50.0, 25.0 |" in lines
    assert "| 10m | mean | 16.0 | 10.0 | -37.5 % | 40.0, 25.0 |" in lines
    assert "| a | 10m | scratch | 2 | 20.0 | 50.0 |" in lines  # clips 0 to 4 are wrong in both
    assert "| b | 10m | pretrain | 2 | 0.0 | 0.0 |" in lines
    assert "| no_gumbel | 10m | 1 | 18.0 (17.0 to 19.0) | 45.0 | +50.0 % |" in lines
    assert "| 10m | scratch | 2 | 16.0 | +0.0 % | 40.0 |" in lines
    assert "| 10m | no_gumbel | 1 | 18.0 | +12.5 % | 45.0 |" in lines
    assert (tmp_path / "cells.png").read_bytes().startswith(b"\x89PNG")
    assert len(json.loads((tmp_path / "cells.json").read_text())) == 6


def of_phonemes(directory, name: str) -> None:
    """The cell as `evaluate` writes it of phonemes, folded to half as many errors."""
    path = directory / f"{name}.json"
    cell = json.loads(path.read_text())
    cell |= {"per": cell["wer"] / 2, "per_interval": [0.1, 0.3]}
    for utterance in cell["utterances"]:
        of_each = {"reference": "abcd", "hypothesis": "abc" if utterance["wer"] else "abcd"}
        utterance |= {f"phones_{text}": list(phones) for text, phones in of_each.items()}
    path.write_text(json.dumps(cell))


def test_cells_of_phonemes_have_a_rate_of_phonemes(tmp_path, capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr(cells_figure, "draw", lambda *_, rate: drawn.append(rate))
    for name, wrong in {"scratch@10m@1": 10, "pretrain@10m@1": 5, "short@10m@1": 6}.items():
        write_cell(tmp_path / "cells", name, wrong)
        of_phonemes(tmp_path / "cells", name)
    files = ("--json", str(tmp_path / "cells.json"), "--png", str(tmp_path / "cells.png"))
    cells.main([str(tmp_path / "cells"), *files])
    told = capsys.readouterr().out
    assert drawn == ["per"] and "WER" not in told and "CER" not in told
    for line in (
        "| labels | seed | test PER % from scratch | pretrained | change |",
        "| 10m | 1 | 25.0 (10.0 to 30.0) | 12.5 (10.0 to 30.0) | -50.0 % |",
        "| labels | start | seeds | test PER % | against scratch |",
        "| pretraining | labels | seed | test PER % | PER against short |",
        "| source | labels | start | seeds | PER % |",
        "| a | 10m | pretrain | 1 | 25.0 |",
    ):
        assert line in told.splitlines()
    stored, *_ = json.loads((tmp_path / "cells.json").read_text())
    assert stored["per"] == 0.125 and stored["per_interval"] == [0.1, 0.3]
    assert stored["sources"]["b"] == {"per": 0, "per_interval": [0, 0]}


def test_phonemes_that_are_not_folded_have_no_rate_of_words_in_the_file(tmp_path):
    write_cell(tmp_path, "scratch@10m@1", 4)
    of_phonemes(tmp_path, "scratch@10m@1")
    path = tmp_path / "scratch@10m@1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"per": 0.2}))
    (cell,) = cells.read_cells(tmp_path)
    assert cell["per"] == 0.2 and "wer" not in cell and "wer_interval" not in cell


def test_cells_of_phonemes_and_of_words_are_not_compared(tmp_path, capsys):
    for name in ("scratch@10m@1", "short@10m@1"):
        write_cell(tmp_path, name, 3)
    of_phonemes(tmp_path, "short@10m@1")
    assert run_command(cells.main, [str(tmp_path), "--json", str(tmp_path / "out/x")]) == 2
    told = capsys.readouterr().err
    assert "short@10m@1.json has an error rate of phonemes and scratch@10m@1.json one" in told


def test_a_figure_of_cells_has_a_panel_of_each_source_and_its_own_rates(tmp_path):
    for name, wrong in {"scratch@10m@1": 10, "scratch@1h@1": 6, "short@10m@1": 2}.items():
        write_cell(tmp_path, name, wrong)
        path = tmp_path / f"{name}.json"
        path.write_text(path.read_text().replace('"a/', '"wav/x/a/').replace('"b/', '"wav/x/b/'))
    panels = cells_figure.panels_of(cells.read_cells(tmp_path))
    rates = {(c["start"], c["labels"]): round(c["cer"], 3) for c in panels["b"]}
    assert sorted(panels) == ["a", "b"]
    assert rates == {("scratch", "10m"): 0.2, ("scratch", "1h"): 0.04, ("short", "10m"): 0.0}


def renamed(directory, name: str, folder) -> None:
    """The cell with other ids: folder(number) is the folder of each."""
    path = directory / f"{name}.json"
    evaluation = json.loads(path.read_text())
    for n, utterance in enumerate(evaluation["utterances"]):
        utterance["id"] = f"{folder(n)}clip{n}"
    path.write_text(json.dumps(evaluation))


@pytest.mark.parametrize(
    ("folder", "sources"),
    [
        (lambda n: "/a/" if n % 2 else "b/", ["a", "b"]),
        (lambda n: "a/" if n % 2 else "a/b/", [".", "b"]),
        (lambda n: "./x/a/" if n % 2 else "x//b/", ["a", "b"]),
        (lambda n: "", []),
        (lambda n: "a/b/c/", []),
        (lambda n: f"s{n}/", []),
    ],
)
def test_a_source_is_the_first_folder_in_which_ids_differ(tmp_path, folder, sources):
    write_cell(tmp_path, "scratch@10m@1", 3)
    renamed(tmp_path, "scratch@10m@1", folder)
    assert list(cells.read_cells(tmp_path)[0]["sources"]) == sources


def test_rates_of_0_have_no_relative_change_and_one_cell_no_table_of_pairs(tmp_path, capsys):
    line = [str(tmp_path), "--json", str(tmp_path / "out" / "x.json")]
    for name in ("scratch@10m@1", "short@10m@1"):
        write_cell(tmp_path, name, 0)
    cells.main(line)
    assert "from scratch" not in capsys.readouterr().out
    write_cell(tmp_path, "pretrain@10m@1", 5)
    cells.main(line)
    printed = capsys.readouterr().out
    assert "| 10m | 1 | 0.0 (-1.0 to 1.0) | 10.0 (9.0 to 11.0) | ? | 0.0, 25.0 |" in printed
    assert "| pretrain | 10m | 1 | 10.0 (9.0 to 11.0) | 25.0 | ? |" in printed


@pytest.mark.parametrize("name", ["@@", "scratch@10m@", "@10m@1", "scratch@10m"])
def test_a_cell_whose_name_lacks_a_part_is_an_error(tmp_path, capsys, name):
    write_cell(tmp_path, name, 3)
    assert run_command(cells.main, [str(tmp_path), "--json", str(tmp_path / "out/x")]) == 2
    assert "a cell is named START@LABELS@SEED.json" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["plot", "plot.foo"])
def test_a_plot_of_cells_without_a_known_ending_is_an_error(tmp_path, capsys, name):
    """matplotlib would write plot.png for plot, and know nothing of .foo."""
    write_cell(tmp_path, "scratch@10m@1", 3)
    line = [str(tmp_path), "--json", str(tmp_path / "out/x"), "--png", str(tmp_path / name)]
    assert run_command(cells.main, line) == 2
    assert "must end in .png or .svg or .pdf" in capsys.readouterr().err
    assert not (tmp_path / "out/x").exists()


def test_every_start_has_its_own_line_and_many_sources_one_panel(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    for number in range(9):
        write_cell(tmp_path, f"start{number}@5m@1", number)
        renamed(tmp_path, f"start{number}@5m@1", lambda n: f"s{n % 7}/")
    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: seen.extend(figure.axes))
    cells_figure.draw(cells.read_cells(tmp_path), tmp_path / "x.png")
    (axes,) = seen
    lines = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines]
    assert len(lines) == len(set(lines)) == 9 and axes.get_title("left") == "test"


def test_cells_of_different_test_sets_are_an_error(tmp_path, capsys):
    write_cell(tmp_path, "scratch@10m@1", 3)
    other = json.loads((tmp_path / "scratch@10m@1.json").read_text())
    other["utterances"].pop()
    (tmp_path / "pretrain@10m@1.json").write_text(json.dumps(other))
    arguments = [str(tmp_path), "--json", str(tmp_path / "x")]
    assert run_command(cells.main, arguments) == 2
    assert "2 different test sets" in capsys.readouterr().err


def test_a_phone_rate_that_is_null_is_an_infinite_one(tmp_path):
    made = evaluation(0.5, 1.0, "NUMBER") | {"per": None, "per_interval": [1, None]}
    (tmp_path / "a.json").write_text(json.dumps(made))
    read = read_evaluation(tmp_path / "a.json")
    assert read["per"] == math.inf and read["per_interval"] == [1, math.inf]


def test_an_evaluation_whose_rate_is_null_has_an_infinite_one(tmp_path):
    path = tmp_path / "a.json"
    write_json(
        path, evaluation(0.5, 1.0, "NUMBER") | {"wer": math.inf, "wer_interval": [1, math.inf]}
    )
    read = read_evaluation(path)
    assert read["wer"] == math.inf and read["wer_interval"] == [1, math.inf] and read["cer"] == 0.5


def test_no_legend_lies_over_a_curve(inputs, tmp_path, monkeypatch):
    """Each begins below its panel's axes; and the figure says when, by which code and of what."""
    from matplotlib.figure import Figure

    seen = []

    def look(figure, path, **options):
        figure.draw_without_rendering()
        for axes in figure.axes:
            legend = axes.get_legend()
            if legend is not None:
                seen.append(legend.get_window_extent().y1 <= axes.get_window_extent().y0)
        seen.append("data" in figure.get_supxlabel())

    monkeypatch.setattr(Figure, "savefig", look)
    assert run(inputs) == 0
    assert len(seen) == 6 and all(seen)


@pytest.mark.parametrize("name", ["scratch@10m@1.json", "all.json", "../cells/x.json"])
def test_the_rates_of_the_cells_do_not_go_among_the_cells(tmp_path, capsys, name):
    """They replaced a cell's evaluation, or were taken for a cell by the next call."""
    folder = tmp_path / "cells"
    folder.mkdir()
    (folder / "scratch@10m@1.json").write_text("kept")
    assert run_command(cells.main, [str(folder), "--json", str(folder / name)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "name a file elsewhere" in line
    assert [path.read_text() for path in folder.iterdir()] == ["kept"]


def test_the_use_of_codebooks_goes_to_the_file_that_was_named_and_report_reads_it(
    pretrained, tmp_path, monkeypatch
):
    model = Model(Path("tiny"), pretrained.description, pretrained.params)
    monkeypatch.setattr(codebook, "load", lambda path: model)
    write_split(tmp_path, "dev", texts=("A", "B"), seconds=11)
    out = tmp_path / "units"  # numpy would call it units.npz
    arguments = ["--checkpoint", "x", "--data", f"{tmp_path}:dev", "--out"]
    assert run_command(codebook.main, [*arguments, str(out)]) == 0
    units = read_units(out)
    first, second = units.code_counts.sum(1)
    assert first == second > 0 and units.mask.dtype == bool and len(units.waveform) == 22 * 16000
    assert not list(tmp_path.glob("*.npz")) and not list(tmp_path.glob(".*"))
    assert run_command(codebook.main, [*arguments, "/dev/null"]) == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 cut short", "one array", {"mask": np.ones(3, bool)}, {"waveform": "abc"},
     {"code_counts": np.ones(5, int)}, {"code_counts": np.ones((2, 0), int)}],
)  # fmt: skip
def test_a_file_that_is_no_use_of_codebooks_is_one_line(tmp_path, content):
    path = tmp_path / "units.npz"
    whole = {"waveform": np.ones(9, np.float32), "mask": np.ones(3, bool)}
    whole |= {"code_counts": np.ones((2, 8), int)}
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        with path.open("wb") as file:
            np.save(file, whole["mask"])
    elif "mask" in content:
        np.savez(path, **content)
    else:
        np.savez(path, **(whole | content))
    with pytest.raises(InputError, match="needs waveform, mask, code_counts"):
        read_units(path)

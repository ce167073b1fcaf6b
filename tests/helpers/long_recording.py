"""How well `w2v2 segment` cuts a long recording whose sentences are known, with a real network.

python -m tests.helpers.long_recording --checkpoint RUN --clips CORPUS_OR_FOLDER --hours 2 --out DIR
Joins clips and their transcripts into one recording with pauses, replaces a tenth of the sentences
by others of the same clips, cuts the recording by subtitles and by its running text, and compares
with the truth. DIR has truth.tsv, the recording, its texts and what segment wrote. The subtitles
are up to --jitter seconds early or late, and segment refines them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from tests.helpers.joined_clips import Sentence, join, with_wrong
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.paths import write_json, write_text
from w2v2_jax.prepare import command as prepare
from w2v2_jax.recognition.transcript_formats import clock

RATE = 16000
NEAR = 0.1  # seconds
GOAL = 0.95
LONG = 15  # characters, two or three words


class Clip(NamedTuple):
    """samples: [S] int16 at 16 kHz."""

    samples: np.ndarray
    text: str


class Cost(NamedTuple):
    """seconds: of wall clock. processor: seconds of all its cores. peak: bytes of memory."""

    seconds: float
    processor: float
    peak: int


def clips_of(places: Sequence[str], out: Path) -> list[Clip]:
    """The clips with a transcript of prepared corpora, or of folders, which are prepared first."""
    clips = []
    for number, place in enumerate(places):
        if Path(place).is_dir() and not any(Path(place).rglob("corpus.json")):
            prepared = out / f"clips-{number}"
            prepare.main(["--source", f"folder:{place}", "--out", str(prepared), "--text",
                          "english", "--require-text", "--overwrite"])  # fmt: skip
            place = f"{prepared}:train"
        corpus = open_corpus(place)
        for i in range(len(corpus)):
            if text := corpus.text(i):
                clips.append(Clip(corpus.read(i, 0, int(corpus.num_samples[i])), text))
    if len({clip.text for clip in clips}) < 2:
        raise InputError(f"--clips {' '.join(places)}: needs clips of two different transcripts")
    return clips


def write_all(out: Path, sentences: Sequence[Sentence], jitter: float, rng) -> None:
    """truth.tsv, talk.srt and talk.txt of a recording."""
    rows = [f"{s.start:.3f}\t{s.end:.3f}\t{int(s.wrong)}\t{s.text}" for s in sentences]
    write_text(out / "truth.tsv", "\n".join(["start\tend\twrong\ttext", *rows, ""]))
    write_text(out / "text" / "talk.txt", "\n".join([*(s.text for s in sentences), ""]))
    cues = []
    for number, sentence in enumerate(sentences, 1):
        early, late = rng.uniform(-jitter, jitter, 2)
        start = max(0.0, sentence.start + early)
        end = max(start + 0.1, sentence.end + late)
        times = f"{clock(start, ',')} --> {clock(end, ',')}"
        cues.append(f"{number}\n{times}\n{sentence.text}\n")
    write_text(out / "times" / "talk.srt", "\n".join(cues))


def run_segment(arguments: Sequence[str]) -> Cost:
    """Runs `w2v2 segment` as a process of its own."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "w2v2_jax", "segment", *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # it was waited for here
    if process.returncode:
        raise InputError(f"w2v2 segment {' '.join(arguments)}: exit status {process.returncode}")
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def rows_of(out: Path) -> list[dict]:
    """The rows of both manifests in the order of the text; rejected ones have a reason."""
    rows = []
    for name in ("segments.jsonl", "rejected.jsonl"):
        rows += [json.loads(line) for line in (out / name).read_text().splitlines()]
    return sorted(rows, key=lambda row: int(row["place"].rpartition(":")[2]))


def judge(rows: Sequence[dict], sentences: Sequence[Sentence]) -> dict[str, float]:
    """How the rows of `segment`, one per sentence, compare with the truth."""
    wrong = np.array([s.wrong for s in sentences])
    rejected = np.array(["reason" in row for row in rows])
    missing = [np.nan if row["start"] is None else row["start"] for row in rows]
    starts = np.array(missing) - [s.start for s in sentences]
    ends = np.array([np.nan if r["end"] is None else r["end"] for r in rows])
    ends -= [s.end for s in sentences]
    near = (np.abs(starts) <= NEAR) & (np.abs(ends) <= NEAR)
    used = ~wrong & ~rejected
    told = {
        "sentences": len(rows),
        "wrong": int(wrong.sum()),
        "within_100_ms": float(near[~wrong].mean()),
        "within_100_ms_of_used": share(near, used),
        "starts_within_100_ms": float((np.abs(starts) <= NEAR)[~wrong].mean()),
        "ends_within_100_ms": float((np.abs(ends) <= NEAR)[~wrong].mean()),
        "start_median": float(np.nanmedian(starts[~wrong])),
        "end_median": float(np.nanmedian(ends[~wrong])),
        "wrong_rejected": float(rejected[wrong].mean()),
        "rejected_are_wrong": share(wrong, rejected),
        "right_rejected": float(rejected[~wrong].mean()),
    }
    scores = np.array([-np.inf if r["score"] is None else r["score"] for r in rows])
    limit = float(np.quantile(scores[wrong], GOAL, method="higher"))  # below it lie so many
    long = np.array([len(s.text) >= LONG for s in sentences])
    told |= {
        "score_for_95_percent_of_wrong": limit,
        "right_rejected_then": float((scores <= limit)[~wrong].mean()),
        "right_rejected_then_if_long": share(scores <= limit, ~wrong & long),
    }
    for name, these in (("long", long), ("short", ~long)):
        told |= {
            f"{name}_sentences": int(these.sum()),
            f"{name}_within_100_ms": share(near, ~wrong & these),
            f"{name}_wrong_rejected": share(rejected, wrong & these),
            f"{name}_right_rejected": share(rejected, ~wrong & these),
        }
    return told


def share(holds: np.ndarray, among: np.ndarray) -> float:
    """Of those among which there are any; NaN of none."""
    return float(holds[among].mean()) if among.any() else float("nan")


def report(name: str, told: dict[str, float]) -> None:
    print(f"\n{name}")
    for key, value in told.items():
        print(f"  {key:34} {value:.4g}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--checkpoint", required=True, help="a tuned run")
    add("--clips", required=True, nargs="+", help="prepared corpora DIR[:split], or folders")
    add("--hours", type=float, default=2.0, help="of the recording (%(default)s)")
    add("--out", type=Path, required=True)
    add("--wrong", type=float, default=0.1, help="share of the sentences (%(default)s)")
    add("--jitter", type=float, default=0.5, help="seconds of the subtitles (%(default)s)")
    add("--seed", type=int, default=0)
    add("--keep", action="store_true", help="take the recording that DIR has already")
    add("--options", nargs=argparse.REMAINDER, default=[], help="the rest goes to segment")
    arguments = parser.parse_args(argv)
    out, rng = arguments.out, np.random.default_rng(arguments.seed)
    out.mkdir(parents=True, exist_ok=True)
    audio = out / "talk.wav"
    clips = clips_of(arguments.clips, out)
    sentences = join(clips, audio, arguments.hours * 3600, rng, write=not arguments.keep)
    sentences = with_wrong(sentences, arguments.wrong, rng)
    write_all(out, sentences, arguments.jitter, rng)
    length = soundfile.info(audio).duration
    results = {}
    for name, extra in (("text", []), ("times", ["--refine", str(2 * arguments.jitter)])):
        text = next((out / name).glob("talk.*"))
        cost = run_segment(["--audio", str(audio), "--text", str(text), "--out",
                            str(out / name / "out"), "--checkpoint", arguments.checkpoint,
                            "--overwrite", *extra, *arguments.options])  # fmt: skip
        results[name] = judge(rows_of(out / name / "out"), sentences) | {
            "seconds_per_hour": cost.seconds / length * 3600,
            "real_time_factor": cost.seconds / length,
            "processor_seconds_per_second": cost.processor / length,
            "peak_memory_gb": cost.peak / 1e9,
        }
        report({"text": "running text", "times": "subtitles"}[name], results[name])
    write_json(out / "results.json", results | {"hours": length / 3600})
    print(f"wrote {out / 'results.json'}")


if __name__ == "__main__":
    sys.exit(run_command(main))

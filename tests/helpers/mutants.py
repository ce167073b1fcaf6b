"""Do the tests notice a changed decision? One change at a time, and the tests that guard it.

python -m tests.helpers.mutants [--module NAME ...] [--each 40] [--seed 0] [--json OUT]

A mutant (`tests.helpers.mutations`) is killed where one of its module's everyday tests fails or
takes too long. Of a module with more than `--each` mutants a sample is drawn by the seed. With
--json what an earlier run of the same sources killed is not run again.

Survivors that no test can notice stand with their reason in tests/golden/mutant_survivors.json;
they count as survivors all the same. Status 1 where less than 90 % are killed, or a survivor has
no reason.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.helpers.mutations import Mutant, file_of, mutants
from tests.helpers.places import GOLDEN, ROOT

REASONS = GOLDEN / "mutant_survivors.json"
GOAL = 0.9
RUNS = "tests/train/test_train.py"
# Module -> the tests that guard what it decides.
MODULES = {
    "checkpoint.checksum": "tests/checkpoint",
    "checkpoint.description": "tests/checkpoint tests/interop/test_hugging_face.py",
    "checkpoint.files": "tests/checkpoint",
    "data.buckets": "tests/data/test_buckets.py tests/data/test_plan.py",
    "data.epochs": "tests/data/test_plan_draws.py tests/data/test_plan.py",
    "data.feed": "tests/data/test_transcribed.py tests/train/test_untranscribed.py",
    "data.layout": "tests/data/test_layout.py tests/data/test_plan.py",
    "data.plan": "tests/data/test_plan_draws.py tests/data/test_plan.py",
    "data.transcribed": "tests/data/test_transcribed.py tests/train/test_untranscribed.py",
    "evaluation.scoring": "tests/evaluation/test_scoring.py tests/evaluation/test_statistics.py",
    "interop.fairseq_names": "tests/interop/test_names.py tests/interop/test_fairseq.py "
    "tests/interop/test_wrapped.py",
    "interop.hugging_face_names": "tests/interop/test_names.py tests/interop/test_hugging_face.py "
    "tests/interop/test_adapters.py tests/interop/test_errors.py",
    "interop.names": "tests/interop/test_names.py tests/interop/test_fairseq.py "
    "tests/interop/test_hugging_face.py",
    "interop.tokenizer": "tests/interop/test_tokenizer.py tests/interop/test_hugging_face.py",
    "interop.torchaudio_names": "tests/interop/test_names.py tests/interop/test_fairseq.py "
    "tests/interop/test_wrapped.py",
    "objectives.base": "tests/objectives/test_expectations.py "
    "tests/objectives/test_new_objective.py",
    "objectives.contrastive": "tests/objectives/test_expectations.py "
    "tests/objectives/test_contrastive.py",
    "objectives.ctc": "tests/objectives/test_expectations.py tests/objectives/test_ctc.py",
    "objectives.ctc_loss": "tests/objectives/test_ctc_loss.py tests/objectives/test_ctc.py",
    "objectives.diversity": "tests/objectives/test_diversity.py "
    "tests/objectives/test_contrastive.py",
    "optimizer.adam": "tests/test_optimizer.py tests/test_layer_rates.py",
    "optimizer.rates": "tests/test_layer_rates.py tests/test_optimizer.py",
    "optimizer.schedules": "tests/test_optimizer.py",
    "system.hosts": "tests/system/test_hosts.py",
    "system.join": "tests/system/test_hosts.py",
    "train.loop": f"tests/train/test_loop.py tests/train/test_step_metrics.py {RUNS}",
    "train.restore": "tests/train/test_restore.py",
    "train.run_record": "tests/train/test_run_record.py tests/checkpoint/test_format_1.py",
    "train.start_check": "tests/train/test_warm_start.py",
    "train.validation": "tests/train/test_untranscribed.py",
    "train.warm_start": "tests/train/test_warm_start.py tests/train/test_untranscribed.py",
    "train.workdir": "tests/train/test_workdir.py tests/train/test_run_record.py",
    "train_step": "tests/test_update.py",
    "vocabulary.make": "tests/test_vocabulary.py tests/train/test_warm_start.py "
    "tests/train/test_untranscribed.py tests/train/test_symbols.py",
    "vocabulary.symbols": "tests/test_vocabulary.py tests/texts/test_forms.py "
    "tests/data/test_transcribed.py",
}

# Their tests compile or train: half as many mutants of each are run.
SLOW = {
    "interop.fairseq_names", "interop.hugging_face_names", "interop.torchaudio_names",
    "objectives.base", "objectives.contrastive", "objectives.ctc", "objectives.ctc_loss",
    "objectives.diversity", "train.loop",
}  # fmt: skip


def chosen(module: str, each: int, seed: int) -> list[Mutant]:
    """`each` of a module's mutants by the seed, half as many of a SLOW one's; all of them for 0.
    More of them hold the fewer."""
    every = list(mutants(module))
    random.Random(f"{seed} {module}").shuffle(every)
    most = (each // 2 if module in SLOW else each) or len(every)
    return sorted(every[-most:], key=lambda mutant: (mutant.first, mutant.text))


def survivors_of(
    module: str, picks: list[Mutant], killed_before: set[str], mutant_runs
) -> set[str]:
    """Keys of the mutants that live; says one line of each that is run."""
    picks = [mutant for mutant in picks if mutant.key not in killed_before]
    files = mutant_runs.everyday(MODULES[module]) if picks else []
    names = tuple(MODULES)
    for file in files:
        observed = mutant_runs.observe(file, names)
        if observed.trouble:
            raise SystemExit(f"{file} fails without any change: {observed.trouble}")
        mutant_runs.preload(observed.imported)
    living = set()
    for mutant in picks:
        start = time.monotonic()
        order = mutant_runs.order(mutant, files, names)
        lives = mutant_runs.survives(mutant, order)
        word = "killed" if not lives else "SURVIVES" if order.tests else "NOT RUN BY A TEST"
        print(f"{word:<9}{time.monotonic() - start:6.1f} s  {mutant.key}", flush=True)
        if lives:
            living.add(mutant.key)
    return living


def report(results: dict[str, tuple[list[Mutant], set[str]]], reasons: dict[str, str]) -> int:
    """Prints a table with a row a module, and every survivor without a reason; the status."""
    rows, unexplained = [], []
    for module, (picks, living) in results.items():
        excused = sum(key in reasons for key in living)
        unexplained += sorted(living - reasons.keys())
        rows.append((module, len(mutants(module)), len(picks), len(picks) - len(living), excused))
    rows.append(("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
    print("\n| module | mutants | run | killed | with a reason | score |")
    print("|---|---|---|---|---|---|")
    for module, total, run, killed, excused in rows:
        score = f"{100 * killed / run:.0f} %" if run else ""
        print(f"| `{module}` | {total} | {run} | {killed} | {excused} | {score} |")
    for key in unexplained:
        print(f"survives without a reason: {key}")
    _, _, run, killed, _ = rows[-1]
    return int(killed < GOAL * run or bool(unexplained))


def _sources(module: str) -> str:
    """A hash of what a mutant of the module is made from."""
    return hashlib.sha256(file_of(module).read_bytes()).hexdigest()[:16]


def read_reasons() -> dict[str, str]:
    """Reason of each survivor by its key, "module: before  ->  after"."""
    return json.loads(REASONS.read_text()) if REASONS.exists() else {}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--module", nargs="+", default=list(MODULES), choices=list(MODULES))
    parser.add_argument("--each", type=int, default=40, help="at most so many a module; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--json", type=Path, help="results, and those of an earlier run")
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    arguments = parser.parse_args(argv)
    picks = {m: chosen(m, arguments.each, arguments.seed) for m in arguments.module}
    if arguments.list:
        print("\n".join(mutant.key for mutants in picks.values() for mutant in mutants))
        return 0
    with tempfile.TemporaryDirectory() as programs:
        # What a mutant leaves as it is need not be compiled again.
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", programs)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        os.chdir(ROOT)
        from tests.helpers import mutant_runs

        mutant_runs.preload([])
        results = {}
        stored = json.loads(arguments.json.read_text()) if _exists(arguments.json) else {}
        for module, rows in picks.items():
            before = stored.get(module, {})
            same = before.get("sources") == _sources(module)
            killed = set(before["killed"]) if same else set()
            living = survivors_of(module, rows, killed, mutant_runs)
            results[module] = (rows, living)
            killed |= {mutant.key for mutant in rows} - living
            stored[module] = {
                "sources": _sources(module), "killed": sorted(killed), "living": sorted(living)
            }  # fmt: skip
            if arguments.json:
                arguments.json.write_text(json.dumps(stored, indent=1))
    print(f"\nat most {arguments.each or 'all'} a module, seed {arguments.seed}")
    return report(results, read_reasons())


def _exists(path: Path | None) -> bool:
    return path is not None and path.exists()


if __name__ == "__main__":
    sys.exit(main())

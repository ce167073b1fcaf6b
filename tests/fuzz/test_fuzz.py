"""Every reader of foreign files against damaged ones, for W2V2_FUZZ_MINUTES (30) in all.

Run by `bash launch/test.sh fuzz`. Each reader works in a process of its own (`fuzz_worker.py`) with
limited memory, so that a crash of a library is a finding too. W2V2_FUZZ_SEED (0) picks the search.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.fuzz_cases import CASES
from tests.helpers.places import ROOT

SECONDS = 60 * float(os.environ.get("W2V2_FUZZ_MINUTES", "30")) / len(CASES)
PATIENCE = 300  # seconds more, for imports and the last example on a busy machine


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes()[:2000].hex() for path in files}


@pytest.mark.fuzz
@pytest.mark.parametrize("name", CASES)
def test_damaged_files_are_read_or_refused_and_nothing_else_happens(name, tmp_path):
    pytest.importorskip("hypothesis")
    seed = os.environ.get("W2V2_FUZZ_SEED", "0")
    command = [
        sys.executable,
        "-m",
        "tests.helpers.fuzz_worker",
        name,
        str(SECONDS),
        seed,
        tmp_path / "fuzz",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open(tmp_path / "out", "w") as out, open(tmp_path / "err", "w") as err:
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=err)
        end = time.monotonic() + SECONDS + PATIENCE
        try:
            worker.wait(max(1.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
            pytest.fail(f"{name} hangs on {contents(tmp_path / 'fuzz' / 'now')}")
    last = (tmp_path / "err").read_text(errors="replace")[-3000:]
    if worker.returncode < 0:
        pytest.fail(f"{name} died of signal {-worker.returncode}: "
                    f"{contents(tmp_path / 'fuzz' / 'now')}\n{last}")  # fmt: skip
    assert worker.returncode == 0, last
    result = json.loads((tmp_path / "out").read_text().splitlines()[-1])
    print(json.dumps(result))
    with open(os.environ.get("W2V2_FUZZ_LOG", os.devnull), "a") as log:
        log.write(json.dumps(result) + "\n")
    assert result["examples"] > SECONDS / 2 and result["read"] > 0
    assert not result["findings"], f"{result['findings']}: kept in {tmp_path / 'fuzz'}"

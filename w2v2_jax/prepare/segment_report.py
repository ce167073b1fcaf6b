"""What `w2v2 segment` writes and prints at the end: manifests of the segments, and a report."""

from __future__ import annotations

import collections
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from w2v2_jax.errors import counted, printable
from w2v2_jax.paths import json_text, write_json, write_text
from w2v2_jax.prepare.account import Tally
from w2v2_jax.prepare.segment_cuts import Segment

SEGMENTS, REJECTED, REPORT = "segments.jsonl", "rejected.jsonl", "report.json"


@dataclasses.dataclass
class Outcome:
    """Rows of the two manifests, and the report's counts over all recordings."""

    used: list[dict] = dataclasses.field(default_factory=list)
    rejected: list[dict] = dataclasses.field(default_factory=list)
    reasons: Tally = dataclasses.field(default_factory=Tally)
    failed: Tally = dataclasses.field(default_factory=Tally)
    replaced: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def sort(self, segment: Segment, audio: str) -> None:
        """Puts a segment of the recording `audio` among the used or the rejected ones."""
        row = segment.row(audio)
        if segment.reason is None:
            self.used.append(row)
            return
        self.rejected.append(row)
        score = f" ({segment.fit.score:.2f})" if math.isfinite(segment.fit.score) else ""
        self.reasons.add(segment.reason, f"{segment.place}{score}: {segment.text[:60]}")

    def write(self, out: Path, recordings: int, unpaired: Tally) -> None:
        """Writes the manifests and the report into `out`, and prints a summary. Without a used
        segment there is no manifest of them, nor an older one."""
        write_text(out / REJECTED, _lines(self.rejected))
        if self.used:
            write_text(out / SEGMENTS, _lines(self.used))
        else:
            (out / SEGMENTS).unlink(missing_ok=True)
        told = self._report(recordings, unpaired)
        write_json(out / REPORT, told)
        print(
            f"{counted(recordings, 'recording')}: {counted(told['segments'], 'segment')}, "
            f"{told['used']} used ({told['hours']:.3f} h), {len(self.rejected)} rejected"
        )
        for head, tally in (
            ("rejected:", self.reasons),
            ("texts and recordings left out, or taken with a doubt:", unpaired),
        ):
            if tally.counts:
                print(f"{head}\n{tally.table()}")
        if self.replaced:
            shown = ", ".join(f"{what} ({n} times)" for what, n in self.replaced.most_common(8))
            print(f"characters without a symbol were replaced: {printable(shown)}")
        print(f"wrote {out / (SEGMENTS if self.used else REJECTED)}")

    def why_none(self, out: Path) -> str:
        """Why no segment is used; "" if one is."""
        if self.used:
            return ""
        why = ", ".join(f"{reason} ({n})" for reason, n in self.reasons.counts.most_common(3))
        told = f"{why}; {out / REJECTED} has them" if why else "the texts have no words"
        return f"no segment is kept, and {SEGMENTS} is not written: {told}"

    def _report(self, recordings: int, unpaired: Tally) -> dict[str, Any]:
        scores = [row["score"] for row in self.used if row["score"] is not None]
        return {
            "recordings": recordings,
            "segments": len(self.used) + len(self.rejected),
            "used": len(self.used),
            "hours": sum(row["duration"] for row in self.used) / 3600,
            "score_percentiles": _percentiles(scores),
            "rejected": self.reasons.to_json(),
            "recordings_failed": self.failed.to_json(),
            "unpaired": unpaired.to_json(),
            "characters_without_symbol": dict(self.replaced.most_common()),
        }


def _lines(rows: list[dict]) -> str:
    return "".join(f"{json_text(row)}\n" for row in rows)


def _percentiles(scores: list[float]) -> dict[str, float]:
    levels = (1, 5, 25, 50, 75, 95)
    values = np.percentile(scores, levels).tolist() if scores else []
    return {str(level): round(value, 3) for level, value in zip(levels, values, strict=False)}

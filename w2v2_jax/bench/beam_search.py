"""Frames per second and core of the beam search, and of flashlight called directly.

python -m w2v2_jax.bench.beam_search --logits DIR --lm FILE [--lexicon FILE] [--frames 1000000]

Both decode the same utterances in turns, in one process. CPU seconds are measured, so other work on
the machine changes little. The direct calls get ready log probabilities and their results are not
converted; the package's decoder goes from logits to words with times.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import Any

import numpy as np

from w2v2_jax.decode import flashlight, options
from w2v2_jax.decode.beam import LexiconDecoder, LexiconFreeDecoder
from w2v2_jax.decode.emissions import Emissions
from w2v2_jax.decode.hypothesis import log_softmax
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.paths import json_text, write_json
from w2v2_jax.system.arguments import CommandParser, add_json
from w2v2_jax.system.outputs import try_outputs


def _seconds(function, rows) -> float:
    start = time.process_time()
    for row in rows:
        function(row)
    return time.process_time() - start


def measure(
    decoder: LexiconDecoder | LexiconFreeDecoder, emissions: Emissions, *, frames: int, group: int
) -> dict[str, Any]:
    """Decodes at least `frames` frames (the utterances repeatedly) in groups, the sides in turns.

    Raises ValueError if the two sides do not find the same scores.
    """
    search = dataclasses.replace(decoder, engine="flashlight")._search
    done, ours, bare = 0, 0.0, 0.0
    ratios: list[float] = []
    at = 0
    while done < frames:
        rows = [emissions[(at + n) % len(emissions)] for n in range(group)]
        ready = [log_softmax(row) for row in rows]
        if at == 0 and decoder(rows[0])[0].score != flashlight.decode(search, ready[0])[0].score:
            raise ValueError("the two sides decode differently")
        sides = [(decoder, rows), (lambda row: flashlight.decode(search, row), ready)]
        order = (0, 1) if (at // group) % 2 == 0 else (1, 0)
        spent = [0.0, 0.0]
        for side in order:
            spent[side] = _seconds(*sides[side])
        ours, bare = ours + spent[0], bare + spent[1]
        ratios.append(spent[1] / spent[0])
        done += sum(len(row) for row in rows)
        at += group
    low, high = np.quantile(ratios, [0.25, 0.75])
    return {
        "frames": done,
        "frames_per_cpu_second": done / ours,
        "flashlight_frames_per_cpu_second": done / bare,
        "rate_of_flashlights": bare / ours,
        "ratio_quartiles": [float(low), float(high)],
    }


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2_jax.bench.beam_search", description=__doc__.splitlines()[0])
    parser.add_argument("--logits", required=True, metavar="DIR")
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--group", type=int, default=20, help="utterances a turn")
    add_json(parser, required=False)
    options.add_arguments(parser)
    arguments = parser.parse_args(argv)
    try_outputs(arguments, "json")
    emissions = Emissions(arguments.logits)
    decoder = options.make_decoder(arguments, emissions.vocabulary)
    if not isinstance(decoder, LexiconDecoder | LexiconFreeDecoder):
        raise InputError("the benchmark times the beam search: give --lm or --decoder beam")
    result = measure(decoder, emissions, frames=arguments.frames, group=arguments.group)
    if arguments.json:
        write_json(arguments.json, result)
    print(json_text(result, indent=1))


if __name__ == "__main__":
    sys.exit(run_command(main))

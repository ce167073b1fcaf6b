"""Preparation in parts on Apache Beam: Dataflow, Spark, Flink, or this machine.

Data sets of TFDS use TFDS's own Beam support: a data set that Beam builds is built with the same
options (its DownloadConfig), and record files are the unit of work, as in `tfds.beam.ReadFromTFDS`.
The pipeline itself is plain Beam. A TFDS builder around any folder would write all samples once
more as records, ordered by hashed keys, could not report what it rejected and why, and would
restart a killed split from the beginning.

The pipeline carries only the numbers of parts (runners refuse graphs of many megabytes); the parts
are read from the work folder. Workers need this package and its requirements, and access to the
audio and the output folder; options such as --sdk_container_image belong to the runner.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable
from typing import Any

from w2v2_jax.errors import InputError, lacking

NAMESPACE = "w2v2_jax"


def import_beam():
    """The apache_beam module; InputError when it is not installed."""
    try:
        import apache_beam
    except ImportError as error:
        install = "pip install apache-beam"
        raise InputError(lacking(error, "--beam needs Apache Beam", install)) from error
    return apache_beam


def pipeline_options(options: list[str]):
    """Beam's options object for flags such as --runner=FlinkRunner; InputError for a value that it
    refuses. (It passes unknown flags on or warns: some runners have flags of their own.)
    """
    import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = PipelineOptions(flags=list(options))
            parsed.get_all_options()
    except SystemExit:
        line = said.getvalue().strip().splitlines()[-1].partition("error: ")[2]
        raise InputError(f"--beam-options: {line}") from None
    return parsed


def download_config(options: list[str]) -> dict[str, Any]:
    """Arguments of TFDS's DownloadConfig: a Beam-based data set is built by the same runner."""
    return {"beam_options": pipeline_options(options)}


def run(function: Callable[[int], str], count: int, *, options: list[str]) -> dict[str, int]:
    """Applies the function to 0 .. count - 1 on Beam's workers; returns how often each result came.

    Raises InputError with the runner's own message if the pipeline fails.
    """
    beam = import_beam()
    try:
        pipeline = beam.Pipeline(options=pipeline_options(options))
        numbers = pipeline | "Numbers" >> beam.Create(list(range(count)))
        _ = numbers | beam.Reshuffle() | "Do" >> beam.Map(functools.partial(_counted, function))
        result = pipeline.run()
        state = result.wait_until_finish()
    except InputError:
        raise
    except Exception as error:  # each runner has its own kinds
        said = " ".join(str(error).split())
        raise InputError(f"--beam: {said[:500]}; finished pieces are kept") from error
    if state != beam.runners.runner.PipelineState.DONE:
        raise InputError(f"--beam: the pipeline ended as {state}; finished pieces are kept")
    return _counts(beam, result)


def _counted(function: Callable[[int], str], number: int) -> int:
    from apache_beam.metrics import Metrics

    Metrics.counter(NAMESPACE, function(number)).inc()
    return number


def _counts(beam, result) -> dict[str, int]:
    wanted = beam.metrics.MetricsFilter().with_namespace(NAMESPACE)
    counters = result.metrics().query(wanted)["counters"]
    return {c.key.metric.name: c.result for c in counters}

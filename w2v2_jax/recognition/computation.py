"""The dtype of a network's computation, as an option of the commands that run one."""

from __future__ import annotations

import argparse

from w2v2_jax.models.execution import CHOICES, PLAIN, Execution


def add_dtype(
    parser: argparse.ArgumentParser, option: str = "--dtype", *, dest: str = "compute_dtype"
) -> None:
    """--dtype, or another option where that is the dtype of stored values."""
    parser.add_argument(
        option,
        dest=dest,
        default=PLAIN.dtype,
        choices=CHOICES["dtype"],
        help=f"dtype of the computation ({PLAIN.dtype})",
    )


def execution_of(arguments: argparse.Namespace) -> Execution:
    """How a command computes its network."""
    return Execution(dtype=arguments.compute_dtype)


def as_origin(execution: Execution) -> dict[str, str]:
    """What the files with a command's results say about it: nothing if it is the usual."""
    return {} if execution == PLAIN else {"compute_dtype": execution.dtype}

"""The numbers of microbatches that a batch's rows divide into, and the fewest that fit memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

SLACK = 0.8  # of the number that follows from a compilation: some steps shrink faster than rows
Shape = tuple[int, int]  # rows of a batch on all devices, samples of a row


def divisions(
    shapes: Iterable[Shape], *, shards: int, row_multiple: Callable[[int], int]
) -> list[int]:
    """The numbers of microbatches into which the rows of all shapes divide, in rising order.

    shards: devices that the rows are spread over. row_multiple: samples of a row -> the number that
    the rows of one microbatch on one device must be a multiple of. Empty if even 1 is impossible.
    """
    rows = [(rows, shards * row_multiple(samples)) for rows, samples in shapes]
    most = min((count // multiple for count, multiple in rows), default=0)
    return [
        n
        for n in range(1, most + 1)
        if all(count % (multiple * n) == 0 for count, multiple in rows)
    ]


def parts_of_validation(divisors: Sequence[int], shape: Shape, most_samples: float) -> int:
    """The smallest number of parts of a validation batch of which each holds at most so many
    samples, as far as its rows divide."""
    rows, samples = shape
    fitting = (n for n in divisors if rows * samples <= n * most_samples)
    return next(fitting, max(divisors, default=1))


def fewest(
    divisors: Sequence[int], needed: Callable[[int], int | None], *, room: int, state: int
) -> tuple[int, bool]:
    """The fewest microbatches whose step fits into `room` bytes, and whether it does; if none
    does, the most.

    needed: microbatches -> bytes by the compiler, None if it refused without a figure. Each call is
    a compilation, so numbers that cannot fit are skipped: memory beyond the state (the bytes of
    parameters and moments) is about proportional to the size of a microbatch.
    """
    number = divisors[0]
    while True:
        bytes_needed = needed(number)
        if bytes_needed is not None and bytes_needed <= room:
            return number, True
        larger = [n for n in divisors if n > number]
        if not larger:
            return number, False
        least = 2.0 * number
        if bytes_needed is not None:
            fixed = min(state, room // 2)
            least = SLACK * number * (bytes_needed - fixed) / (room - fixed)
        number = next((n for n in larger if n >= least), larger[-1])

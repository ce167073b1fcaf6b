"""train.accumulate="auto": the fewest microbatches whose step fits into the device's memory.

Microbatches change nothing but the order of sums, so a run may use a different number on every
machine, and a different one after it resumes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax

from w2v2_jax import partition
from w2v2_jax.batch import SAMPLE_RATE, Batch
from w2v2_jax.experiment.build import Experiment
from w2v2_jax.experiment.microbatches import Shape, divisions, fewest
from w2v2_jax.experiment.settings import AUTO
from w2v2_jax.system import hosts
from w2v2_jax.system.device_memory import GIB, device_memory, memory_of, memory_shortage

# A step's share of a device's memory; the rest is for the next batch and for fragmentation.
ROOM = 0.9
MORE_AUDIO = 1.05  # batches of longer rows need more memory for attention
REFUSED = 2**62  # bytes of a step that a compiler refused without a figure


class StepMemory(NamedTuple):
    """needed: bytes that the step of (rows, samples) takes on a device, None if the compiler
    refused it without a number. capacity: the device's memory in bytes, None if unknown."""

    rows: int
    samples: int
    needed: int | None
    capacity: int | None

    @property
    def fits(self) -> bool:
        return self.needed is not None and (self.capacity is None or self.needed <= self.capacity)


class Choice(NamedTuple):
    """The experiment with its number of microbatches, a line that gives the reason (empty if the
    configuration sets the number), and whether its steps fit."""

    experiment: Experiment
    line: str
    fits: bool


def is_auto(experiment: Experiment) -> bool:
    """Whether the number of microbatches is still to be chosen."""
    return experiment.settings.train.accumulate == AUTO


def memory_limit(experiment: Experiment) -> int | None:
    """Bytes that a run may use on each device, the minimum over hosts; None if a device reports no
    limit, as a CPU, whose memory is shared with other programs."""
    devices = [d for d in experiment.mesh.local_devices if d.platform != "cpu"]
    limits = [device_memory(device, sharing=1) or 0 for device in devices]
    return -hosts.largest(-min(limits, default=0)) or None


def possible(experiment: Experiment, shapes: Sequence[Shape]) -> list[int]:
    """The numbers of microbatches that the rows of all shapes divide into."""
    return divisions(
        shapes,
        shards=partition.rows_axis(experiment.mesh),
        row_multiple=experiment.objective.row_multiple,
    )


def state_bytes(experiment: Experiment) -> int:
    """Bytes of the parameters and moments on each device."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(experiment.abstract_state)
    )


def largest(shapes: Sequence[Shape]) -> list[Shape]:
    """The shapes that may need the most memory: the one with the longest rows, and others that hold
    clearly more audio. Each costs a compilation."""
    longest = max(shapes, key=lambda shape: shape[1])
    fullest = max(shapes, key=lambda shape: shape[0] * shape[1])
    more = fullest[0] * fullest[1] > MORE_AUDIO * longest[0] * longest[1]
    return [longest, fullest] if more else [longest]


def step_memory(experiment: Experiment, batch: Batch, capacity: int | None) -> StepMemory:
    """Memory of the training step for batches of this shape, from its compilation."""
    rows, samples = batch.waveforms.shape
    objective = experiment.objective.at(experiment.settings.train.steps - 1)
    try:
        compiled = experiment.step_function(objective, batch)
    except jax.errors.JaxRuntimeError as error:
        shortage = memory_shortage(str(error))
        if shortage is None:
            raise
        needed, there = shortage
        return StepMemory(rows, samples, needed or None, there or capacity)
    return StepMemory(rows, samples, memory_of(compiled)["total"], capacity)


def choose(
    experiment: Experiment, batches: Sequence[Batch], shapes: Sequence[Shape], limit: int | None
) -> Choice:
    """Compiles the steps of the batches with more and more microbatches until they fit into ROOM of
    `limit` bytes. The last compiled steps stay in the experiment.

    batches: abstract batches of the `largest` shapes. shapes: all shapes that are trained on, whose
    rows must divide into the microbatches. All hosts call this together and get the same number.
    """
    if not is_auto(experiment):
        return Choice(experiment, "", True)
    setting = f"config.train.accumulate={AUTO}"
    device = experiment.mesh.devices.flat[0].device_kind
    experiment.check_shapes(list(shapes), 1, "training")
    if limit is None:
        line = (
            f"{setting}: 1 microbatch, for no limit of the memory of {device} devices is known; "
            "a number sets another"
        )
        return Choice(experiment.with_accumulate(1), line, True)
    tried: dict[int, tuple[Experiment, StepMemory]] = {}

    def needed(number: int) -> int | None:
        changed = experiment.with_accumulate(number)
        memories = [step_memory(changed, batch, limit) for batch in batches]
        worst = max(memories, key=lambda memory: memory.needed or REFUSED)
        # The compiler of one host may refuse a step that another host's compiler accepts.
        bytes_needed = hosts.largest(worst.needed or REFUSED)
        worst = worst._replace(needed=None if bytes_needed >= REFUSED else bytes_needed)
        tried.clear()  # an earlier number's programs
        tried[number] = changed, worst
        return worst.needed

    number, fits = fewest(
        possible(experiment, shapes), needed, room=int(ROOM * limit), state=state_bytes(experiment)
    )
    chosen, memory = tried[number]
    size = "more" if memory.needed is None else f"{memory.needed / GIB:.2f} GiB"
    line = (
        f"{setting}: {count(number)}; an update of {memory.rows} rows x "
        f"{memory.samples / SAMPLE_RATE:g} s takes {size}, {ROOM:.0%} of a device's are "
        f"{ROOM * limit / GIB:.2f} GiB"
    )
    return Choice(chosen, line, fits)


def count(number: int) -> str:
    """1 microbatch, 2 microbatches."""
    return f"{number} microbatch{'es' if number > 1 else ''}"

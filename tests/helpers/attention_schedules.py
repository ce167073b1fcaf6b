"""What attention costs on a TPU by the schedules of libtpu: the table of docs/results/speed-tpu.md.

Run `python -m tests.helpers.attention_schedules tpu_kernel v5p:2x2x1`, where libtpu is installed;
no TPU is needed. It compiles the forward and backward pass of one layer's softmax, dropout and
sums in bfloat16, without the products with weights (or with them: `--projections`). It prints the
cycles of one device: of each operation the longer of its schedule and its bytes over HBM's rate.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax import partition
from w2v2_jax.aot import bundles, cycles, hlo, schedule, topology
from w2v2_jax.aot.chips import chip_of
from w2v2_jax.models import attention, attention_kernel_tpu, row_random
from w2v2_jax.models.attention_tpu import few_passes, scores_of

WIDTH = 64


def plain(query, key, value, real, keys, rate: float):
    """The middle of `attention.plain`."""
    scores = jnp.where(real[:, None, None, :], scores_of(query, key), -1e30)
    weights = row_random.dropout(jax.nn.softmax(scores).astype(query.dtype), rate, keys)
    return jnp.einsum("bhqk,bhks->bhqs", weights, value)


def of_one_array(formulation):
    """The formulation as a function of one array [3, B, H, T, S]."""
    return lambda qkv, *rest: formulation(*qkv, *rest)


MIDDLE = {
    "plain": of_one_array(plain),
    "tpu_few_passes": of_one_array(few_passes),
    "tpu_kernel": attention_kernel_tpu.attend,
}


def operands(options) -> tuple[list, tuple[int, ...]]:
    """The differentiable arrays of a formulation, and the shape of its result."""
    rows, frames, heads = options.rows, options.frames, options.heads
    if options.projections:
        x, dim = (rows, frames, heads * WIDTH), heads * WIDTH
        weights = (dim, 3, heads, WIDTH), (3, heads, WIDTH), (heads, WIDTH, dim)
        return [(x, jnp.bfloat16), *((shape, jnp.float32) for shape in weights)], x
    if options.formulation == "tpu_kernel":
        shape, out = (rows, 3, heads, WIDTH, frames), (rows, heads, WIDTH, frames)
    else:
        shape, out = (3, rows, heads, frames, WIDTH), (rows, heads, frames, WIDTH)
    return [(shape, jnp.bfloat16)], out


def compiled(options, device):
    """The forward and backward pass, compiled for one device."""
    table = attention.FORMULATIONS if options.projections else MIDDLE
    formulation, rate = table[options.formulation], options.dropout
    shapes, out = operands(options)
    rows = options.rows

    def both(inputs, real, keys, gradient):
        keys = jax.random.wrap_key_data(keys) if rate else None
        result, pull = jax.vjp(lambda *x: formulation(*x, real, keys, rate), *inputs)
        return result, pull(gradient)

    mesh = partition.make_mesh(data=1, devices=[device])
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    sds = lambda shape, dtype: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)  # noqa: E731
    arguments = (
        [sds(*one) for one in shapes], sds((rows, options.frames), bool),
        sds((rows, 2), np.uint32), sds(out, jnp.bfloat16),
    )  # fmt: skip
    with jax.set_mesh(mesh):
        return jax.jit(both).lower(*arguments).compile()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("formulation", choices=sorted(MIDDLE))
    parser.add_argument("topology")
    for name, value in (("rows", 12), ("frames", 781), ("heads", 12)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--projections", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        schedule.request(Path(folder))
        device = topology.target(options.topology).devices[0]
        chip = chip_of(device.device_kind)
        module = hlo.parse(compiled(options, device).as_text())
        found = schedule.with_twins(module, bundles.read_folder(Path(folder)))
    operations = cycles.costs(module, hlo.executions(module))
    result = schedule.estimate(operations, found, chip)
    for row in result.top:
        numbers = (row[name] * chip.clock / 1e6 for name in ("seconds", "schedule", "memory"))
        print(*(f"{number:8.3f}" for number in numbers), row["unit"].ljust(6), row["name"])
    print(
        f"{result.seconds * chip.clock / 1e6:8.3f} Mcycles, {result.seconds * 1e3:.3f} ms;", end=" "
    )
    print(f"without a schedule {result.without}, unknown loops {result.unknown_loops}")


if __name__ == "__main__":
    main()

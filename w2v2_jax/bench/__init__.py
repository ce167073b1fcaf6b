"""Command line: speed of the train step, of inference or of the data pipeline on this machine.

python -m w2v2_jax.bench --what train|infer|data [--config FILE.py[:arg]] [--peer hf] --json OUT

Importing this package imports nothing heavy: a peer's process must not carry JAX in its memory.
"""


def main(argv: list[str] | None = None) -> None:
    from w2v2_jax.bench.command import main as run

    run(argv)

"""From the logits of a fine-tuned model to text: greedy and beam search, words with times."""


def main(argv: list[str] | None = None) -> None:
    """`w2v2 decode`, see `command`."""
    from w2v2_jax.decode.command import main as run

    run(argv)

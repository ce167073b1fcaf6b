"""Writes the table of differences to fairseq and Hugging Face into docs/parity.md.

    python -m tests.helpers.parity_table

For every stored configuration the largest difference of each kind, between the stored outputs of
the reference implementations and this package on this machine. Needs no torch. The table stands
between two marker lines, which stay.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

from tests.helpers import fairseq_cases
from tests.helpers.parity_cases import GRADIENT, HIDDEN, HUGGING_FACE_CASES, LOSS, HuggingFaceCase
from tests.helpers.places import ROOT

PAGE = ROOT / "docs" / "parity.md"
START, END = "<!-- table: python -m tests.helpers.parity_table -->", "<!-- end of the table -->"
COLUMNS = (
    "reference", "configuration", "hidden states", "contrastive logits", "quantizer ids",
    "loss terms", "gradients", "CTC logits", "CTC loss", "CTC gradients",
)  # fmt: skip
REFERENCES = (
    ("fairseq", fairseq_cases.FairseqCase, fairseq_cases.CASES),
    ("transformers", HuggingFaceCase, HUGGING_FACE_CASES),
)


def figures(case) -> list[tuple[float, float]]:
    """(largest difference, tolerance) of each numeric column, in the columns' order."""
    logits, loss = case.ctc_differences()
    return [
        (max(case.hidden_differences().values()), HIDDEN),
        (case.logit_difference(), HIDDEN),
        (max(case.loss_differences().values()), LOSS),
        (max(case.gradient_differences().values()), GRADIENT),
        (logits, HIDDEN),
        (loss, LOSS),
        (max(case.ctc_gradient_differences().values()), GRADIENT),
    ]


def row(reference: str, name: str, case) -> str:
    cells = [f"{value:.0e}" for value, _ in figures(case)]
    cells.insert(2, "equal" if case.ids_equal() else "NOT EQUAL")
    return "| " + " | ".join([reference, name, *cells]) + " |"


def table() -> list[str]:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    tolerances = (HIDDEN, HIDDEN, "equal", LOSS, GRADIENT, HIDDEN, LOSS, GRADIENT)
    cells = [x if isinstance(x, str) else f"{x:.0e}" for x in tolerances]
    lines.append("| | *must be below* | " + " | ".join(f"*{cell}*" for cell in cells) + " |")
    for reference, make, names in REFERENCES:
        lines += [row(reference, name, make(name)) for name in names]
    return lines


def main() -> None:
    text = PAGE.read_text("utf-8")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    device = jax.devices()[0].platform
    note = f"Measured with jax {jax.__version__} on {device}, float32."
    middle = "\n".join([START, note, "", *table(), END])
    PAGE.write_text(before + middle + after, "utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()

"""The table in docs/parity.md names every stored configuration and holds what it promises."""

from tests.helpers.fairseq_cases import CASES
from tests.helpers.parity_cases import GRADIENT, HIDDEN, HUGGING_FACE_CASES, LOSS
from tests.helpers.parity_table import END, PAGE, START


def test_the_page_lists_every_stored_configuration_below_its_tolerance():
    lines = PAGE.read_text("utf-8").split(START)[1].split(END)[0].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    rows = [row for row in rows if row and row[0] in ("fairseq", "transformers")]
    expected = [("fairseq", n) for n in CASES] + [("transformers", n) for n in HUGGING_FACE_CASES]
    assert [tuple(row[:2]) for row in rows] == expected
    for row in rows:
        hidden, logits, ids, loss, gradient, ctc, ctc_loss, ctc_gradient = row[2:]
        assert ids == "equal"
        assert max(map(float, (hidden, logits, ctc))) < HIDDEN, row
        assert max(map(float, (loss, ctc_loss))) < LOSS, row
        assert max(map(float, (gradient, ctc_gradient))) < GRADIENT, row

"""Where a running text is cut into sentences, and where not."""

import pytest

from w2v2_jax.prepare.sentences import sentences


@pytest.mark.parametrize(
    ("lines", "cut"),
    [
        (["One two.", "Three? Four!"], ["One two.", "Three?", "Four!"]),
        (["a line that is", "broken anywhere. And", "more"],
         ["a line that is broken anywhere.", "And more"]),
        (["A heading", "", "Text."], ["A heading", "Text."]),
        (["Mr. Smith met J. R. Doe. He left."], ["Mr. Smith met J. R. Doe.", "He left."]),
        (["It cost 3.50 or so. Yes."], ["It cost 3.50 or so.", "Yes."]),
        (['"Stop!" she said. "No."'], ['"Stop!"', "she said.", '"No."']),
        (["etc. and so on. End."], ["etc. and so on.", "End."]),
        (["He said no. Then he left."], ["He said no.", "Then he left."]),
        (["\u4f60\u597d\u3002\u518d\u89c1\uff01"], ["\u4f60\u597d\u3002", "\u518d\u89c1\uff01"]),
        (["", "  "], []),
    ],
)  # fmt: skip
def test_a_text_is_cut_at_the_ends_of_its_sentences(lines, cut):
    assert list(sentences(lines)) == cut


def test_no_letter_is_lost_or_doubled():
    text = "A. b? C... (D!) e.g. this. 'F.' G"
    assert " ".join(sentences([text])).split() == text.split()

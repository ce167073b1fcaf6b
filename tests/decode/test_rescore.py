"""Rescoring n-best lists by a causal Transformer of a local folder."""

import dataclasses

import numpy as np
import pytest

from w2v2_jax.decode.hypothesis import Hypothesis
from w2v2_jax.decode.rescore import RescoringDecoder, TransformerLM
from w2v2_jax.errors import InputError

TEXTS = ["the cat sat", "the", "", "a cat sat on the cat", "sat sat"]


@dataclasses.dataclass(frozen=True)
class Fixed:
    """A decoder that always says the same."""

    texts: tuple[str, ...]

    def prepare(self):
        pass

    def __call__(self, logits):
        return [
            Hypothesis(text, -n, [], np.zeros(0, int), -2.0 * n, -0.5 * n)
            for n, text in enumerate(self.texts)
        ]


class ByLength:
    """ln P is minus the number of letters."""

    def prepare(self):
        pass

    def __call__(self, texts):
        return np.array([-float(len(text)) for text in texts])


def test_the_new_score_is_the_sum_it_says_and_the_best_come_first():
    inner = Fixed(("aaaa bb", "aa", "a b c"))
    decoder = RescoringDecoder(inner, ByLength(), 0.5, 1.5, ngram_weight=0.1, nbest=2)
    # -2n + .5 * -letters + 1.5 words + .1 * -.5n
    expected = {"aaaa bb": 0 - 3.5 + 3, "aa": -2 - 1 + 1.5 - 0.05, "a b c": -4 - 2.5 + 4.5 - 0.1}
    found = decoder(np.zeros((1, 1)))
    assert [h.text for h in found] == ["aaaa bb", "aa"]
    assert [h.score for h in found] == pytest.approx([expected[h.text] for h in found])


def test_a_missing_folder_and_missing_packages_are_one_clear_line(tmp_path, monkeypatch):
    import sys

    with pytest.raises(InputError, match="none: there is no such folder"):
        TransformerLM(str(tmp_path / "none")).prepare()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="pip install torch transformers"):
        TransformerLM(str(tmp_path)).prepare()


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A random two-layer GPT-2 of nine words, saved with its tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    names = ["<unk>", "<s>", "</s>", "the", "cat", "sat", "on", "a", "mat"]
    words = Tokenizer(models.WordLevel(dict(zip(names, range(9), strict=True)), unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = tmp_path_factory.mktemp("gpt2")
    PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=9, n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=1,
        eos_token_id=2, initializer_range=0.5,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parity
def test_probabilities_are_those_of_the_texts_alone_and_of_all_their_tokens(gpt2):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = TransformerLM(str(gpt2), batch=3)(TEXTS)
    model = AutoModelForCausalLM.from_pretrained(gpt2).eval()
    tokenizer = AutoTokenizer.from_pretrained(gpt2)
    for text, value in zip(TEXTS, found, strict=True):
        ids = [1, *tokenizer(text, add_special_tokens=False)["input_ids"], 2]
        with torch.no_grad():
            log_probs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected = sum(float(log_probs[n, token]) for n, token in enumerate(ids[1:]))
        assert value == pytest.approx(expected, abs=1e-4)


@pytest.mark.parity
def test_texts_are_brought_to_the_case_asked_for(gpt2):
    lower = TransformerLM(str(gpt2), case="lower")
    assert lower(["THE CAT"])[0] == pytest.approx(TransformerLM(str(gpt2))(["the cat"])[0])
    assert lower(["THE CAT"])[0] != pytest.approx(TransformerLM(str(gpt2))(["THE CAT"])[0])


@pytest.mark.parity
def test_texts_longer_than_the_model_are_refused(gpt2):
    with pytest.raises(InputError, match="a text of 42 tokens exceeds its 32"):
        TransformerLM(str(gpt2))(["cat " * 40])


@pytest.mark.parity
def test_what_is_not_a_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="not a causal LM folder"):
        TransformerLM(str(tmp_path)).prepare()

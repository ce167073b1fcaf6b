"""Choosing among n-best hypotheses by a causal Transformer language model (a Hugging Face folder).

This is the only place that uses torch and transformers at run time; both are optional.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence

import numpy as np

from w2v2_jax.decode.hypothesis import Decoder, Hypothesis
from w2v2_jax.errors import InputError, lacking

INSTALL = "pip install torch transformers"
CASES: dict[str, Callable[[str], str]] = {"keep": str, "lower": str.lower, "upper": str.upper}


@dataclasses.dataclass(frozen=True)
class TransformerLM:
    """ln P(text) under a causal model of a local folder.

    case: the case to which texts are converted first ("lower" for a model of written text and an
    upper-case recogniser). batch: number of texts per call.
    """

    folder: str
    case: str = "keep"
    batch: int = 32

    def __reduce__(self):
        return type(self), (self.folder, self.case, self.batch)

    @functools.cached_property
    def _loaded(self):
        if not os.path.isdir(self.folder):
            raise InputError(f"--rescore {self.folder}: there is no such folder")
        try:
            import torch
            import transformers
        except ImportError as error:
            needed = "--rescore needs torch and transformers"
            raise InputError(lacking(error, needed, INSTALL)) from error
        try:
            local = {"local_files_only": True, "trust_remote_code": False}
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder, **local)
            model = transformers.AutoModelForCausalLM.from_pretrained(self.folder, **local)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"--rescore {self.folder}: not a causal LM folder: {reason}"
            ) from error
        start = tokenizer.bos_token_id
        start = tokenizer.eos_token_id if start is None else start
        if start is None:
            raise InputError(
                f"--rescore {self.folder}: its tokenizer has neither bos nor eos token"
            )
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
        return torch, tokenizer, model.eval(), start

    def prepare(self) -> None:
        """Loads the model; InputError when it cannot."""
        self._loaded  # noqa: B018

    def _ids(self, text: str) -> list[int]:
        _, tokenizer, _, start = self._loaded
        ids = tokenizer(CASES[self.case](text), add_special_tokens=False)["input_ids"]
        end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        return [start, *ids, *end]

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """[N] natural log probabilities of whole texts, the end of the sentence included."""
        torch, _, model, start = self._loaded
        rows = [self._ids(text) for text in texts]
        limit = getattr(model.config, "max_position_embeddings", None)
        longest = max(map(len, rows))
        if limit and longest > limit:
            raise InputError(
                f"--rescore {self.folder}: a text of {longest} tokens exceeds its {limit}"
            )
        scores = np.zeros(len(rows))
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for first in range(0, len(order), self.batch):
            group = order[first : first + self.batch]
            width = max(len(rows[i]) for i in group)
            # Any token may be the pad: a causal model does not look at what comes later.
            ids = torch.tensor([rows[i] + [start] * (width - len(rows[i])) for i in group])
            real = torch.tensor(
                [[1.0] * (len(rows[i]) - 1) + [0.0] * (width - len(rows[i])) for i in group]
            )
            ids, real = ids.to(model.device), real.to(model.device)
            with torch.inference_mode():
                logits = model(ids).logits[:, :-1].float()
            chosen = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
            scores[group] = (chosen * real).sum(-1).cpu().numpy()
        return scores


@dataclasses.dataclass(frozen=True)
class RescoringDecoder:
    """Ranks an inner decoder's hypotheses again by

    acoustic_score + weight ln P(text) + word_score words + ngram_weight lm_score,

    where the last term (log10; absent if ngram_weight is 0) keeps a share of the n-gram model.
    """

    inner: Decoder
    language_model: TransformerLM
    weight: float
    word_score: float
    ngram_weight: float = 0.0
    nbest: int = 1

    @property
    def writes_words(self) -> bool:
        """As the inner decoder's."""
        return self.inner.writes_words

    @property
    def lexicon_words(self) -> Sequence[str]:
        """As the inner decoder's."""
        return self.inner.lexicon_words

    def prepare(self) -> None:
        """Loads the inner decoder's models and the Transformer."""
        self.inner.prepare()
        self.language_model.prepare()

    def __call__(self, logits: np.ndarray) -> list[Hypothesis]:
        hypotheses = self.inner(logits)
        scores = self.language_model([hypothesis.text for hypothesis in hypotheses])
        if not np.isfinite(scores).all():
            raise InputError(
                f"--rescore {self.language_model.folder}: the log probability of a text is not "
                "finite; are its weights damaged?"
            )
        ranked = [
            hypothesis._replace(
                score=hypothesis.acoustic_score
                + self.weight * float(score)
                + self.word_score * len(hypothesis.text.split())
                + self.ngram_weight * hypothesis.lm_score
            )
            for hypothesis, score in zip(hypotheses, scores, strict=True)
        ]
        return sorted(ranked, key=lambda hypothesis: -hypothesis.score)[: self.nbest]

"""Words of any script in Latin letters, by uroman. It is optional, loaded on use."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable

from w2v2_jax.errors import InputError

INSTALL = 'pip install "w2v2_jax[romanise]"'


@functools.cache
def romaniser() -> Callable[[str], str]:
    """A word -> its lower-case Latin letters without accents, by the universal romaniser (Hermjakob
    et al. 2018). Loading takes some seconds. InputError if uroman is not installed."""
    try:
        import uroman
    except ImportError as error:
        raise InputError(f"--romanise needs uroman: {INSTALL}") from error
    universal = uroman.Uroman()

    @functools.lru_cache(maxsize=1 << 16)
    def romanised(word: str) -> str:
        latin = unicodedata.normalize("NFKD", str(universal.romanize_string(word)).lower())
        return "".join(c for c in latin if not unicodedata.combining(c))

    return romanised

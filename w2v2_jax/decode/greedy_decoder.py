"""Best-path decoding as a Decoder."""

from __future__ import annotations

"""A checkpoint's network on the device: arrays -> logits, features of a layer, units."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import numbers
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax.checkpoint.description import Description, require_ctc
from w2v2_jax.errors import InputError
from w2v2_jax.input_scale import normalised, scaled
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.models.heads import tdnn_loss
from w2v2_jax.models.layer_stack import join_layers
from w2v2_jax.objectives.classification import XVector
from w2v2_jax.partition import COMPILER_OPTIONS
from w2v2_jax.paths import AnyPath, json_text
from w2v2_jax.recognition.waveforms import MOST_STANDARDISED, as_array, as_floats


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """Parameters on the default device, with functions from arrays to arrays.

    path: the checkpoint, for errors. params: the network's tree, with stacked layers or as returned
    by `split_layers`. execution: how the network is computed, which no checkpoint says.
    """

    path: AnyPath
    description: Description
    params: Any
    execution: Execution = PLAIN

    def __getstate__(self):
        """Without the compiled functions, which cannot be pickled; a copy compiles its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_functions"}

    @functools.cached_property
    def _functions(self):
        # Dropout rates do not matter here; LayerDrop and masks are never drawn.
        network = self.description.network(self.execution)

        def apply(method, **options):
            def run(params, waveforms, num_samples):
                variables = {"params": join_layers(params)}
                return network.apply(variables, waveforms, num_samples, method=method, **options)

            compiled = jax.jit(run, compiler_options=COMPILER_OPTIONS.get(jax.default_backend()))
            return functools.partial(self._fitting, compiled)

        states = apply("encode", hidden_states=True)
        return {"call": apply(None), "units": apply("units"), "states": states}

    def _fitting(self, function, *arguments):
        """The function's result; InputError if the weights have other shapes than the description
        says, as after it was edited."""
        try:
            return function(*arguments)
        except Exception as error:
            if type(error).__name__ != "ScopeParamShapeError":  # flax's
                raise
            shapes = str(error).partition(" (https")[0]
            raise InputError(
                f"{self.path}: its weights do not fit its description: {shapes}"
            ) from error

    def _prepare(self, waveforms, num_samples, statistics=None):
        """Checks and normalises waveforms [B, S] with the model's own input scale, from the rows'
        own mean and variance or those (numbers) of the recording they are cut from."""
        waveforms = np.atleast_2d(
            as_floats(as_array(waveforms, "waveforms"), "waveforms", most=MOST_STANDARDISED)
        )
        if waveforms.ndim != 2 or not len(waveforms):
            raise InputError(f"waveforms {list(waveforms.shape)}: give [S] or [B, S]")
        if num_samples is None:
            num_samples = np.full(len(waveforms), waveforms.shape[1], np.int32)
        given, num_samples = num_samples, np.asarray(num_samples)
        if num_samples.dtype.kind not in "iu":
            raise InputError(
                f"num_samples={str(given)[:100]} must be whole numbers of samples, one for each row"
            )
        rows, longest = waveforms.shape
        if num_samples.shape != (rows,) or num_samples.max() > longest:
            raise InputError(
                f"num_samples {list(num_samples.shape)} of at most {num_samples.max(initial=0)} do "
                f"not fit waveforms {[rows, longest]}; give one number for each row, at most "
                f"{longest}"
            )
        shortest = int(num_samples.min())
        if int(frame_counts(shortest, self.description.model.output_layers)) < 1:
            shape = f"; waveforms are [B, S], not {list(waveforms.shape)}" if shortest == 1 else ""
            raise InputError(
                f"{shortest} samples of audio are too short for one frame (25 ms){shape}"
            )
        real = np.arange(waveforms.shape[1]) < num_samples[:, None]
        waveforms = np.where(real, waveforms, 0.0)
        epsilon = self.description.normalise_epsilon
        if self.description.normalise and statistics is not None:
            whole = statistics.mean, statistics.variance
            waveforms = np.where(real, scaled(waveforms, *whole, epsilon), 0.0)
        elif self.description.normalise:
            waveforms = normalised(waveforms, num_samples, epsilon)
        return jnp.asarray(waveforms, jnp.float32), jnp.asarray(num_samples, jnp.int32)

    def logits(self, waveforms, num_samples=None, *, statistics=None) -> np.ndarray:
        """[B, S] raw 16 kHz waveforms -> CTC logits [B, T, C]; frames after a row's end have no
        meaning.

        statistics: `long_audio.Statistics` of the recording that the rows are cut from.
        """
        require_ctc(self.description, str(self.path))
        inputs = self._prepare(waveforms, num_samples, statistics)
        logits, _ = self._functions["call"](self.params, *inputs)
        return np.asarray(logits)

    def head(self, waveforms, num_samples=None) -> Any:
        """The result of the network's own call for raw waveforms [B, S], on the device; see
        `recognition.classify` for heads other than CTC."""
        inputs = self._prepare(waveforms, num_samples)
        shortest = int(frame_counts(inputs[1].min(), self.description.model.output_layers))
        needed = 2 + tdnn_loss(self.description.model)
        if self.description.objective == XVector.name and shortest < needed:
            raise InputError(f"{shortest} frames are too few for an x-vector, which takes {needed}")
        return self._functions["call"](self.params, *inputs)

    def features(self, waveforms, num_samples=None, layer: int = -1) -> np.ndarray:
        """[B, T, D]: -1 is the context network's output, i >= 0 the input of block i, and the
        number of blocks what the last of them gives."""
        return self.layers(waveforms, num_samples, layers=(layer,))[:, :, 0]

    def layers(
        self, waveforms, num_samples=None, *, layers: Sequence[int], statistics=None
    ) -> np.ndarray:
        """[B, T, L, D] float32 of several layers, as in `features`, in one pass."""
        last = self.description.model.num_layers
        for layer in layers:
            whole = isinstance(layer, numbers.Integral) and not isinstance(layer, bool)
            if not whole or not -1 <= layer <= last:
                raise InputError(
                    f"layer={layer!r} must be a whole number from -1 (the output) to {last}"
                )
            if layer >= 0 and self.description.model.output_adapter_layers:
                raise InputError(
                    f"layer={layer} has more frames than the output of {self.path}, which an "
                    "adapter shortens; use -1"
                )
        inputs = self._prepare(waveforms, num_samples, statistics)
        encoded = self._functions["states"](self.params, *inputs)
        chosen = [encoded.context if layer == -1 else encoded.states[layer] for layer in layers]
        return np.stack([np.asarray(layer, np.float32) for layer in chosen], axis=2)

    def units(self, waveforms, num_samples=None, *, statistics=None) -> np.ndarray:
        """[B, T, G] quantizer entries of a pretraining checkpoint."""
        model, pretraining = self.description.model, "target_projection" in self.params
        if pretraining and not model.quantize_targets:
            raise InputError(f"{self.path} has no units: model.quantize_targets=False")
        if "quantizer" not in self.params and not (pretraining and model.same_quantizer):
            raise InputError(
                f"{self.path} has no quantizer: its objective is {self.description.objective!r}, "
                "and only checkpoints of 'contrastive' have units"
            )
        inputs = self._prepare(waveforms, num_samples, statistics)
        return np.asarray(self._functions["units"](self.params, *inputs))


def origin(network: Network) -> dict[str, Any]:
    """The checkpoint and computation as plain values: its place, which people read, the content of
    its weights and of its description, and the dtype."""
    content = hashlib.sha256(json_text(network.description.to_json(), sort_keys=True).encode())
    for leaf in jax.tree.leaves(network.params):
        content.update(np.ascontiguousarray(leaf).view(np.uint8).data)
    return {
        "checkpoint": str(network.path),
        "weights": content.hexdigest(),
        "dtype": network.execution.dtype,
    }

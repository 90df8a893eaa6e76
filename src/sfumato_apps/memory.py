"""How much memory a training needs, before it starts.

weights      4 bytes a parameter, and 2 more for their copies in bfloat16 under --bf16
gradients    4 bytes a trained parameter
optimiser    8 bytes a trained parameter: the two moments of AdamW
average      4 bytes a parameter
activations  what a layer keeps of each token for the backward pass
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from sfumato.models.encoders import EncoderDenoiser

# Of width D: the residual stream around two norms, in float32; in the products' precision what they
# put out, query, key and value, what attention puts out and the same laid out anew for the next.
_IN_FLOAT32, _STREAMS = 3, 7
# Query and key are not kept twice where they are turned in place (`models.bodies.modernbert`).
_IN_PLACE = {"modernbert": 2}
# Of the inner width: gated layers keep both halves, the activated one and the product.
_GATED, _PLAIN = 4, 2
_GATED_TYPES = {"modernbert", "nomic_bert", "eurobert"}


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes by what they hold.

    Example:
        >>> str(Memory(weights=2**30, gradients=0, optimiser=0, average=0, activations=2**29))
        '1.5 GiB (weights 1.0, gradients 0.0, optimiser 0.0, average 0.0, activations 0.5)'
    """

    weights: int
    gradients: int
    optimiser: int
    average: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        parts = (f"{f.name} {getattr(self, f.name) / 2**30:.1f}" for f in fields(self))
        return f"{self.total / 2**30:.1f} GiB ({', '.join(parts)})"


def memory_of(
    denoiser: EncoderDenoiser, *, batch: int, length: int, bf16: bool, averaged: bool
) -> Memory:
    """The memory that training takes on one device, without the framework's own.

    Activations are those of `batch` rows of full length; shorter texts take less.

    Args:
        denoiser: the model, with its adapters if it has any.
        batch: rows a step and device.
        length: tokens of a row.
        bf16: mixed precision.
        averaged: a moving average of the weights is kept.
    """
    settings = denoiser.network.config
    parameters = [(p.numel(), p.requires_grad) for p in denoiser.parameters()]
    every = sum(size for size, _ in parameters)
    trained = sum(size for size, learns in parameters if learns)
    product = 2 if bf16 else 4
    inner = _GATED if settings.model_type in _GATED_TYPES else _PLAIN
    width, wide = int(settings.hidden_size), int(settings.intermediate_size)
    streams = _STREAMS - _IN_PLACE.get(settings.model_type, 0)
    token = width * (4 * _IN_FLOAT32 + product * streams) + wide * product * inner
    return Memory(
        weights=every * (6 if bf16 else 4),
        gradients=trained * 4,
        optimiser=trained * 8,
        average=every * 4 if averaged else 0,
        activations=batch * length * int(settings.num_hidden_layers) * token,
    )

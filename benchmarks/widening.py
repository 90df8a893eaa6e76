"""A small trained ModernBERT in the shape of a large one: its function at the large one's cost.

After Net2Net (Chen et al., arXiv 1511.05641): each unit of the body stands several times, and what
goes out of it counts a share; more units inside a layer and more layers give 0; more ids of the
vocabulary are never predicted. So what depends on training and what depends on size can be
measured on one network.

Legend of shapes: `V` vocabulary, `D` width, `I` width inside a layer.
"""

from __future__ import annotations

import torch
from networks import Size
from torch import Tensor
from transformers import ModernBertConfig, ModernBertForMaskedLM

_EVERY = 3  # of so many layers one looks at the whole text


def widened(network: ModernBertForMaskedLM, size: Size) -> ModernBertForMaskedLM:
    """The network in another size; its logits are the same but for rounding.

    Raises:
        ValueError: the size is no multiple of the network's, or smaller.
    """
    old = network.config
    times, rest = divmod(size.width, old.hidden_size)
    fits = size.heads == times * old.num_attention_heads and not rest
    grows = size.inner >= old.intermediate_size and size.layers >= old.num_hidden_layers
    if not fits or not grows or size.vocabulary < old.vocab_size:
        raise ValueError(
            f"expected a multiple of {old.hidden_size} and {old.num_attention_heads} heads, and no "
            f"less inside, layers and vocabulary, got {size}"
        )
    kinds = [
        "sliding_attention" if number % _EVERY else "full_attention"
        for number in range(size.layers)
    ]
    if old.layer_types != kinds[: old.num_hidden_layers]:
        raise ValueError(f"expected every third layer to read the whole text: {old.layer_types}")
    sizes = {
        "vocab_size": size.vocabulary,
        "hidden_size": size.width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "intermediate_size": size.inner,
        "layer_types": kinds,
    }
    new = ModernBertForMaskedLM(ModernBertConfig.from_dict({**old.to_dict(), **sizes}))
    made = new.state_dict()
    for name, weight in network.state_dict().items():
        made[name] = _grown(name, weight, made[name].shape, times)
    for name in made.keys() - network.state_dict().keys():
        if name.endswith("Wo.weight"):  # of a layer that is new
            made[name] = torch.zeros_like(made[name])
    new.load_state_dict(made)
    new.tie_weights()
    return new.eval()


def _grown(name: str, weight: Tensor, shape: torch.Size, times: int) -> Tensor:
    if name == "decoder.bias":
        return _padded(weight, shape, -torch.inf)
    if weight.dim() == 1:  # of a norm; after that of the head the projection adds up all copies
        return weight.repeat(times) / (times if name == "head.norm.weight" else 1)
    part = name.split(".")[-2]
    words, inside = part in ("decoder", "tok_embeddings"), name.endswith("mlp.Wo.weight")
    rows, columns = 1 if words or part == "Wi" else times, 1 if inside else times
    share = 1 if words or inside else times
    parts = weight.chunk({"Wqkv": 3, "Wi": 2}.get(part, 1))
    each = torch.Size([shape[0] // len(parts), shape[1]])
    return torch.cat([_padded(one.repeat(rows, columns) / share, each) for one in parts])


def _padded(weight: Tensor, shape: torch.Size, value: float = 0.0) -> Tensor:
    """The weight in the corner of a larger one."""
    found = weight.new_full(shape, value)
    found[tuple(slice(length) for length in weight.shape)] = weight
    return found

"""Starting without a checkpoint: a small encoder, and a warm start for its embeddings.

    token counts        ──► log unigram            ──► bias of the projection
    co-occurrence counts ──► PPMI ──► rank-D SVD   ──► tied input and output embeddings

A small model with a minute of training otherwise spends most of it on what counting gives for
free: how frequent each token is, and which tokens keep company.

Legend of shapes: `V` vocabulary, `D` width of the embeddings, `N` co-occurring pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from sfumato.errors import ModelError, UsageError
from sfumato.models.encoders import EncoderDenoiser
from sfumato.text.vocabulary import Vocabulary

_BRANCH_ENDS = ("output.dense", "attn.Wo", "mlp.Wo")
_OVERSAMPLING, _POWER_ITERATIONS = 16, 4


class Architecture(Enum):
    """Bodies that can be made from scratch."""

    BERT = "bert"
    MODERNBERT = "modernbert"


def new_encoder(
    vocabulary: Vocabulary,
    *,
    width: int,
    layers: int,
    heads: int,
    max_length: int,
    architecture: str = "modernbert",
    dropout: float = 0.0,
    seed: int = 0,
) -> EncoderDenoiser:
    """An untrained encoder as a masked denoiser, in training mode.

    Args:
        vocabulary: gives the number of tokens and the special ids.
        width: `D`, width of the body and of the embeddings.
        layers: number of layers.
        heads: attention heads a layer; must divide `width`.
        max_length: the longest row.
        architecture: "modernbert" (rotary positions, gated layers: learns faster) or "bert"
            (learnt positions: 10–15 % more tokens a second on a CPU).
        dropout: chance to drop a unit while training.
        seed: of the weights.

    Raises:
        UsageError: an unknown architecture, or sizes that do not fit together.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat sat"], size=300)
        >>> denoiser = new_encoder(words, width=16, layers=1, heads=2, max_length=8)
        >>> denoiser.max_length, denoiser.vocabulary_size == words.size
        (8, True)
    """
    if min(width, layers, heads, max_length) < 1:
        raise UsageError("width, layers, heads and max_length must be at least 1")
    if width % heads or (width // heads) % 2:
        raise UsageError(f"width {width} must split into {heads} heads of an even width")
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout must be in [0, 1), got {dropout}")
    known = {kind.value: kind for kind in Architecture}
    if architecture not in known:
        raise UsageError(f"unknown architecture {architecture!r}: choose one of {sorted(known)}")
    make = {Architecture.BERT: _bert, Architecture.MODERNBERT: _modernbert}
    config = make[known[architecture]](vocabulary, width, layers, heads, max_length, dropout)
    with torch.random.fork_rng(devices=[]):
        network: PreTrainedModel = AutoModelForMaskedLM.from_config(config)  # type: ignore[no-untyped-call]
    _initialise(network, torch.Generator().manual_seed(seed))
    return EncoderDenoiser(network, mask=vocabulary.mask)


def _bert(
    vocabulary: Vocabulary, width: int, layers: int, heads: int, length: int, dropout: float
) -> PretrainedConfig:
    return BertConfig(
        vocab_size=vocabulary.size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=length,
        type_vocab_size=1,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=vocabulary.pad,
    )


def _modernbert(
    vocabulary: Vocabulary, width: int, layers: int, heads: int, length: int, dropout: float
) -> PretrainedConfig:
    bos = vocabulary.bos if vocabulary.bos is not None else vocabulary.eos
    return ModernBertConfig(
        vocab_size=vocabulary.size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=-(-8 * width // 24) * 8,
        max_position_embeddings=length,
        embedding_dropout=dropout,
        mlp_dropout=dropout,
        attention_dropout=dropout,
        pad_token_id=vocabulary.pad,
        bos_token_id=bos,
        cls_token_id=bos,
        eos_token_id=vocabulary.eos,
        sep_token_id=vocabulary.eos,
    )


def _initialise(network: PreTrainedModel, generator: torch.Generator) -> None:
    """Draws every matrix anew: embeddings of norm about √½, the body by Glorot's rule.

    The last matrix of each of the 2·layers residual branches is 1/√(2·layers) of that (GPT-2).
    """
    tables = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    branch = (2 * network.config.num_hidden_layers) ** -0.5
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() < 2:
                continue
            std = (2 / sum(parameter.shape)) ** 0.5
            if id(parameter) in tables:
                std = (2 * parameter.shape[1]) ** -0.5
            elif name.removesuffix(".weight").endswith(_BRANCH_ENDS):
                std *= branch
            parameter.normal_(0.0, std, generator=generator)


def warm_start(
    denoiser: EncoderDenoiser,
    rows: Iterable[Sequence[int]],
    *,
    window: int = 10,
    exponent: float = 1.0,
    seed: int = 0,
) -> None:
    """Sets the projection's bias and the tied embeddings from counts, in place.

    The bias becomes the log unigram probability (add-one smoothed). The embeddings become
    U·Σ^exponent of the positive pointwise mutual information of tokens at most `window` apart
    (Levy, Goldberg & Dagan, TACL 2015, eq. 2–5), with the mean norm that they had; tokens
    that do not occur, such as the mask, keep their random embedding.

    Args:
        denoiser: an untrained model.
        rows: token ids of the training texts.
        window: the largest distance of two tokens that count as a pair; a pair at distance d
            has weight 1/d.
        exponent: how much the leading directions outweigh the others.
        seed: of the randomised SVD.

    Raises:
        UsageError: there are no rows with at least two tokens.
        ModelError: the network's projection has no bias.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat sat on a mat"], size=300)
        >>> denoiser = new_encoder(words, width=16, layers=1, heads=2, max_length=8)
        >>> warm_start(denoiser, [words.encode("a cat sat on a mat")])
        >>> bias = denoiser.network.get_output_embeddings().bias
        >>> words.name(int(bias.argmax()))
        'a'
    """
    # A plain list of tensors: rows may come from a generator.
    texts = [torch.tensor(row, dtype=torch.long) for row in rows if len(row) > 1]
    if not texts:
        raise UsageError("a warm start needs at least one text of two tokens or more")
    size = denoiser.vocabulary_size
    head: nn.Module = denoiser.network.get_output_embeddings()  # type: ignore[no-untyped-call]
    bias = getattr(head, "bias", None)
    if not isinstance(bias, Tensor):
        raise ModelError(f"{type(head).__name__} has no bias to start from the unigram")
    words = denoiser.word_embeddings.data
    generator = torch.Generator().manual_seed(seed)
    matrix = ppmi(cooccurrence(texts, size, window))
    vectors = _leading(matrix, min(words.shape[1], size), exponent, generator)
    vectors = nn.functional.pad(vectors, (0, words.shape[1] - vectors.shape[1]))
    seen = torch.zeros(size, dtype=torch.bool)
    seen[matrix.indices()[0][matrix.values() > 0]] = True
    norm = words.norm(dim=1).mean()
    words[seen] = (nn.functional.normalize(vectors[seen]) * norm).to(words.dtype)
    counts = torch.cat(texts).bincount(minlength=size).double() + 1.0
    bias.data.copy_((counts / counts.sum()).log())


def cooccurrence(texts: Sequence[Int[Tensor, "_"]], size: int, window: int) -> Tensor:
    """Σ 1/distance over the pairs of tokens of one text at distance 1..window.

    Returns:
        a symmetric sparse matrix, *shape* `V V`.

    Example:
        >>> cooccurrence([torch.tensor([0, 1, 2])], 3, window=2).to_dense().tolist()
        [[0.0, 1.0, 0.5], [1.0, 0.0, 1.0], [0.5, 1.0, 0.0]]
    """
    ends = torch.cat([torch.full_like(text, index) for index, text in enumerate(texts)])
    ids = torch.cat(list(texts))
    joint = _sparse(ids.new_zeros(2, 0), torch.zeros(0), size)
    for distance in range(1, window + 1):
        same = ends[:-distance] == ends[distance:]
        pairs = torch.stack((ids[:-distance][same], ids[distance:][same]))
        joint = (
            joint + _sparse(pairs, torch.full((pairs.shape[1],), 1.0 / distance), size)
        ).coalesce()
    return (joint + joint.T).coalesce()


def ppmi(joint: Tensor) -> Tensor:
    """max(0, log p(a, b)/(p(a)·p(b))) of a coalesced sparse matrix of counts, *shape* `V V`."""
    (left, right), counts = joint.indices(), joint.values()
    marginal = counts.new_zeros(joint.shape[0]).index_add(0, left, counts)
    information = (counts * marginal.sum() / (marginal[left] * marginal[right])).log().clamp(min=0)
    return _sparse(joint.indices(), information, joint.shape[0])


def _sparse(pairs: Int[Tensor, "2 N"], values: Float[Tensor, "N"], size: int) -> Tensor:
    return torch.sparse_coo_tensor(pairs, values, (size, size), check_invariants=True).coalesce()


def _leading(
    matrix: Tensor, rank: int, exponent: float, generator: torch.Generator
) -> Float[Tensor, "V R"]:
    """Randomised SVD of a symmetric matrix (Halko et al., SIAM Review 2011, alg. 4.4 and 5.1)."""
    size = matrix.shape[0]
    guess = torch.randn(size, min(rank + _OVERSAMPLING, size), generator=generator)
    basis = torch.linalg.qr(matrix @ guess)[0]
    for _ in range(_POWER_ITERATIONS):
        basis = torch.linalg.qr(matrix @ basis)[0]
    left, values, _ = torch.linalg.svd((matrix @ basis).T, full_matrices=False)
    vectors: Tensor = (basis @ left)[:, :rank] * values[:rank] ** exponent
    return vectors

"""Likelihood: the bound of a diffusion model, the perplexity under an autoregressive judge.

Neither number sees repetition (a looping text scores better per byte than a real one): report
both with diversity and loop rate.

Legend of shapes: `N` texts, `B` windows of a batch, `L` positions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sfumato.errors import ModelError, UsageError
from sfumato.evaluation.bounds import Bounds, text_bounds
from sfumato.evaluation.records import Metric, Setting, ratio_metric
from sfumato.models.parts.products import fast_linear
from sfumato.noise.times import ExactCount
from sfumato.protocols import TimeSampler
from sfumato.sampling.tasks import Model
from sfumato.text.batching import Example

_CONTEXT = 1024


def elbo(
    model: Model,
    examples: Sequence[Example],
    *,
    draws: int = 16,
    seed: int = 0,
    slack: int = 0,
    times: TimeSampler | None = None,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    reference: str | None = None,
) -> tuple[Metric, Metric]:
    """The negative ELBO: `elbo_nats_per_token` and `elbo_bits_per_byte`.

    Both divide the sum over all texts by the sum of their trained tokens or of the bytes of
    their text; the cost of the eos and of the slack is in the sum. The standard error covers
    the choice of the texts as well as the noise.

    Args:
        model: denoiser, vocabulary and process.
        examples: encoded texts, of a split that the model was not trained on.
        draws: noise draws a text.
        seed: seed of the noise.
        slack: padding slots behind each text that ends with its eos, see `text_bounds`.
        times: chooses times and hits; exact counts if None, which only masked noise can use.
        batch_size: rows a forward pass.
        device: where the denoiser lives.
        reference: which texts these are, for the record.

    Raises:
        UsageError: see `text_bounds`.

    Example:
        >>> from types import SimpleNamespace
        >>> from sfumato import MaskedProcess, TextRecord, learn_vocabulary
        >>> from sfumato.text.batching import encode
        >>> words = learn_vocabulary(["to be or not to be"], size=300)
        >>> def guess(x_t, where, *, attend=None, t=None):  # any token is as likely
        ...     return torch.zeros(int(where.sum()), words.size)
        >>> model = SimpleNamespace(
        ...     denoiser=guess, vocabulary=words, process=MaskedProcess(mask=words.mask)
        ... )
        >>> text = encode(TextRecord(text="to be"), words, max_length=16)
        >>> per_token, per_byte = elbo(model, [text])
        >>> abs(per_token.value - math.log(words.size)) < 1e-6
        True
    """
    bounds = text_bounds(
        model,
        examples,
        draws=draws,
        seed=seed,
        slack=slack,
        times=times,
        batch_size=batch_size,
        device=device,
    )
    settings = _settings(model, draws, slack, times)
    rows = range(len(examples))
    found = _ratios(bounds, rows, seed=seed, reference=reference, settings=settings)
    if len(found) < 2:
        raise UsageError("the texts have no bytes to divide by: all of their tokens are unknown")
    return found[0], found[1]


def elbo_by_group(
    model: Model,
    examples: Sequence[Example],
    groups: Sequence[str],
    *,
    draws: int = 16,
    seed: int = 0,
    times: TimeSampler | None = None,
    device: torch.device | str = "cpu",
    reference: str | None = None,
) -> dict[str, tuple[Metric, ...]]:
    """The negative ELBO of each group of texts, the largest group first; see `elbo`.

    Args:
        model: denoiser, vocabulary and process.
        examples: encoded texts, of a split that the model was not trained on.
        groups: name of each text's group, such as its language.
        draws: noise draws a text.
        seed: seed of the noise.
        times: chooses times and hits; exact counts if None, which only masked noise can use.
        device: where the denoiser lives.
        reference: which texts these are, for the record; the group's name is added.

    Raises:
        UsageError: see `text_bounds`.

    Example:
        >>> from types import SimpleNamespace
        >>> from sfumato import MaskedProcess, TextRecord, learn_vocabulary
        >>> from sfumato.text.batching import encode
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> def guess(x_t, where, *, attend=None, t=None):  # any token is as likely
        ...     return torch.zeros(int(where.sum()), words.size)
        >>> process = MaskedProcess(mask=words.mask)
        >>> model = SimpleNamespace(denoiser=guess, vocabulary=words, process=process)
        >>> texts = [encode(TextRecord(text=text), words, max_length=9) for text in ("a", "b", "c")]
        >>> found = elbo_by_group(model, texts, ["en", "ru", "en"])
        >>> [(name, metrics[0].n) for name, metrics in found.items()]
        [('en', 2), ('ru', 1)]
    """
    bounds = text_bounds(model, examples, draws=draws, seed=seed, times=times, device=device)
    settings = _settings(model, draws, 0, times)
    members: dict[str, list[int]] = {name: [] for name, _ in Counter(groups).most_common()}
    for row, name in enumerate(groups):
        members[name].append(row)
    return {
        name: _ratios(
            bounds,
            rows,
            seed=seed,
            reference=", ".join(filter(None, (reference, name))),
            settings=settings,
        )
        for name, rows in members.items()
    }


def _settings(
    model: Model, draws: int, slack: int, times: TimeSampler | None
) -> dict[str, Setting]:
    return {
        "draws": draws,
        "slack": slack,
        "times": type(times or ExactCount()).__name__,
        "process": type(model.process).__name__,
    }


def _ratios(
    bounds: Bounds,
    rows: Sequence[int],
    *,
    seed: int,
    reference: str | None,
    settings: Mapping[str, Setting],
) -> tuple[Metric, ...]:
    """Nats per token and, if they have any bytes, bits per byte of some of the texts."""
    record = partial(ratio_metric, seed=seed, reference=reference, settings=settings)
    chosen = list(rows)
    nats = bounds.nats.mean(1)[chosen]
    octets = bounds.octets[chosen].tolist()
    found = (record("elbo_nats_per_token", nats.tolist(), bounds.tokens[chosen].tolist()),)
    if not any(octets):  # nothing but tokens that stand for no text
        return found
    return (*found, record("elbo_bits_per_byte", (nats / math.log(2)).tolist(), octets))


@dataclass(frozen=True, kw_only=True)
class _Window:
    """A stretch of a text that the judge reads at once.

    Attributes:
        text: index of the text.
        ids: tokens of the judge.
        first: index of the first token that is scored; the ones before are context.
    """

    text: int
    ids: list[int]
    first: int


def causal_perplexity(
    folder: str | Path,
    texts: Sequence[str],
    *,
    seed: int | None = None,
    batch_size: int = 16,
    device: torch.device | str = "cpu",
) -> tuple[Metric, Metric]:
    """Perplexity under an autoregressive judge: `judge_perplexity`, `judge_bits_per_byte`.

    Perplexity is per token of the judge, so it compares texts under one judge only; bits per
    byte compare judges as well. Texts are pooled: all nats over all tokens. The bos, where the
    judge has one, comes first and is not scored; without one, a text's first token is not
    scored. A text longer than the judge's context is read in windows that overlap by half.

    Args:
        folder: a folder (or hub name) that `AutoModelForCausalLM` opens, with its tokenizer
            and safetensors weights.
        texts: texts to judge.
        seed: seed that the texts were drawn with, for the record.
        batch_size: windows a forward pass.
        device: where the judge runs.

    Raises:
        ModelError: the folder holds no such model.
        UsageError: there is no token to score.
    """
    judge, tokenizer = _judge(str(folder))
    judge.to(device).eval()
    context = getattr(judge.config, "max_position_embeddings", None) or _CONTEXT
    bos = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
    ids = [bos + tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    windows = [w for index, text in enumerate(ids) for w in _windows(index, text, context)]
    windows.sort(key=lambda window: len(window.ids))
    nats = torch.zeros(len(texts), dtype=torch.float64)
    for start in range(0, len(windows), batch_size):
        group = windows[start : start + batch_size]
        owners = torch.tensor([window.text for window in group])
        nats.index_add_(0, owners, _window_nats(judge, group, device))
    settings: dict[str, Setting] = {"bos": bool(bos), "context": context}
    record = partial(ratio_metric, seed=seed, reference=Path(folder).name, settings=settings)
    nll = record("judge_perplexity", nats.tolist(), [max(len(text) - 1, 0) for text in ids])
    octets = [len(text.encode()) for text in texts]
    perplexity = math.exp(nll.value)
    return (
        replace(
            nll,
            value=perplexity,
            stderr=None if nll.stderr is None else perplexity * nll.stderr,
            parts=None if nll.parts is None else replace(nll.parts, pool="exp_ratio"),
        ),
        record("judge_bits_per_byte", (nats / math.log(2)).tolist(), octets),
    )


def _judge(folder: str) -> tuple[nn.Module, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        judge: nn.Module = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{folder!r} does not open as a causal language model ({reason}): expected a folder "
            "with config.json, model.safetensors and a tokenizer"
        ) from error
    return judge, tokenizer


def _windows(text: int, ids: list[int], context: int) -> Iterator[_Window]:
    """Windows that together score every token but the first, each once."""
    scored = 1
    while scored < len(ids):
        start = 0 if scored == 1 else scored - context // 2
        yield _Window(text=text, ids=ids[start : start + context], first=scored - start)
        scored = start + context


def _window_nats(
    judge: nn.Module, windows: Sequence[_Window], device: torch.device | str
) -> Float[Tensor, "B"]:
    """−log p of the scored tokens of each window, nats."""
    width = max(len(window.ids) for window in windows)
    ids = torch.zeros(len(windows), width, dtype=torch.long)
    exists, scored = torch.zeros_like(ids), torch.zeros(len(windows), width, dtype=torch.bool)
    for row, window in enumerate(windows):
        ids[row, : len(window.ids)] = torch.tensor(window.ids)
        exists[row, : len(window.ids)] = 1
        scored[row, window.first : len(window.ids)] = True
    with torch.no_grad(), fast_linear(torch.device(device)):
        logits = judge(input_ids=ids.to(device), attention_mask=exists.to(device)).logits
    log_p: Tensor = logits[:, :-1].float().log_softmax(-1).cpu()
    nats = -log_p.gather(2, ids[:, 1:, None])[..., 0].double()
    return (nats * scored[:, 1:]).sum(1)

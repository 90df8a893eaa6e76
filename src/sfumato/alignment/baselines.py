"""Ways to better texts that train nothing: a text before each prompt, a push for some words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sfumato.alignment.candidates import Completion, Way
from sfumato.alignment.rankings.sets import Prompt
from sfumato.errors import UsageError
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.parts.steering import Bias
from sfumato.sampling.tasks import Policy


def prefixed(name: str, way: Way, prefix: str) -> Way:
    """A way that reads a text before each prompt; in a dialogue, before its first turn.

    Args:
        name: of the new way.
        way: how to write.
        prefix: the text, as it stands.

    Example:
        >>> echo = Way(name="echo", write=lambda prompts, seeds: [
        ...     Completion(text=str(prompt), passes=1) for prompt in prompts])
        >>> prefixed("polite", echo, "Please: ").write(["go"], [0])[0].text
        'Please: go'
    """

    def before(prompt: Prompt) -> Prompt:
        if isinstance(prompt, str):
            return prefix + prompt
        first, *others = prompt
        return (replace(first, content=prefix + first.content), *others)

    def write(prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Completion]:
        return way.write(list(map(before, prompts)), seeds)

    return Way(name=name, write=write)


def token_bias(
    words: Mapping[str, float], encode: Callable[[str], Sequence[int]]
) -> dict[int, float]:
    """What each token gains that spells a word, at the beginning of a text or within it.

    A word of several tokens lifts each of them, wherever it stands.

    Args:
        words: words and what they gain, nats; negative ones are avoided.
        encode: text to ids, without ids of its own.

    Example:
        >>> token_bias({"ab": 2.0, "b": 1.0}, lambda text: [ord(letter) for letter in text])
        {32: 3.0, 97: 2.0, 98: 3.0}
    """
    found: dict[int, float] = {}
    for word, gain in words.items():
        for token in sorted({*encode(word), *encode(f" {word}")}):
            found[token] = found.get(token, 0.0) + gain
    return found


def biased(policy: Policy, bias: Mapping[int, float]) -> Policy:
    """The policy that also pushes some tokens.

    Args:
        policy: how to write.
        bias: tokens and what their logits gain.

    Raises:
        UsageError: a latent model's policy, which knows no tokens.
    """
    if isinstance(policy, Descent):
        raise UsageError("a latent model knows no words while it writes: leave out the bias")
    return replace(policy, steering=(*policy.steering, Bias(lifts=tuple(bias.items()))))

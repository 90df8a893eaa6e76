"""Ways that train nothing: search, prefixes and biases, beside plain ones."""

from __future__ import annotations

import pytest
import torch
from tests.alignment.test_likelihood import llama
from tests.training.worlds import WORDS, tiny

from sfumato.alignment.baselines import biased, prefixed, token_bias
from sfumato.alignment.candidates import Completion, Way, candidates, causal_way, diffusion_way
from sfumato.alignment.search import causal_search_way, search_way
from sfumato.errors import UsageError
from sfumato.models.checkpoints import Checkpoint, pretrained_tokenizer
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.uniform import UniformProcess
from sfumato.protocols import Process
from sfumato.sampling.ancestral import Ancestral
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.search import Beams
from sfumato.sampling.tasks import Policy
from sfumato.text.dialogue import Message

TOKENIZER = pretrained_tokenizer(WORDS)
UNIFORM = UniformProcess(size=WORDS.size)
FAMILIES: list[tuple[Process, Policy]] = [
    (MaskedProcess(mask=WORDS.mask), DecodingPolicy()),
    (UNIFORM, Ancestral(process=UNIFORM, steps=6)),
]


def letters(texts: list[str]) -> list[float]:
    """How many letters e, a and o a text has, so that texts differ."""
    return [text.count("e") + 0.1 * text.count("a") + 0.01 * text.count("o") for text in texts]


def checkpoint(process: Process) -> Checkpoint:
    return Checkpoint(denoiser=tiny().eval(), vocabulary=WORDS, process=process, metadata={})


def searches(beams: Beams, batch_size: int = 32) -> list[Way]:
    """A search of each family."""
    own = [
        search_way(
            "own", checkpoint(process), policy, reward=letters, beams=beams, length=6,
            batch_size=batch_size,
        )
        for process, policy in FAMILIES
    ]  # fmt: skip
    left = causal_search_way(
        "left", llama(), TOKENIZER, reward=letters, beams=beams, length=6, batch_size=batch_size
    )
    return [*own, left]


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_a_search_does_not_depend_on_its_neighbours(keep: int) -> None:
    """Nor on how many runs are written side by side."""
    beams = Beams(width=4, keep=keep, every=2)
    both = candidates(["Ann ", ""], searches(beams), n=2, seed=7)
    alone = candidates([""], searches(beams, batch_size=1), n=2, seed=7, first=1)
    assert both[1] == alone[0]
    assert min(both[0].passes) > 4


def test_an_autoregressive_search_that_drops_nothing_is_best_of_n() -> None:
    """Its runs have the seeds 4·s … 4·s + 3, its passes are theirs."""
    plain = causal_way("plain", llama(), TOKENIZER, length=6)
    beams = Beams(width=4, keep=4, every=2)
    search = causal_search_way("search", llama(), TOKENIZER, reward=letters, beams=beams, length=6)
    for seed in range(5):
        four = plain.write(["Ann "] * 4, range(4 * seed, 4 * seed + 4))
        (one,) = search.write(["Ann "], [seed])
        best = max(four, key=lambda other: letters([other.text])[0])
        assert one == Completion(text=best.text, passes=sum(other.passes for other in four))


def test_every_stretch_of_an_autoregressive_search_draws_anew() -> None:
    """A model that finds all tokens alike, judged after each: not one token again and again."""
    even = llama()
    torch.nn.init.zeros_(even.lm_head.weight)
    beams = Beams(width=2, keep=1, every=1)
    search = causal_search_way("s", even, TOKENIZER, reward=letters, beams=beams, length=8)
    texts = [one.text for one in search.write([""] * 3, range(3))]
    assert all(len({*WORDS.encode(text)}) > 2 for text in texts), texts


@pytest.mark.parametrize("family", ["masked", "left"])
def test_a_search_gains_more_than_best_of_n_for_its_passes(family: str) -> None:
    """A random model, letters as the reward: n plain texts cost at least what a search costs."""
    beams = Beams(width=8, keep=2, every=3)
    if family == "left":
        plain = causal_way("plain", llama(), TOKENIZER, length=12)
        search = causal_search_way(
            "search", llama(), TOKENIZER, reward=letters, beams=beams, length=12
        )
    else:
        process, policy = FAMILIES[0]
        model = checkpoint(process)
        plain = diffusion_way("plain", model, policy, length=12)
        search = search_way("search", model, policy, reward=letters, beams=beams, length=12)
    (found,) = candidates([""], [search], n=20)
    budget = sum(found.passes)
    (many,) = candidates([""], [plain], n=240, seed=10**6)
    share = 240 // 20
    assert sum(many.passes) >= budget
    scores = letters([*many.completions])
    best = [max(scores[i : i + share]) for i in range(0, 240, share)]
    gained, rival = sum(letters([*found.completions])) / 20, sum(best) / 20
    assert gained > rival > sum(scores) / 240, (gained, rival)


def test_a_prefix_is_read_and_not_written() -> None:
    """The completion is the one after the longer prompt; turns get it before the first of them."""
    seen: list[object] = []

    def write(prompts, seeds):
        seen.extend(prompts)
        return [Completion(text="", passes=1) for _ in prompts]

    turns = (Message(role="user", content="Hi"), Message(role="assistant", content="Yes?"))
    prefixed("p", Way(name="w", write=write), "Now: ").write(["go", turns], [0, 1])
    assert seen[0] == "Now: go"
    assert seen[1] == (Message(role="user", content="Now: Hi"), turns[1])
    model = checkpoint(FAMILIES[0][0])
    way = diffusion_way("w", model, DecodingPolicy(), length=6)
    assert prefixed("p", way, "Ann ").write(["sees "], [3]) == way.write(["Ann sees "], [3])


@pytest.mark.parametrize("family", ["masked", "uniform", "left"])
def test_a_bias_makes_words_likelier_or_rarer(family: str) -> None:
    bias = token_bias({"tea": 6.0}, WORDS.encode)
    less = {token: -gain for token, gain in bias.items()}
    counts = []
    for gains in (bias, {}, less):
        if family == "left":
            way = causal_way("w", llama(), TOKENIZER, length=8, bias=gains)
        else:
            process, policy = FAMILIES[["masked", "uniform"].index(family)]
            pushed = biased(policy, gains) if gains else policy
            way = diffusion_way("w", checkpoint(process), pushed, length=8)
        (found,) = candidates([""], [way], n=40)
        counts.append(" ".join(found.completions).count("tea"))
    assert counts[0] > 40 > counts[1] + 20
    assert counts[2] == 0


def test_a_bias_of_a_latent_model_is_refused() -> None:
    from tests.sampling.test_descent import POLICY

    with pytest.raises(UsageError, match="knows no words"):
        biased(POLICY, {5: 1.0})
    with pytest.raises(UsageError, match="tokens and finite numbers"):
        biased(DecodingPolicy(), {})


def test_a_bias_adds_to_the_logits_of_an_autoregressive_model() -> None:
    """Greedy, with everything on one token, it writes nothing else."""
    token = WORDS.encode(" tea")[0]
    way = causal_way("w", llama(), TOKENIZER, length=3, temperature=0.0, bias={token: 1e4})
    (one,) = way.write(["Ann "], [0])
    assert one.text == TOKENIZER.decode([token] * 3)
    assert one.passes == 3
    assert torch.tensor(WORDS.encode(" tea")).numel() == 1

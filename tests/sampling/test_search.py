"""Search: best-of-n where nothing is dropped, more reward for as many passes where it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from tests.oracle import chain
from tests.sampling.fakes import POLICIES, SIZE, SPECIALS, Counter, Whim, mixed
from tests.sampling.latents import PROCESS, Table, Words
from tests.sampling.told import WORDS, Model
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.uniform import UniformProcess
from sfumato.sampling.ancestral import Ancestral
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Frame, Specials
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.latent.solvers import Ddim
from sfumato.sampling.loop import Policy, finish, sample
from sfumato.sampling.parts.planners import Blocks
from sfumato.sampling.parts.quotas import Fixed
from sfumato.sampling.search import Beams, Search
from sfumato.sampling.tasks import complete_each, search_each
from sfumato.text.canvas import Canvas, Hole, Locked, lay_out, stack

CODEC = Table()
LATENT = Words(codec=CODEC, process=PROCESS, weights=torch.ones(SIZE) / SIZE)
DESCENT = Descent(process=PROCESS, codec=CODEC, steps=9, solver=Ddim(eta=1.0))
UNIFORM = Ancestral(process=UniformProcess(size=WORDS.size), steps=6)
BEAMS = Beams(width=4, keep=2, every=2)


def letters(texts: list[str]) -> list[float]:
    """How many letters e, a and o a text has, so that texts differ."""
    return [text.count("e") + 0.1 * text.count("a") + 0.01 * text.count("o") for text in texts]


def low(frame: Frame) -> list[float]:
    """A row is the better the smaller its ids are."""
    return (-(frame.ids * frame.canvas.attend).sum(1).double()).tolist()


def model_of(policy: Policy, denoiser: object | None = None) -> Model:
    marked = isinstance(policy, DecodingPolicy)
    noise = MaskedProcess(mask=WORDS.mask) if marked else UniformProcess(size=WORDS.size)
    whim = Whim(size=WORDS.size)
    return Model(denoiser=denoiser or whim, vocabulary=WORDS, process=noise)


def test_the_best_go_on_by_hand() -> None:
    """Of four runs the second and third; of equal ones the first."""
    beams = Beams(width=4, keep=2)
    assert beams.parents([0.0, 3.0, 2.0, 1.0, 5.0, 5.0, 5.0, 5.0]) == [1, 2, 1, 2, 4, 5, 4, 5]
    assert Beams(width=3, keep=1).parents([0.0, 0.0, 1.0]) == [2, 2, 2]


@pytest.mark.parametrize("numbers", [(0, 1, 1), (4, 3, 1), (4, 0, 1), (4, 8, 1), (4, 2, 0)])
def test_beams_that_make_no_sense_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="keep must divide width"):
        Beams(width=numbers[0], keep=numbers[1], every=numbers[2])


@pytest.mark.parametrize("policy", [DecodingPolicy(), UNIFORM], ids=["masked", "uniform"])
def test_a_search_that_drops_nothing_is_best_of_n(policy: DecodingPolicy | Ancestral) -> None:
    """Text, score and passes are those of the best of four plain texts with the same seeds."""
    model, texts = model_of(policy), ["the cat ", "", "the dog "]
    beams = Beams(width=4, keep=4, every=1)
    found = search_each(
        model, texts, reward=letters, beams=beams, length=7, policy=policy, seed=3, batch_size=8
    )
    for number, (text, one) in enumerate(zip(texts, found, strict=True), start=3):
        plain = complete_each(model, [text] * 4, lengths=[7] * 4, policy=policy, seed=4 * number)
        best = max(plain, key=lambda other: letters([other.text])[0])
        assert one.text == best.text
        assert one.score == pytest.approx(letters([best.text])[0])
        assert (one.seed, one.passes) == (number, sum(other.passes for other in plain))


@pytest.mark.parametrize("policy", [DecodingPolicy(), UNIFORM], ids=["masked", "uniform"])
def test_passes_are_those_that_were_made(policy: DecodingPolicy | Ancestral) -> None:
    """Rows that the network was given, those for judgements among them."""
    counter = Counter(Whim(size=WORDS.size))
    options = {"reward": letters, "length": 7, "policy": policy}
    one, other = search_each(model_of(policy, counter), ["the ", "a "], beams=BEAMS, **options)
    assert one.passes + other.passes == counter.rows
    plain, _ = search_each(
        model_of(policy), ["the ", "a "], beams=replace(BEAMS, keep=4), **options
    )
    assert one.passes > plain.passes


@pytest.mark.parametrize("policy", [DecodingPolicy(), UNIFORM], ids=["masked", "uniform"])
def test_a_text_does_not_depend_on_its_neighbours(policy: DecodingPolicy | Ancestral) -> None:
    texts = ["the cat ", "", "the dog sat "]
    options = {"reward": letters, "beams": BEAMS, "policy": policy, "length": 7}
    model = model_of(policy)
    together = search_each(model, texts, **options, seed=5, batch_size=12)
    for number, text in enumerate(texts):
        (alone,) = search_each(model, [text], **options, seed=5 + number, batch_size=1)
        other = together[number]
        assert (alone.text, alone.passes, alone.seed) == (other.text, other.passes, other.seed)
        assert alone.trajectory.ids == other.trajectory.ids
        assert alone.trace == other.trace


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_not_editable_stays(name: str) -> None:
    """For every kind of policy, on rows of unlike shape; and nothing is left unwritten."""
    rows = mixed()
    canvas = stack([rows.row(i) for i in range(4) for _ in range(4)], pad=SPECIALS.pad)
    policy = Search(policy=POLICIES[name], beams=BEAMS, judge=low)
    last = finish(Whim(), canvas, policy, SPECIALS, seeds=1)
    assert torch.equal(last.ids[~canvas.editable], canvas.ids[~canvas.editable])
    assert bool(last.done.all())
    assert not bool((last.ids == SPECIALS.mask)[canvas.editable].any())


@pytest.mark.parametrize(
    ("policy", "denoiser"),
    [
        (DecodingPolicy(), Whim()),
        (Ancestral(process=UniformProcess(size=SIZE), steps=9), Whim()),
        (DESCENT, LATENT),
    ],
    ids=["masked", "uniform", "latent"],
)
def test_copies_begin_alike_and_part(policy: Policy, denoiser: object) -> None:
    """After a judgement rows 0 and 2 are one state; in the end they are not."""
    canvas = stack([lay_out([Locked(ids=(7, 8)), Hole(slots=9)], mask=0)] * 4, pad=SPECIALS.pad)
    beams = replace(BEAMS, every=5)
    search = Search(policy=policy, beams=beams, judge=low)
    frames = list(sample(denoiser, canvas, search, SPECIALS, seeds=2))
    judged, last = frames[5], frames[-1]
    assert torch.equal(judged.ids[:2], judged.ids[2:])
    assert not torch.equal(judged.ids[0], judged.ids[1])
    if judged.latent is not None:
        assert torch.equal(judged.latent.x[:2], judged.latent.x[2:])
    before = frames[-2].latent  # where the last x̂_0 is still to come
    state = last.ids if before is None else before.x
    assert len(torch.unique(state.flatten(1), dim=0)) == 4


def test_a_latent_search_judges_what_is_shown() -> None:
    """Its frames hold x̂_0 already: no pass is spent on judgements."""
    canvas = stack([lay_out([Hole(slots=5)], mask=0)] * 4, pad=SPECIALS.pad)
    seen: list[Frame] = []

    def judge(frame: Frame) -> list[float]:
        seen.append(frame)
        return low(frame)

    last = finish(LATENT, canvas, Search(policy=DESCENT, beams=BEAMS, judge=judge), SPECIALS)
    assert last.passes.tolist() == [9] * 4
    assert [int(frame.step.max()) for frame in seen] == [2, 4, 6, 8]


@dataclass(frozen=True, kw_only=True)
class Independent:
    """Exact for independent even tokens under uniform noise: p(x_0 | x_t) ∝ q(x_t | x_0)."""

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        assert t is not None
        alpha = (1 - t).expand(x_t.shape[1], -1).T[where][:, None]
        same = torch.nn.functional.one_hot(x_t[where], SIZE)
        return (alpha * same + (1 - alpha) / SIZE).log()


def gains(denoiser: object, policy: Policy, board: Canvas, specials: Specials) -> list[float]:
    """Mean reward of 40 searches, of 40 bests of 10 and of single texts; the reward counts 7s.

    The searches spend no more passes than the bests.
    """

    def wins(frame: Frame) -> list[float]:
        return (frame.ids == 7).sum(1).double().tolist()

    search = Search(policy=policy, beams=Beams(width=8, keep=2, every=4), judge=wins)
    rows = stack([board] * 400, pad=specials.pad)
    few = stack([board] * 320, pad=specials.pad)
    found = finish(denoiser, few, search, specials, seeds=0)
    plain = finish(denoiser, rows, policy, specials, seeds=10_000)
    assert bool((found.passes.view(40, -1).sum(1) <= plain.passes.view(40, -1).sum(1)).all())
    searched, scores = torch.tensor(wins(found)).view(40, -1), torch.tensor(wins(plain))
    best = scores.view(40, -1).amax(1)
    return [float(x.mean()) for x in (searched.amax(1), best, scores)]


def test_a_search_gains_more_than_best_of_n_for_its_passes() -> None:
    """Texts of an exact Markov chain: 8·24 moves and 8·5 judgements are 232 passes, not 240."""
    oracle = chain()
    policy = DecodingPolicy(quota=Fixed(size=1), blocks=Blocks(size=4))
    searched, best, single = gains(oracle, policy, oracle.canvas(1), oracle.specials)
    assert searched > best + 3
    assert best > single + 3


def test_a_search_gains_under_uniform_noise() -> None:
    """Any position may still change, so judgements are worth less; 24 steps and 5 judgements."""
    policy = Ancestral(process=UniformProcess(size=SIZE), steps=24)
    board = lay_out([Hole(slots=16)], mask=0)
    searched, best, single = gains(Independent(), policy, board, SPECIALS)
    assert searched > best + 1
    assert best > single + 1

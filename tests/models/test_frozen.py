"""A frozen context: exact where it must be, and read again only where it was asked to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.models import networks
from tests.models.networks import LENGTH, MASK, SIZE
from torch import Tensor, nn

from sfumato.errors import ModelError, UsageError
from sfumato.models.bodies.families import FAMILIES
from sfumato.models.encoders import EncoderDenoiser
from sfumato.sampling import policies
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Specials
from sfumato.sampling.loop import FrozenContext, finish
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.parts.quotas import Fixed
from sfumato.text.canvas import Canvas, Hole, Locked, lay_out, stack

SPELLED = ["bert", "roberta", "modernbert", "distilbert"]


def rows_of_masks(count: int = 3) -> tuple[Tensor, Tensor]:
    """Texts with a few masks, the last one padded."""
    x_t = torch.randint(5, SIZE, (count, LENGTH), generator=torch.Generator().manual_seed(0))
    x_t[:, 4:8] = MASK
    attend = torch.ones_like(x_t, dtype=torch.bool)
    attend[-1, -5:] = False
    return x_t, attend


def states(x_t: Tensor) -> list[Tensor]:
    """The canvas as it fills, a token a pass; the second row is finished before the others."""
    found = [x_t]
    for step, position in enumerate((4, 6, 7, 5)):
        after = found[-1].clone()
        after[:, position] = 5 + step
        if step == 1:
            after[1:2, 4:8] = 9
        found.append(after)
    return found[:-1]


@torch.no_grad()
def logits(denoiser: EncoderDenoiser, x_t: Tensor, attend: Tensor) -> list[Tensor]:
    """Predictions at the masks of every state."""
    return [denoiser(state, state == MASK, attend=attend) for state in states(x_t)]


@pytest.mark.parametrize("name", SPELLED)
@pytest.mark.parametrize("padded", [False, True])
def test_with_a_refresh_at_every_pass_nothing_is_frozen(name: str, padded: bool) -> None:
    denoiser, (x_t, attend) = networks.denoiser(name), rows_of_masks()
    attend = attend if padded else torch.ones_like(attend)
    exact = logits(denoiser, x_t, attend)
    for ours, theirs in zip(logits(denoiser.frozen(refresh=1), x_t, attend), exact, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", SPELLED)
def test_the_first_pass_is_exact_and_the_later_ones_are_near(name: str) -> None:
    denoiser, (x_t, attend) = networks.denoiser(name), rows_of_masks()
    exact = logits(denoiser, x_t, attend)
    frozen = logits(denoiser.frozen(), x_t, attend)
    torch.testing.assert_close(frozen[0], exact[0], atol=1e-4, rtol=1e-4)
    for ours, theirs in zip(frozen[1:], exact[1:], strict=True):
        assert ours.shape == theirs.shape
        assert not torch.allclose(ours, theirs, atol=1e-4)


def test_one_layer_sees_frozen_positions_as_they_are() -> None:
    """Their keys and values do not depend on other positions, so freezing loses nothing."""
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"vocab_size": SIZE, "hidden_size": 16, "num_hidden_layers": 1}
    config = BertConfig(**sizes, num_attention_heads=2, intermediate_size=24)
    torch.manual_seed(0)
    denoiser = EncoderDenoiser(BertForMaskedLM(config), mask=MASK).eval()
    x_t, attend = rows_of_masks()
    exact = logits(denoiser, x_t, attend)
    for ours, theirs in zip(logits(denoiser.frozen(), x_t, attend), exact, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def counted(denoiser: EncoderDenoiser) -> list[int]:
    """Counts the tokens that the first layer reads."""
    spelling = FAMILIES[denoiser.network.config.model_type].spelling
    assert spelling is not None
    layers = denoiser.network.base_model.get_submodule(spelling.layers)
    first = next(module for module in layers.modules() if isinstance(module, nn.Linear))
    counts: list[int] = []
    first.register_forward_hook(lambda _, given, __: counts.append(len(given[0])))
    return counts


@pytest.mark.parametrize("name", SPELLED)
@pytest.mark.parametrize(("refresh", "expected"), [(None, [16, 4, 3, 2]), (2, [16, 4, 16, 2])])
def test_only_masks_and_what_was_written_since_are_read(
    name: str, refresh: int | None, expected: list[int]
) -> None:
    denoiser, (x_t, attend) = networks.denoiser(name), rows_of_masks(1)
    counts = counted(denoiser)
    logits(denoiser.frozen(refresh=refresh), x_t, torch.ones_like(attend))
    assert counts == expected


@pytest.mark.parametrize("name", SPELLED)
@pytest.mark.parametrize(
    ("reach", "expected"), [(0, [16, 1, 1, 1]), (1, [16, 2, 3, 1]), (2**40, [16, 4, 3, 2])]
)
def test_masks_out_of_reach_keep_their_output(name: str, reach: int, expected: list[int]) -> None:
    """4, 6, 7 are written; 5 is read when a neighbour was, and after that says what it said."""
    denoiser, (x_t, attend) = networks.denoiser(name), rows_of_masks(1)
    counts, every = counted(denoiser), torch.ones_like(attend)
    found = logits(denoiser.frozen(reach=reach), x_t, every)
    assert counts == expected
    if reach == 1:
        torch.testing.assert_close(found[3], found[2][:1])
    if reach > LENGTH:
        for ours, theirs in zip(found, logits(denoiser.frozen(), x_t, every), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_what_was_never_asked_for_is_read_wherever_it_stands() -> None:
    denoiser, (x_t, attend) = networks.denoiser("bert"), rows_of_masks(1)
    frozen, far = denoiser.frozen(reach=0), torch.zeros_like(attend)
    far[0, 12] = True
    with torch.no_grad():
        exact = denoiser(x_t, far)
        frozen(x_t, x_t == MASK)
        torch.testing.assert_close(frozen(x_t, far), exact, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("reach", [None, 1])
def test_a_row_depends_on_itself_alone(reach: int | None) -> None:
    """Rows that end early, ask for nothing or are replaced do not change the others."""
    denoiser, (x_t, attend) = networks.denoiser("modernbert"), rows_of_masks()
    together = denoiser.frozen(reach=reach)
    alone = [denoiser.frozen(reach=reach) for _ in x_t]
    other = torch.randint(5, SIZE, (LENGTH,), generator=torch.Generator().manual_seed(5))
    other[2:5] = MASK
    with torch.no_grad():
        for step, state in enumerate(states(x_t)):
            if step >= 2:
                state[1] = other  # a new text takes the finished one's place
            where = state == MASK
            where[0] &= step != 1
            found = together(state, where, attend=attend).split(where.sum(1).tolist())
            for row in range(len(x_t)):
                part = slice(row, row + 1)
                expected = alone[row](state[part], where[part], attend=attend[part])
                torch.testing.assert_close(found[row], expected, atol=1e-4, rtol=1e-4)


def test_a_batch_of_another_shape_is_read_anew() -> None:
    denoiser, (x_t, attend) = networks.denoiser("bert"), rows_of_masks()
    frozen = denoiser.frozen()
    with torch.no_grad():
        frozen(x_t, x_t == MASK, attend=attend)
        again = frozen(x_t[:1, :9], x_t[:1, :9] == MASK)
        torch.testing.assert_close(again, denoiser(x_t[:1, :9], x_t[:1, :9] == MASK))


def test_the_network_is_shared_and_stays_exact() -> None:
    denoiser, (x_t, attend) = networks.denoiser("bert"), rows_of_masks()
    frozen = denoiser.frozen()
    assert frozen.network is denoiser.network
    logits(frozen, x_t, attend)
    torch.testing.assert_close(logits(denoiser, x_t, attend), logits(denoiser, x_t, attend))


def test_what_cannot_be_frozen_is_refused() -> None:
    with pytest.raises(UsageError, match="every 1 or more"):
        networks.denoiser("bert").frozen(refresh=0)
    with pytest.raises(UsageError, match="reach of 0 or more"):
        networks.denoiser("bert").frozen(reach=-1)
    with pytest.raises(ModelError, match="deberta-v2"):
        networks.denoiser("deberta-v2").frozen()


SPECIALS = Specials(mask=MASK, pad=1, eos=2, unwritable=frozenset({0, 3}))


def canvas() -> Canvas:
    """Two texts of different length with holes."""
    x_t, _ = rows_of_masks(2)
    rows = [
        lay_out([Locked(ids=tuple(ids[:cut].tolist())), Hole(slots=4)], mask=MASK)
        for ids, cut in zip(x_t, (12, 7), strict=True)
    ]
    return stack(rows, pad=1)


@pytest.mark.parametrize(
    "policy",
    [
        DecodingPolicy(stopping=False),
        DecodingPolicy(quota=Fixed(size=2), guidance=ClassifierFree(scale=1.0)),
        policies.first_hitting(),
        policies.llada(steps=4, block=2, temperature=0.7),
    ],
    ids=["one a pass", "guided", "first hitting", "blocks"],
)
def test_a_policy_that_refreshes_at_every_pass_writes_the_same(policy: DecodingPolicy) -> None:
    denoiser = networks.denoiser("modernbert")
    exact = finish(denoiser, canvas(), policy, SPECIALS, seeds=3)
    every = replace(policy, context=FrozenContext(refresh=1))
    assert torch.equal(finish(denoiser, canvas(), every, SPECIALS, seeds=3).ids, exact.ids)


def test_a_frozen_policy_writes_a_row_alone_as_in_a_batch_and_again_the_same() -> None:
    denoiser = networks.denoiser("modernbert")
    policy = replace(policies.llada(steps=4, block=4), context=FrozenContext())
    both = canvas()
    found = finish(denoiser, both, policy, SPECIALS, seeds=3)
    assert torch.equal(finish(denoiser, both, policy, SPECIALS, seeds=3).ids, found.ids)
    assert torch.equal(found.ids[~both.editable], both.ids[~both.editable])
    alone = Canvas(
        ids=both.ids[1:, :11],
        editable=both.editable[1:, :11],
        attend=both.attend[1:, :11],
        optional=both.optional[1:, :11],
    )
    assert torch.equal(finish(denoiser, alone, policy, SPECIALS, seeds=4).ids[0], found.ids[1, :11])


def test_a_denoiser_that_reads_everything_is_refused() -> None:
    def blank(x_t: Tensor, where: Tensor, **_: object) -> Tensor:
        return torch.zeros(int(where.sum()), SIZE)

    policy = DecodingPolicy(context=FrozenContext())
    with pytest.raises(UsageError, match="reads all of a text"):
        finish(blank, canvas(), policy, SPECIALS)
    with pytest.raises(UsageError, match="every 1 or more"):
        FrozenContext(refresh=0)
    with pytest.raises(UsageError, match="reach of 0 or more"):
        FrozenContext(reach=-1)


def test_tasks_freeze_the_context_of_each_batch() -> None:
    """Rows of one batch after another: the same texts as each alone."""
    from tests.sampling.told import WORDS, Model

    from sfumato.models.scratch import new_encoder
    from sfumato.sampling.tasks import fill

    denoiser = new_encoder(WORDS, width=16, layers=2, heads=2, max_length=64).eval()
    model = Model(denoiser=denoiser)
    text = "the cat {4} on the mat and the {4} dog"
    policy = DecodingPolicy(context=FrozenContext())
    together = fill(model, text, n=5, policy=policy, batch_size=2)
    alone = [fill(model, text, n=1, policy=policy, seed=seed)[0] for seed in range(5)]
    assert [one.text for one in together] == [one.text for one in alone]


@torch.no_grad()
def test_windows_of_a_long_row_are_worked_off_spot_by_spot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spots see what a mask over the row would show."""
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    from sfumato.models.bodies import reading

    config = ModernBertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        local_attention=16,
        global_attn_every_n_layers=3,
        max_position_embeddings=400,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    denoiser = EncoderDenoiser(ModernBertForMaskedLM(config), mask=MASK).eval()
    x_t = torch.randint(5, 50, (2, 330), generator=torch.Generator().manual_seed(0))
    attend = torch.ones_like(x_t, dtype=torch.bool)
    attend[1, 300:] = False
    where = torch.zeros_like(attend)
    where[0, [3, 4, 150, 329]] = where[1, [0, 40, 41, 299]] = True
    x_t[where] = MASK

    def second() -> Tensor:
        frozen = denoiser.frozen()
        frozen(x_t, where, attend=attend)
        after = x_t.clone()
        after[0, 4], after[1, 40] = 7, 8
        return frozen(after, where & (after == MASK), attend=attend)

    whole = denoiser.frozen()(x_t, where, attend=attend)
    torch.testing.assert_close(whole, denoiser(x_t, where, attend=attend))
    made: list[int] = []
    own = reading._at_spot

    def counted(*parts: object) -> Tensor:
        made.append(1)
        return own(*parts)

    monkeypatch.setattr(reading, "_at_spot", counted)
    banded: list[int] = []
    bands = reading.attention_in_bands
    monkeypatch.setattr(
        reading, "attention_in_bands", lambda *a, **b: (banded.append(1), bands(*a, **b))[1]
    )
    by_spots = second()
    assert len(banded) == 1  # the first, whole reading; it is kept, and in bands all the same
    assert len(made) == 6  # three places of either row see parts of it in the second layer
    monkeypatch.setattr(reading, "spots_of", lambda *_: None)
    torch.testing.assert_close(by_spots, second(), atol=1e-5, rtol=1e-5)
    assert len(made) == 6

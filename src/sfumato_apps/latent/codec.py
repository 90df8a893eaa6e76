"""From an encoder to vectors that can be read back: statistics, and a decoder that is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate import PartialState

from sfumato.models.latent.codecs.bottleneck import Compressor, LatentDecoder
from sfumato.models.latent.codecs.embedding import EmbeddingCodec
from sfumato.models.latent.codecs.encoder import EncoderCodec
from sfumato.models.latent.codecs.memory import Memory
from sfumato.models.latent.storage import read_body
from sfumato.models.storage.folders import locate
from sfumato.text.batching import Example
from sfumato.text.vocabulary import Vocabulary
from sfumato.training.latents import DecoderLearner, DecoderObjective
from sfumato_apps import ranks
from sfumato_apps.latent.plan import LatentPlan
from sfumato_apps.latent.shaping import Half, Lay, layout, steps_of, trainer_of
from sfumato_apps.notes import Notes

DECODER_SHARE = 1 / 6
_FITTED_ON = 4096


def encoder_codec(
    plan: LatentPlan,
    words: Vocabulary,
    examples: Sequence[Example],
    held: Sequence[Example],
    notes: Notes,
) -> EncoderCodec:
    """A frozen encoder, its statistics, and a decoder that was trained on noisy vectors."""
    body = read_body(locate(str(plan.model)))
    inside = int(body.config.hidden_size)
    said = {token for example in examples for token in example.ids}
    decoder = LatentDecoder(
        width=inside if plan.latents is None else plan.width,
        kept=said | {words.pad, words.eos},
        size=words.size,
        slots=plan.slots,
        hidden=plan.hidden,
        heads=plan.heads,
        seed=plan.seed,
        latents=plan.latents,
    )
    compressor = None if plan.latents is None else _compressor(plan, inside, plan.latents)
    device = PartialState(cpu=ranks.share_cpus()).device
    codec = EncoderCodec(body, decoder, pad=words.pad, layer=plan.layer, compressor=compressor).to(
        device
    )
    lay = layout(plan, words)
    rows = examples[:_FITTED_ON]
    batches = (rows[i : i + plan.batch] for i in range(0, len(rows), plan.batch))
    special = [words.pad, words.eos, *([] if words.bos is None else [words.bos])]
    ids = (lay(one, torch.Generator()).ids.to(device) for one in batches)
    codec.fit(ids, special=torch.tensor(special))
    remember(codec, plan.cache)
    objective = DecoderObjective(process=plan.process, codec=codec)
    learner, steps = DecoderLearner(codec), plan.decoder_steps
    if steps is None and plan.minutes is not None:
        steps = steps_of(plan, learner, objective, examples, words, DECODER_SHARE)
    elif steps is None:
        steps = max(1, (plan.steps or round(plan.epochs * len(rows) / plan.batch)) // 5)
    notes.say(f"decoder: {len(decoder.kept)} tokens, {steps} steps")
    half = Half(model=learner, objective=objective, folder=plan.out / "decoder", steps=steps)
    trainer_of(plan, half, examples, words, notes).train()
    right = _read_back(codec, held or examples[:500], lay)
    notes.say(f"decoder: reads {right:.1%} of held-out tokens back")
    return codec


def _compressor(plan: LatentPlan, inside: int, latents: int) -> Compressor:
    return Compressor(
        inside=inside,
        width=plan.width,
        latents=latents,
        slots=2 * plan.slots,
        hidden=plan.hidden,
        heads=plan.heads,
        seed=plan.seed,
    )


def remember(codec: EmbeddingCodec | EncoderCodec, gib: float) -> None:
    """Lets an encoder keep so much of what it computes."""
    if isinstance(codec, EncoderCodec) and gib > 0:
        codec.memory = Memory(most=int(gib * 2**30))


def _read_back(codec: EncoderCodec, examples: Sequence[Example], lay: Lay) -> float:
    """Share of tokens that come back from their own vectors."""
    right = total = 0
    with torch.no_grad():
        for start in range(0, len(examples), 64):
            some = lay(examples[start : start + 64], torch.Generator())
            ids = some.ids.to(codec.mean.device)
            real = ids != codec.pad
            found = codec.decode(codec.encode(ids, torch.ones_like(real))).argmax(2)
            right, total = right + int((found == ids)[real].sum()), total + int(real.sum())
    return right / max(1, total)

"""Parts that fit together, one bundle a noise family; nobody meets an illegal combination.

masked      tokens are hidden; exact counts; no time embedding
uniform     tokens are replaced; stratified times; a time embedding helps
hybrid      most tokens are hidden, the others replaced; as uniform
latent      vectors of a frozen encoder in Gaussian noise; most of the time in much noise
embedding   learnt vectors of tokens; noise that grows fast at first, since words lie apart
"""

from __future__ import annotations

from dataclasses import dataclass

from sfumato.noise.gaussian import Flow, GaussianProcess, Preserving
from sfumato.noise.log_snr import LogSnr, Odds, SquareRoot, Tangent
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.schedules import Linear
from sfumato.noise.times import ExactCount, Stratified
from sfumato.noise.uniform import UniformProcess
from sfumato.protocols import Process, Schedule, TimeSampler
from sfumato.text.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Family:
    """A noise family's parts.

    Attributes:
        process: forward noise.
        times: how training draws noise levels.
        timed: whether the denoiser should be told the time.
    """

    process: Process
    times: TimeSampler
    timed: bool


def masked(vocabulary: Vocabulary, *, schedule: Schedule | None = None) -> Family:
    """Absorbing noise: the family to start with (MDLM, arXiv 2406.07524).

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> masked(learn_vocabulary(["a cat"], size=300)).timed
        False
    """
    process = MaskedProcess(mask=vocabulary.mask, schedule=schedule or Linear())
    return Family(process=process, times=ExactCount(), timed=False)


def uniform(
    vocabulary: Vocabulary, *, schedule: Schedule | None = None, masked: float = 0.0
) -> Family:
    """Noise that replaces tokens by any writable one (UDLM, arXiv 2412.10193).

    Args:
        vocabulary: says which tokens are writable.
        schedule: α(t), linear by default.
        masked: share of the hits that show the mask instead: a hybrid (GIDD, arXiv 2503.04482).

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> uniform(learn_vocabulary(["a cat"], size=300)).timed
        True
    """
    process = UniformProcess(
        size=vocabulary.size,
        schedule=schedule or Linear(),
        excluded=tuple(sorted(vocabulary.unwritable)),
        masked=masked,
        mask=vocabulary.mask if masked else None,
    )
    return Family(process=process, times=Stratified(), timed=True)


def latent(*, schedule: LogSnr | None = None) -> GaussianProcess:
    """Noise on an encoder's outputs (TEncDM, arXiv 2402.19097): tangent, of slope 9.

    Args:
        schedule: λ(t); `Odds` brings its own path, the straight one of flow matching.

    Example:
        >>> latent().schedule
        Tangent(slope=9.0)
    """
    chosen = schedule or Tangent()
    path = Flow() if isinstance(chosen, Odds) else Preserving()
    return GaussianProcess(schedule=chosen, path=path)


def embedding(*, schedule: LogSnr | None = None) -> GaussianProcess:
    """Noise on learnt vectors of tokens (Diffusion-LM, arXiv 2205.14217): the square root.

    Args:
        schedule: λ(t), as for `latent`.

    Example:
        >>> embedding().schedule
        SquareRoot(offset=0.0001)
    """
    return latent(schedule=schedule or SquareRoot())

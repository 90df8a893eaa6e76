"""What the choice of positions does to the text, with a model that makes no error.

    python benchmarks/orders.py            a table in Markdown; about a minute on one core
    python benchmarks/orders.py --rows 400

The model is exact: the conditionals of a Markov chain of 12 states (`tests/oracle.py`), so what
the texts deviate by is the sampler's doing. The likelihood is that of the chain.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.oracle import LENGTH, ChainOracle, chain

from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.loop import finish
from sfumato.sampling.parts import planners
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Order
from sfumato.sampling.parts.quotas import Fixed

SETTINGS = (
    ("random", 1, 1.0),
    ("max_prob", 1, 1.0),
    ("margin", 1, 1.0),
    ("entropy", 1, 1.0),
    ("sampled_prob", 1, 1.0),
    ("sampled_prob", 1, 2.0),
    ("sampled_prob", 1, 3.0),
    ("random", 2, 1.0),
    ("max_prob", 2, 1.0),
)


def row(name: str, nats: torch.Tensor, ids: torch.Tensor, oracle: ChainOracle) -> str:
    """One line of the table: nats a token with their standard error, and the χ² test."""
    error = float(nats.std() / len(nats) ** 0.5)
    return f"| {name} | {nats.mean():.3f} ± {error:.3f} | {oracle.p_value(ids):.3f} |"


def main(rows: int) -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    oracle = chain()
    print("| order | tokens a step | temperature | nats a token | p of χ² on bigrams |")
    print("| --- | --- | --- | --- | --- |")
    truth = oracle.draw(rows, torch.Generator().manual_seed(1))
    print(row("the chain itself | – | –", -oracle.log_likelihood(truth) / LENGTH, truth, oracle))
    for order, size, temperature in SETTINGS:
        policy = DecodingPolicy(
            order=Order(by=getattr(planners, order)),
            quota=Fixed(size=size),
            tokens=TokenSampler(temperature=temperature),
        )
        ids = finish(oracle, oracle.canvas(rows), policy, oracle.specials, seeds=0).ids
        nats = -oracle.log_likelihood(ids) / LENGTH
        print(row(f"`{order}` | {size} | {temperature:g}", nats, ids, oracle))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000, help="texts for each line")
    main(parser.parse_args().rows)

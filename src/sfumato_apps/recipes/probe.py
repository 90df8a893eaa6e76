"""`sfumato probe`: can this model be turned into one that writes?"""

from __future__ import annotations


def probe(
    model: str, *, data: list[str], n: int = 64, max_length: int = 128, seed: int = 0
) -> None:
    """Says before any training whether an encoder can be converted, and why or why not.

    Measures how well it predicts masked tokens on your text at 15, 50, 85 and 100 % masking,
    beside always guessing the most frequent token. Prints JSON; the verdict is also in words on
    stderr.

    $ sfumato probe answerdotai/ModernBERT-base --data my-texts.jsonl

    Args:
        model: Folder or hub name of the encoder.
        data: Text files; repeat the option for several.
        n: Texts to measure on.
        max_length: Longest text in tokens.
        seed: Seed of the masks.
    """
    import itertools
    import json
    import sys

    from sfumato.models.probe import probe as probe_model
    from sfumato.text.corpora import mix, parse_source
    from sfumato_apps.reading import texts_of

    records = itertools.islice(mix([parse_source(text) for text in data], seed), n)
    report = probe_model(model, texts_of(records), max_length=max_length, seed=seed)
    print(json.dumps(report.as_json(), ensure_ascii=False, indent=2))
    print(report.summary, file=sys.stderr)

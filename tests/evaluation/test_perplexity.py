"""Perplexity: by a judge, and bounds of groups."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models

from sfumato.errors import ModelError, UsageError
from sfumato.evaluation.perplexity import causal_perplexity, elbo, elbo_by_group
from sfumato.noise.masked import MaskedProcess
from sfumato.text.batching import encode
from sfumato.text.records import PairRecord, TextRecord
from sfumato.text.vocabulary import learn_vocabulary


def judge_folder(path: Path, *, context: int, bos: bool) -> Path:
    """A causal model with random weights over the words w0 … w9."""
    from tokenizers import pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {f"w{i}": i for i in range(10)} | {"<s>": 10, "<unk>": 11}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": "<unk>"} | ({"bos_token": "<s>"} if bos else {})
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=12,
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=context,
                initializer_range=0.5,
            )
        )
    judge.save_pretrained(path)
    return path


def exact_nll(folder: Path, ids: list[int]) -> float:
    from transformers import AutoModelForCausalLM

    judge = AutoModelForCausalLM.from_pretrained(folder).requires_grad_(False)
    log_p = judge(torch.tensor([ids])).logits[0].log_softmax(-1)
    return -float(sum(log_p[i, token] for i, token in enumerate(ids[1:])))


@pytest.mark.parametrize("bos", [True, False])
def test_a_judge_scores_every_token_once_whatever_the_batch(tmp_path: Path, bos: bool) -> None:
    folder = judge_folder(tmp_path, context=64, bos=bos)
    texts = ["w1 w2 w3", "w9 w9 w9 w9 w9 w0", "w5 w6"]
    ids = [([10] if bos else []) + [int(word[1:]) for word in text.split()] for text in texts]
    nll = sum(exact_nll(folder, one) for one in ids) / sum(len(one) - 1 for one in ids)
    for batch_size in (1, 16):
        perplexity, bits = causal_perplexity(folder, texts, batch_size=batch_size, seed=7)
        assert perplexity.value == pytest.approx(math.exp(nll), rel=1e-5)
        octets = sum(len(text) for text in texts)
        tokens = sum(len(one) - 1 for one in ids)
        assert bits.value == pytest.approx(nll * tokens / math.log(2) / octets, rel=1e-5)
        assert (perplexity.n, perplexity.seed, perplexity.reference) == (3, 7, folder.name)
        assert perplexity.settings == {"bos": bos, "context": 64}


def test_a_long_text_is_read_in_overlapping_windows(tmp_path: Path) -> None:
    """Context 4, ids 0 … 8 (bos first): windows 0-3, 2-5, 4-7, 6-8 score 1-3, 4-5, 6-7, 8."""
    folder = judge_folder(tmp_path, context=4, bos=True)
    ids = [10, 1, 2, 3, 4, 5, 6, 7, 8]
    text = " ".join(f"w{i}" for i in ids[1:])
    first = exact_nll(folder, ids[:4])
    later = [(2, 6, 2), (4, 8, 2), (6, 9, 2)]
    nll = first + sum(
        exact_nll(folder, ids[a:b]) - exact_nll(folder, ids[a : a + keep]) for a, b, keep in later
    )
    perplexity, _ = causal_perplexity(folder, [text])
    assert perplexity.value == pytest.approx(math.exp(nll / 8), rel=1e-4)


def test_a_folder_without_a_judge_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json, model\.safetensors") as error:
        causal_perplexity(tmp_path, ["a"])
    assert "\n" not in str(error.value)


def test_empty_texts_cannot_be_judged(tmp_path: Path) -> None:
    folder = judge_folder(tmp_path, context=8, bos=True)
    with pytest.raises(UsageError, match="empty texts"):
        causal_perplexity(folder, ["", ""])


def test_the_published_judge(shared_data: Path) -> None:
    """Stories of ROCStories cost 14.2 a token, with their words shuffled 75.2."""
    folder, path = shared_data / "lm_stories260k", shared_data / "rocstories" / "raw_valid.jsonl"
    if not (folder.is_dir() and path.is_file()):
        pytest.skip("the judge or the stories are not there")
    with path.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(100), strict=False)]
    order = random.Random(0)
    shuffled = [" ".join(order.sample(text.split(), len(text.split()))) for text in texts]
    for found, expected in ((texts, 14.2), (shuffled, 75.2)):
        perplexity, _ = causal_perplexity(folder, found)
        assert perplexity.stderr is not None
        assert perplexity.value == pytest.approx(expected, abs=3 * perplexity.stderr)
        assert perplexity.stderr < 0.06 * expected


def test_the_bounds_of_groups_add_up_to_the_bound_of_all() -> None:
    """Σ nats over groups = nats of all, since each text keeps its noise; n and seed are kept."""
    words = learn_vocabulary(["a cat sat on a mat"], size=300)
    texts = ["a cat", "a mat sat", "on a cat", "mat"]
    examples = [encode(TextRecord(text=text), words, max_length=16) for text in texts]

    def guess(x_t, where, *, attend=None, t=None):
        return torch.arange(words.size).expand(int(where.sum()), -1) / 50

    model = SimpleNamespace(
        denoiser=guess, vocabulary=words, process=MaskedProcess(mask=words.mask)
    )
    whole, per_byte = elbo(model, examples, draws=4, seed=5)
    groups = elbo_by_group(model, examples, ["en", "ru", "en", "en"], draws=4, seed=5)
    assert [(name, metrics[0].n) for name, metrics in groups.items()] == [("en", 3), ("ru", 1)]
    tokens = {
        name: sum(
            sum(example.trained)
            for example, group in zip(examples, ["en", "ru", "en", "en"], strict=True)
            if group == name
        )
        for name in groups
    }
    total = sum(groups[name][0].value * tokens[name] for name in groups)
    assert total == pytest.approx(whole.value * sum(tokens.values()))
    assert groups["ru"][0].reference == "ru"
    assert groups["ru"][0].stderr is None
    assert per_byte.n == 4


def test_a_group_without_bytes_has_no_bits_per_byte() -> None:
    """Only the end of a text is learnt: a token, but no byte."""
    words = learn_vocabulary(["a cat"], size=300)
    example = encode(PairRecord(prompt="a cat", completion=""), words, max_length=16)
    model = SimpleNamespace(
        denoiser=lambda x_t, where, **_: torch.zeros(int(where.sum()), words.size),
        vocabulary=words,
        process=MaskedProcess(mask=words.mask),
    )
    found = elbo_by_group(model, [example], ["und"], draws=2)
    assert [metric.name for metric in found["und"]] == ["elbo_nats_per_token"]
    with pytest.raises(UsageError, match="no bytes"):
        elbo(model, [example], draws=2)

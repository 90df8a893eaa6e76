"""Save → load → the same bytes; what is broken is refused in one line; no pickle, no code."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.models import networks
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertConfig, BertModel

from sfumato.errors import ModelError, ResourceError
from sfumato.models.checkpoints import Checkpoint, denoiser_of, load, save
from sfumato.models.lora import with_lora
from sfumato.models.parts.conditioning import TimeEmbedding
from sfumato.models.scratch import new_encoder
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.schedules import Geometric, Polynomial
from sfumato.noise.uniform import UniformProcess
from sfumato.text.dialogue import Message, encode_dialogue
from sfumato.text.vocabulary import learn_vocabulary

WORDS = learn_vocabulary(["a cat sat on a mat", "the dog saw the cat"], size=300)


def _checkpoint(architecture: str = "bert", seed: int = 0) -> Checkpoint:
    denoiser = new_encoder(
        WORDS, width=16, layers=1, heads=2, max_length=12, architecture=architecture, seed=seed
    )
    return Checkpoint(
        denoiser=denoiser.eval(),
        vocabulary=WORDS,
        process=MaskedProcess(mask=WORDS.mask, schedule=Polynomial(power=2.0)),
        metadata={"data": ["cats.txt"], "seed": 3, "licence": "apache-2.0"},
    )


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _logits(checkpoint: Checkpoint) -> torch.Tensor:
    x_t = torch.tensor([[*WORDS.encode("a cat"), WORDS.mask, WORDS.mask]])
    t = torch.tensor([0.5])
    return checkpoint.denoiser(x_t, x_t == WORDS.mask, t=t).detach()


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_save_load_save_gives_the_same_bytes(tmp_path: Path, architecture: str) -> None:
    first = _checkpoint(architecture)
    save(first, tmp_path / "one")
    second = load(tmp_path / "one")
    save(second, tmp_path / "two")
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")
    assert second.process == first.process
    assert second.metadata == first.metadata
    assert second.vocabulary.encode("the cat") == WORDS.encode("the cat")
    assert (second.vocabulary.mask, second.vocabulary.pad) == (WORDS.mask, WORDS.pad)
    assert dict(second.vocabulary.roles) == dict(WORDS.roles)
    assert not second.denoiser.training
    assert torch.equal(_logits(second), _logits(first))


def test_plain_transformers_opens_it(tmp_path: Path) -> None:
    checkpoint = _checkpoint()
    save(checkpoint, tmp_path)
    network = AutoModelForMaskedLM.from_pretrained(tmp_path, trust_remote_code=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=False)
    row = tokenizer("a [MASK]", return_tensors="pt")
    assert row.input_ids.tolist() == [[WORDS.bos, *WORDS.encode("a "), WORDS.mask, WORDS.eos]]
    logits = network(**row).logits[row.input_ids == WORDS.mask]
    ours = checkpoint.denoiser(row.input_ids, row.input_ids == WORDS.mask)
    others = [token for token in range(WORDS.size) if token != WORDS.mask]
    torch.testing.assert_close(ours[:, others], logits[:, others])
    turns = [Message(role="user", content="a cat"), Message(role="assistant", content="the dog")]
    text = tokenizer.apply_chat_template(
        [{"role": turn.role, "content": turn.content} for turn in turns], tokenize=False
    )
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tuple(ids) == encode_dialogue(turns, WORDS).ids


def test_uniform_noise_keeps_its_parts_and_the_time_embedding(tmp_path: Path) -> None:
    base = _checkpoint()
    process = UniformProcess(
        size=WORDS.size,
        schedule=Geometric(),
        excluded=tuple(sorted(WORDS.unwritable)),
    )
    time = TimeEmbedding(width=16)
    torch.nn.init.normal_(time.outer.weight, generator=torch.Generator().manual_seed(0))
    denoiser = denoiser_of(base.denoiser.network, process, mask=WORDS.mask, time=time)
    timed = replace(base, process=process, denoiser=denoiser.eval())
    save(timed, tmp_path)
    again = load(tmp_path)
    assert again.process == process
    torch.testing.assert_close(_logits(again), _logits(timed))
    network = AutoModelForMaskedLM.from_pretrained(tmp_path, trust_remote_code=False)
    assert network.num_parameters() == base.denoiser.network.num_parameters()
    # A save without the embedding must not leave the old one behind.
    save(base, tmp_path)
    assert load(tmp_path).denoiser.time is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_stored_once_a_weight_and_loads_as_float32(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    checkpoint = _checkpoint()
    save(checkpoint, tmp_path / "full")
    save(checkpoint, tmp_path / "half", dtype=dtype)
    full = (tmp_path / "full" / "model.safetensors").stat().st_size
    half = (tmp_path / "half" / "model.safetensors").stat().st_size
    assert half < 0.55 * full
    again = load(tmp_path / "half")
    assert {parameter.dtype for parameter in again.denoiser.parameters()} == {torch.float32}
    torch.testing.assert_close(_logits(again), _logits(checkpoint), atol=2e-2, rtol=2e-2)
    plain = AutoModelForMaskedLM.from_pretrained(tmp_path / "half", trust_remote_code=False)
    assert plain.dtype is torch.float32


def test_adapters_are_folded_in(tmp_path: Path) -> None:
    base = _checkpoint()
    adapted = replace(base, denoiser=with_lora(base.denoiser, rank=2).eval())
    with torch.no_grad():
        for name, parameter in adapted.denoiser.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    save(adapted, tmp_path)
    torch.testing.assert_close(_logits(load(tmp_path)), _logits(adapted), atol=1e-5, rtol=1e-5)


def test_a_plain_encoder_gets_masked_noise_and_its_own_special_tokens(tmp_path: Path) -> None:
    save(_checkpoint(), tmp_path)
    (tmp_path / "sfumato.json").unlink()
    plain = load(tmp_path)
    assert plain.process == MaskedProcess(mask=WORDS.mask)
    assert (plain.vocabulary.bos, plain.vocabulary.eos) == (WORDS.bos, WORDS.eos)
    assert dict(plain.vocabulary.roles) == dict(WORDS.roles)
    assert plain.metadata == {}


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text("{}\n")
    save(_checkpoint(seed=0), tmp_path)
    save(_checkpoint(seed=1), tmp_path)
    assert (tmp_path / "journal.jsonl").read_text() == "{}\n"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_save_that_is_killed_while_moving_is_finished_by_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each of the moves in turn, the folder opens with the new weights."""
    old, new = _checkpoint(seed=0), _checkpoint("modernbert", seed=1)
    move = Path.replace
    for survived in range(6):
        target = tmp_path / str(survived)
        save(old, target)
        moves = 0

        def dying(self: Path, to: Path, survived: int = survived) -> Path:
            nonlocal moves
            moves += 1
            if moves > survived:
                raise KeyboardInterrupt
            return move(self, to)

        monkeypatch.setattr(Path, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            save(new, target)
        monkeypatch.setattr(Path, "replace", move)
        assert torch.equal(_logits(load(target)), _logits(new))


def test_a_save_that_fails_leaves_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = _checkpoint(seed=0)
    save(old, tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sfumato.models.checkpoints.write_settings", full)
    with pytest.raises(ResourceError, match="No space left"):
        save(_checkpoint(seed=1), tmp_path)
    assert torch.equal(_logits(load(tmp_path)), _logits(old))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("harm", [_truncate, _flip, Path.unlink])
@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"]
)
def test_a_harmed_file_is_refused_in_one_line(
    tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    save(_checkpoint(), tmp_path)
    harm(tmp_path / name)
    with pytest.raises(ModelError) as caught:
        load(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_truncated_file_of_a_plain_encoder_is_refused_in_one_line(
    tmp_path: Path, name: str
) -> None:
    save(_checkpoint(), tmp_path)
    (tmp_path / "sfumato.json").unlink()
    _truncate(tmp_path / name)
    with pytest.raises(ModelError) as caught:
        load(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_truncated_settings_file_is_refused(tmp_path: Path) -> None:
    save(_checkpoint(), tmp_path)
    _truncate(tmp_path / "sfumato.json")
    with pytest.raises(ModelError, match=r"sfumato\.json is broken"):
        load(tmp_path)


def test_a_checkpoint_of_another_format_or_process_is_refused(tmp_path: Path) -> None:
    save(_checkpoint(), tmp_path)
    path = tmp_path / "sfumato.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"roles": {"user": 1}}))
    with pytest.raises(ModelError, match="is not what was saved"):
        load(tmp_path)
    del settings["own_sha256"]
    path.write_text(json.dumps(settings | {"format": 99}))
    with pytest.raises(ModelError, match="format 99"):
        load(tmp_path)
    path.write_text(json.dumps(settings | {"process": {"kind": "Brownian"}}))
    with pytest.raises(ModelError, match="Brownian"):
        load(tmp_path)


def test_folders_that_hold_no_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load(tmp_path / "nothing")
    with pytest.raises(ModelError, match="no such folder here"):
        load("no-such-model-anywhere")
    with pytest.raises(ModelError, match=r"no config\.json"):
        load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="is a file"):
        load(tmp_path / "file")
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="adapter"):
        load(tmp_path)


def test_a_model_without_a_head_is_refused_and_sent_to_probe(tmp_path: Path) -> None:
    save(_checkpoint(), tmp_path)
    (tmp_path / "sfumato.json").unlink()
    body = BertModel(BertConfig.from_pretrained(tmp_path), add_pooling_layer=False)
    body.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no weights for its masked-language-model head.*probe"):
        load(tmp_path)


def test_a_tokenizer_without_mask_token_is_refused(tmp_path: Path) -> None:
    save(_checkpoint(), tmp_path)
    (tmp_path / "sfumato.json").unlink()
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["mask_token"]
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="no mask token"):
        load(tmp_path)


class _Canary:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def test_no_pickle_is_read(tmp_path: Path) -> None:
    """Neither beside safetensors weights nor in their place."""
    folder, canary = tmp_path / "model", tmp_path / "canary"
    save(_checkpoint(), folder)
    for name in ("pytorch_model.bin", "training_args.bin", "rng_state.pth", "time.bin"):
        (folder / name).write_bytes(pickle.dumps(_Canary(canary)))
    load(folder)
    (folder / "sfumato.json").unlink()
    load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"pytorch_model\.bin.*never read"):
        load(folder)
    assert not canary.exists()
    pickle.loads((folder / "time.bin").read_bytes())
    assert canary.exists(), "the canary itself is dead"


def test_no_code_of_a_checkpoint_runs(tmp_path: Path) -> None:
    folder, canary = tmp_path / "model", tmp_path / "canary"
    save(_checkpoint(), folder)
    (folder / "sfumato.json").unlink()
    (folder / "trap.py").write_text(f"import os\nos.mkdir({str(canary)!r})\nclass Trap: ...\n")
    traps = {"AutoConfig": "trap.Trap", "AutoModelForMaskedLM": "trap.Trap"}
    for name, change in (
        ("config.json", {"auto_map": traps, "model_type": "trap"}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["trap.Trap", "trap.Trap"]}}),
    ):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match="trust_remote_code"):
        load(folder)
    assert not canary.exists()


def test_a_part_of_ones_own_cannot_be_saved(tmp_path: Path) -> None:
    class Own:
        """Not among the schedules that a checkpoint can name."""

        def alpha(self, t: torch.Tensor) -> torch.Tensor:
            return 1 - t

        def derivative(self, t: torch.Tensor) -> torch.Tensor:
            return -torch.ones_like(t)

        def inverse(self, alpha: torch.Tensor) -> torch.Tensor:
            return 1 - alpha

    process = MaskedProcess(mask=WORDS.mask, schedule=Own())
    with pytest.raises(ModelError, match="cannot hold Own"):
        save(replace(_checkpoint(), process=process), tmp_path)


@pytest.mark.parametrize("name", ["roberta", "distilbert", "electra", "deberta-v2", "albert"])
def test_every_family_comes_back(tmp_path: Path, name: str) -> None:
    config = networks.CONFIGS[name]()
    config.update({"vocab_size": WORDS.size, "pad_token_id": WORDS.pad})
    network = AutoModelForMaskedLM.from_config(config).eval()
    process = MaskedProcess(mask=WORDS.mask)
    denoiser = denoiser_of(network, process, mask=WORDS.mask)
    checkpoint = Checkpoint(denoiser=denoiser, vocabulary=WORDS, process=process)
    save(checkpoint, tmp_path)
    again = load(tmp_path)
    assert again.vocabulary.encode("the cat sat") == WORDS.encode("the cat sat")
    assert torch.equal(_logits(again), _logits(checkpoint))

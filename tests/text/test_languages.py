"""Languages: by script, by function words, and "und" rather than a guess."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.text.corpora import Source, read
from sfumato.text.languages import language_of

KNOWN = {
    "en": "I don't know where the key is, but you can ask her.",
    "de": "Ich weiß nicht, wo der Schlüssel ist.",
    "fr": "Je ne sais pas où est la clé de la maison.",
    "es": "No sé dónde está la llave de la casa.",
    "it": "Non so dove sia la chiave della casa.",
    "pt": "Não sei onde está a chave da casa, você sabe?",
    "nl": "Ik weet niet waar de sleutel van het huis is.",
    "pl": "Nie wiem, gdzie jest klucz do domu.",
    "tr": "Bu evin anahtarı çok güzel ve yeni bir şey.",
    "ru": "Я не знаю, где ключ от дома.",
    "uk": "Я не знаю, де ключ від дому, але він був тут.",
    "bg": "Не знам къде е ключът от къщата.",
    "el": "Δεν ξέρω πού είναι το κλειδί.",
    "ja": "鍵がどこにあるか分かりません。",
    "zh": "我不知道钥匙在哪里。",
    "ko": "열쇠가 어디 있는지 모르겠어요.",
    "und-Arab": "لا أعرف أين المفتاح",
    "und-Deva": "मुझे नहीं पता चाबी कहाँ है",
}


@pytest.mark.parametrize("language", KNOWN)
def test_a_sentence_is_recognised(language: str) -> None:
    assert language_of(KNOWN[language]) == language
    assert language_of(f"{KNOWN[language]} OK, 42 km, https") == language


@pytest.mark.parametrize("text", ["", "42 + 1 = 43", "x = y", "Yes", "Alimentum", "⌘ ↑ !", "Ok."])
def test_without_evidence_nothing_is_said(text: str) -> None:
    assert language_of(text) == "und"


@given(text=st.text(max_size=80))
def test_any_text_has_an_answer(text: str) -> None:
    assert language_of(text).split("-")[0] in {"und", "he", "th", "ka", "hy", *KNOWN}


@pytest.mark.parametrize(
    ("path", "language", "least"),
    [
        ("instruct_en/gpteacher_roleplay.jsonl", "en", 0.98),
        ("sentiment_sentences/sst2_dev.jsonl", "en", 0.93),
        ("tinystories_ru/train.jsonl", "ru", 0.98),
        ("edits_grammar/ru_change_person.jsonl", "ru", 0.98),
    ],
)
def test_real_texts(path: str, language: str, least: float, shared_data: Path) -> None:
    """Of 400 real texts at most one in a hundred gets a wrong language; some get none."""
    found: Counter[str] = Counter()
    for record, _ in zip(read(Source(path=str(shared_data / path))), range(400), strict=False):
        values = vars(record)
        said = values.get("text") or values.get("completion") or values["messages"][-1].content
        found[language_of(said)] += 1
    total = sum(found.values())
    assert found[language] >= least * total
    assert total - found[language] - found["und"] <= 0.01 * total

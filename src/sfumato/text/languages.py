"""In which language is a text? By its script and its commonest words; "und" where unsure.

    script of its own (Greek, Hangul, Thai …)       the language
    kana ► ja, Han alone ► zh                       the language
    Latin or Cyrillic                               function words decide, with a clear lead
    Arabic, Devanagari …                            und-Arab, und-Deva: which one is not decided

It tells a few languages of Europe apart, in texts of a sentence or more. It is there to split a
report, not to clean a corpus.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cache

UNKNOWN = "und"
_LEAD = 1.5
_LEAST = 1.0
_LETTERS_READ = 1000
_DENSE = 3  # a Han character says what about three letters say
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")

_ALONE: Mapping[str, str] = {
    "GREEK": "el",
    "HEBREW": "he",
    "HANGUL": "ko",
    "THAI": "th",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "CJK": "zh",
    "ARABIC": "und-Arab",
    "DEVANAGARI": "und-Deva",
}
# No Latin words of one letter: they are variables and initials as well.
_WORDS: Mapping[str, Mapping[str, str]] = {
    "LATIN": {
        "en": "the of and to is that it was for on are with as be this have from or by not but "
        "what all were when we there can an your which their if you his they my he she how "
        "in me so do about has had been will would could should them than more some these "
        "its who into no out up like near because most other only also at him her our us "
        "very here where why does did just",
        "de": "der die das und ist nicht ein eine einen einem zu den mit sich des auf für im dem "
        "es auch als wie ich sie er wir aus bei nach einer um noch oder wird sind haben "
        "kann werden über an in von was war hat so nur wer wo mein dein sein ihr du bin "
        "gibt mehr sehr zum zur man wenn aber am",
        "fr": "la le les et des une un est que qui dans pour pas sur du au avec ce il elle sont "
        "plus par je vous nous mais ou cette être ont aux leur c'est d'un d'une ne se son "
        "très en on tu mon ma sa ses comme fait tout bien deux où si même peut j'ai n'est",
        "es": "el la los las de que en un una es por con para no se del al como más su pero lo "
        "sus este ha está muy también son entre cuando sobre ser hay usted yo ella mi tu me "
        "te si porque donde qué esta estoy",
        "it": "il lo la gli le di che un una per non con sono del della si da come più anche nel "
        "alla ma questo essere ha dei delle io tu lei può ci al dal in mi ti se dove mio "
        "sua suo nella molto è",
        "pt": "os as de que em um uma por com para não se do da no na como mais seu mas são foi "
        "ao dos das muito também você eu ela pode está ou me sua isso ele nos já quando é à",
        "nl": "de het een en van is dat op te in niet zijn met voor aan er om als maar ook dan "
        "wordt naar bij of uit deze kan heeft worden ik je hij wij nog over was dit die zo "
        "wat mijn we geen",
        "pl": "na się nie że jest do to jak co od po za ale przez dla czy są tak być może go ich "
        "który która które jego tym już oraz tylko ja ty on ona mnie mam ma jej",
        "tr": "ve bir bu da de için ile çok ne gibi daha olarak var ama en olan değil mi kadar "
        "sonra ben sen her şey ya nasıl veya mı ise",
    },
    "CYRILLIC": {
        "ru": "и в не на что я он с это как по но они она так из за от же бы вы мы то для его её "
        "или если только когда уже было быть может который этот при ты до все чтобы да нет "
        "у к о об а их им мне меня тебя нас вас этого которые есть можно нужно очень там "
        "где ли во со был была были будет более также после между является",
        "uk": "і в не на що я він з це як по але вони вона так із за від ж би ви ми то для його "
        "її або якщо тільки коли вже було бути може який цей при ти до все щоб та у є а ні "
        "їх мені мене тебе нас вас які можна дуже там де був була були буде більш також "
        "після між",
        "bg": "и в не на че аз той с това как по но те тя така от за да би вие ние или ако само "
        "когато вече беше може който този при ти до всички се са ще е си а им го ги му ми "
        "има няма които много къде ли към без след между също",
    },
}
_MARKS: Mapping[str, str] = {
    "ыэё": "ru",
    "іїєґ": "uk",
    "ß": "de",
    "ñ¿¡": "es",
    "ãõ": "pt",
    "łżśźć": "pl",
    "ığş": "tr",
}


def language_of(text: str) -> str:
    """The language of a text as a tag of BCP 47; "und" where the evidence does not suffice.

    Among languages that share a script, each function word votes for the languages that use it,
    the less the more of them do, and so does each letter that only one of them has. The winner
    needs a vote, and half as many again as the next.

    Example:
        >>> [language_of(t) for t in ("Who is at the door?", "Кто это?", "Wer ist das?", "42")]
        ['en', 'ru', 'de', 'und']
    """
    letters = [c for c in text[:_LETTERS_READ] if c.isalpha()]
    scripts = Counter(map(_script, letters))
    if not scripts:
        return UNKNOWN
    scripts["CJK"] *= _DENSE
    main = max(scripts, key=lambda script: (scripts[script], script))
    kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
    if main == "CJK" and kana > len(letters) / 20:  # Japanese is written with both
        return "ja"
    if main in _WORDS:
        return _by_words(text[:_LETTERS_READ].casefold(), main)
    return _ALONE.get(main, UNKNOWN)


def _script(letter: str) -> str:
    return unicodedata.name(letter, "?").split(" ")[0].split("-")[0]


def _by_words(text: str, script: str) -> str:
    users = _users(script)
    votes: dict[str, float] = defaultdict(float)
    for word in _WORD.findall(text):
        for language in users.get(word, ()):
            votes[language] += 1 / len(users[word])
    for letters, language in _MARKS.items():
        if language in _WORDS[script]:
            votes[language] += sum(map(text.count, letters))
    ranked = sorted(votes.items(), key=lambda vote: -vote[1])
    (first, most), (_, next_most) = [*ranked, (UNKNOWN, 0.0), (UNKNOWN, 0.0)][:2]
    return first if most >= max(_LEAST, _LEAD * next_most) else UNKNOWN


@cache
def _users(script: str) -> Mapping[str, tuple[str, ...]]:
    """Which languages of a script use each of the words."""
    known = _WORDS[script]
    words = {word for listed in known.values() for word in listed.split()}
    return {w: tuple(name for name, listed in known.items() if w in listed.split()) for w in words}

"""From a sentence to its terms: words, stop words, stems. Pure functions, no event loop.

A *term* is what several forms of a word have in common: ``agents`` and ``Agent's`` are the term
``agent``. It is found by cutting endings off, lightly, by rules of the document's language. Where
that is none of the languages known here, words are taken as they are.
"""

# ruff: noqa: RUF001  # typographic apostrophes are meant

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Final

__all__ = ["STOP_WORDS", "guess_language", "is_term", "stem", "term_of", "words"]

_HAN: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HIRAGANA: Final = "\u3040-\u309f"
_KATAKANA: Final = "\u30a1-\u30ff"
# Vowel signs and accents that belong to a word; `\w` leaves them out.
_MARKS: Final = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u064b-\u065f\u0670\u06d6-\u06dc\u0900-\u0963"
    "\u0980-\u0dff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u0f71-\u0f84"
    "\u102b-\u103e\u17b4-\u17d3"
)
_SPACED: Final = rf"(?![{_HAN}{_HIRAGANA}{_KATAKANA}])"
_WORD: Final = re.compile(
    rf"(?P<han>[{_HAN}]+)|[{_KATAKANA}]+|(?P<hiragana>[{_HIRAGANA}]+)"
    rf"|{_SPACED}[^\W\d_](?:{_SPACED}[\w{_MARKS}]|[-'’](?={_SPACED}[^\W\d_]))*"
)
_ADDRESS: Final = re.compile(
    r"\b(?:https?|ftp|file)://\S+|\bwww\.\S+|(?<![^\s@])[^\s@]{1,64}@[^\s@]{1,200}\.\w+"
)
_LONGEST_WORD: Final = 40  # beyond it are hashes, keys, encoded data


def words(text: str) -> list[str]:
    """Give the words of *text* as they are written. Addresses of pages and people are none.

    Chinese and Japanese do not mark words: there, each pair of neighbouring characters is one.
    """
    found: list[str] = []
    for match in _WORD.finditer(_ADDRESS.sub(" ", text)):
        word = match[0]
        if match["hiragana"]:
            continue  # grammar, mostly
        if match["han"] and len(word) > 2:
            found += (word[at : at + 2] for at in range(len(word) - 1))
        elif len(word) <= _LONGEST_WORD:
            found.append(word.replace("’", "'").rstrip("_"))
    return found


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOP_WORDS: Final[dict[str, frozenset[str]]] = {
    "en": _set(
        """
        a about above after again against all also although always am among an and any are aren't
        around as at be because been before being below between both but by can can't cannot could
        couldn't did didn't do does doesn't doing don't done down during each either else even
        ever every everything few first for from further gets given go goes had has hasn't have
        having he her here hers herself him himself his how however i i'm if in instead into is
        isn't it it's its itself just last least less let lets like made make makes many may me
        might more most much must my myself needs neither never no nobody none nor not nothing now
        of off often on once one ones only onto or other others ought our ours out over own per
        put rather s same see shall she should shouldn't since so some somebody someone something
        still such t take taken takes than that that's the their theirs them themselves then there
        there's these they they're thing things this those though through thus to together too two
        under until up upon us use used uses using very was wasn't way we well were weren't what
        whatever when where whether which while who whoever whole whom whose why will with within
        without won't would yet you your yours
        """
    ),
    "de": _set(
        """
        ab aber alle allem allen aller alles als also am an andere anderen anderer anderes auch
        auf aus bei beim bin bis bist da dabei dadurch damit danach dann daran darauf daraus darin
        darum das dass dazu dein deine dem den denn der deren des dessen die dies diese diesem
        diesen dieser dieses doch dort du durch ein eine einem einen einer eines einige er es
        etwas euch euer für gegen genau gibt hab habe haben hat hatte hatten hier hin ich ihm ihn
        ihnen ihr ihre ihrem ihren ihrer im in indem ins ist ja jede jedem jeden jeder jedes jetzt
        kann kein keine keinen keiner können könnte lassen machen man manche mehr mein meine mit
        muss müssen nach nicht nichts noch nun nur ob oder ohne schon sehr sein seine seinem
        seinen seiner seit selbst sich sie sind so solche soll sollte sondern sonst über um und
        uns unser unter viel vom von vor war waren warum was weil weiter welche welcher wenn wer
        werden wie wieder will wir wird wo wurde wurden würde zu zum zur zwar zwischen
        """
    ),
    "fr": _set(
        """
        ai au aucun aussi autre autres aux avait avant avec avoir bien c'est car ce ceci cela
        celle celles celui ces cet cette ceux chaque chez comme comment d'un d'une dans de depuis
        des deux doit donc dont du elle elles en encore entre est et eu eux fait faire font il ils
        je l'on la le les leur leurs lui là ma mais me mes moi moins mon même n'est ne ni nos
        notre nous on ont ou où par parce pas peu peut peuvent plus pour pourquoi qu'il qu'on
        quand que quel quelle quelles quels qui quoi s'il sa sans se sera ses si son sont sous sur
        ta te tes toi ton tous tout toute toutes tu très un une vos votre vous y à ça était été
        être
        """
    ),
    "es": _set(
        """
        a al algo algunos ante antes aquel aquí así aunque bien cada casi como con contra cual
        cuando de del desde donde dos durante e el ella ellas ello ellos en entre era es esa esas
        ese eso esos esta estaba estado estamos estar este esto estos está están fue ha hace hacer
        hacia han hasta hay la las le les lo los me mi mientras mis mismo mucho muchos muy más ni
        no nos nosotros o otra otras otro otros para pero poco por porque puede pueden pues que
        quien qué se sea ser si sido siempre sin sino sobre solo son su sus sólo también tan tanto
        te tiene tienen toda todas todo todos tras tu un una uno unos y ya él
        """
    ),
}
_SAMPLE: Final = 2000
_ENOUGH: Final = 0.08  # of the sample; prose has several times that share of stop words


def guess_language(found: Iterable[str]) -> str:
    """Guess the language from the stop words among *found*; ``""`` where no list fits."""
    sample = [word.casefold() for word in islice(found, _SAMPLE)]
    hits = {name: sum(word in known for word in sample) for name, known in STOP_WORDS.items()}
    best = max(hits, key=hits.__getitem__)  # the first of them, where two fit equally
    return best if sample and hits[best] >= max(1, _ENOUGH * len(sample)) else ""


def is_term(word: str, language: str) -> bool:
    """Whether *word* says something about a document in *language*."""
    if not word.isascii() and ord(word[0]) > 0x2E80:
        return len(word) > 1
    if word.casefold() in STOP_WORDS.get(language, ()):
        return False
    if len(word) == 2:
        return word.isupper()
    return len(word) > (2 if language else 3)  # unknown small words are grammar in most languages


# Longest first; what is left has at least four letters.
_ENDINGS: Final[dict[str, tuple[str, ...]]] = {
    "de": ("innen", "ern", "en", "em", "er", "es", "e", "n", "s"),
    "fr": ("es", "s", "x", "e"),
    "es": ("os", "as", "es", "o", "a", "e", "s"),
}


@lru_cache(maxsize=1 << 15)
def term_of(word: str, language: str) -> str:
    """Give the term that *word* is a form of; ``""`` if it says nothing about a document."""
    return stem(word, language) if is_term(word, language) else ""


def stem(word: str, language: str) -> str:
    """Give the term that *word* is a form of. It is not empty, and need not be a word."""
    word = word.casefold()
    if language == "en":
        return _stem_english(word)
    for ending in _ENDINGS.get(language, ()):
        if len(word) - len(ending) >= 4 and word.endswith(ending):
            return word[: -len(ending)]
    return word


def _stem_english(word: str) -> str:
    word = word.removesuffix("'s").removesuffix("'")
    if len(word) <= 3:
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        rest = word[: -len(ending)]
        if word.endswith(ending) and len(rest) >= 3 and any(vowel in rest for vowel in "aeiouy"):
            word = rest
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    if len(word) > 4 and word.endswith("e"):
        word = word[:-1]
    if len(word) > 5 and word.endswith("ll"):
        word = word[:-1]  # "cancelled" is a form of "cancel"
    return word

"""Words, languages, terms."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trio_agents._demo._words import STOP_WORDS, guess_language, is_term, stem, term_of, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Agents' send_message, isn't it?", ["Agents", "send_message", "isn't", "it"]),
        ("run-time 3rd x86", ["run-time", "rd", "x86"]),
        ("see https://example.org/a.b and me@example.org now", ["see", "and", "now"]),
        ("café мир हिन्दी", ["café", "мир", "हिन्दी"]),
        ("我们使用代理", ["我们", "们使", "使用", "用代", "代理"]),
        ("エージェント を 使う", ["エージェント", "使"]),
        ("a" * 41, []),
        ("is_ __init__", ["is", "init"]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("the runtime owns every task and the tasks of its agents", "en"),
        ("der Agent wartet auf eine Nachricht und antwortet dann", "de"),
        ("le lecteur est dans la bibliothèque avec tous les livres", "fr"),
        ("el lector está en la biblioteca con todos los libros", "es"),
        ("агент ждёт сообщения", ""),
        ("", ""),
    ],
)
def test_the_language_is_guessed_by_its_small_words(text: str, language: str) -> None:
    assert guess_language(words(text)) == language


@pytest.mark.parametrize(
    "forms",
    [
        ("agent", "agents", "Agent's"),
        ("message", "messages", "messaging"),
        ("cancel", "cancels", "cancelled", "cancelling"),
        ("handle", "handles", "handled", "handling"),
        ("run", "running"),
        ("process", "processes", "processing"),
        ("reply", "replies"),
        ("nursery", "nurseries"),
        ("cache", "caches", "cached", "caching"),
        ("bus",),
    ],
)
def test_forms_of_an_english_word_are_one_term(forms: tuple[str, ...]) -> None:
    assert len({stem(form, "en") for form in forms}) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("string", "str"), ("class", "clash"), ("thing", "the"), ("red", "r")]
)
def test_different_words_are_different_terms(one: str, other: str) -> None:
    assert stem(one, "en") != stem(other, "en")


def test_forms_in_other_languages() -> None:
    assert stem("Nachrichten", "de") == stem("Nachricht", "de")
    assert stem("agentes", "es") == stem("agente", "es")
    assert stem("livres", "fr") == stem("livre", "fr")
    assert stem("агенты", "") == "агенты"


def test_small_words_are_no_terms() -> None:
    assert not is_term("The", "en")
    assert not is_term("go", "fr")
    assert not is_term("и", "")
    assert is_term("IO", "en")
    assert is_term("代理", "")
    assert not is_term("代", "")


@given(st.text(), st.sampled_from(["", *STOP_WORDS]))
def test_every_word_has_a_term_or_none(text: str, language: str) -> None:
    for word in words(text):
        assert word
        assert stem(word, language)
        term = term_of(word, language)
        assert term == (stem(word, language) if is_term(word, language) else "")
        assert not any(one.isspace() for one in term)

"""One document: its terms and the sentences that may speak for it."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, strategies as st

from trio_agents._demo._analysis import (
    MAX_CANDIDATES,
    MAX_SENTENCE,
    MAX_TERMS,
    analyse,
    analyse_in_steps,
    shorten,
)

LETTER = """# Writing letters

A letter is written by hand and sent by post. Writers of letters wait for the post. The post is
slow, and so letters are long.

- Stamps cost money.

```
letter = "not counted"
```
"""

PIECES = st.sampled_from(
    [
        "# One two three\n\n",
        "Cats like warm places. ",
        "The cat sleeps! ",
        "- an item here\n",
        "\n\n",
        "| cell | cats |\n",
        "世界很大。",
        "Почему спит кот? ",
        "```\ncode\n```\n",
        "e.g. ",
        "x" * 500,
    ]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join))


def test_a_document_is_counted() -> None:
    analysis = analyse(LETTER)
    assert analysis.title == "Writing letters"
    assert analysis.language == "en"
    assert analysis.sentences == 4
    assert analysis.words == 31
    terms = {entry.form: entry.count for entry in analysis.terms.values()}
    assert terms["letters"] == 4
    assert terms["post"] == 3
    assert "the" not in terms
    assert "counted" not in terms
    assert analysis.terms["letter"].weight == 3 + 3  # one of the four is in the heading


def test_candidates_stand_in_their_order_and_name_their_terms() -> None:
    analysis = analyse(LETTER)
    assert [one.place for one in analysis.candidates] == [0, 1, 2, 3]
    first = analysis.candidates[0]
    assert first.text == "A letter is written by hand and sent by post."
    assert first.opens
    assert first.terms == ("letter", "written", "hand", "sent", "post")
    assert not analysis.candidates[1].opens


def test_rows_of_tables_count_but_do_not_speak() -> None:
    analysis = analyse("| cats | dogs |\n|---|---|\n| cats | birds |\n")
    assert analysis.terms["cats"].count == 2
    assert analysis.sentences == 0
    assert analysis.candidates == ()


def test_an_empty_document_has_nothing() -> None:
    analysis = analyse("")
    assert (analysis.title, analysis.words, analysis.terms, analysis.candidates) == ("", 0, {}, ())


def test_a_long_document_lets_others_have_their_turn() -> None:
    steps = analyse_in_steps("Cats sleep in warm places. " * 1000)
    assert sum(1 for _ in steps) > 30


@given(st.text(), st.integers(2, 30))
def test_shorten(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert (short == text) == (len(text) <= limit or short == text)
    assert len(text) <= limit or short.endswith("…")


@given(TEXTS, st.booleans())
def test_any_text_has_an_analysis_within_bounds(text: str, markdown: bool) -> None:
    analysis = analyse(text, markdown=markdown)
    assert analysis == analyse(text, markdown=markdown)
    assert len(analysis.terms) <= MAX_TERMS
    assert len(analysis.candidates) <= MAX_CANDIDATES
    assert sum(entry.count for entry in analysis.terms.values()) <= analysis.words
    for term, entry in analysis.terms.items():
        assert term
        assert entry.form
        assert 1 <= entry.count <= entry.weight
    places = [one.place for one in analysis.candidates]
    assert places == sorted(set(places))
    for one in analysis.candidates:
        assert 0 < len(one.text) <= MAX_SENTENCE
        assert set(one.terms) <= set(analysis.terms)
        assert one.terms
        assert one.text.isprintable() or not one.text.isascii()


@given(st.lists(st.sampled_from(["stone", "river", "bridge", "garden"]), min_size=1, max_size=60))
def test_every_word_that_matters_is_counted(chosen: list[str]) -> None:
    analysis = analyse(" ".join(chosen), markdown=False)
    counted = {entry.form: entry.count for entry in analysis.terms.values()}
    # One line that ends with a word is a title: its words are counted all the same.
    assert counted == Counter(chosen)

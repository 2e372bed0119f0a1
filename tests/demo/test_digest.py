"""The digest of what was found."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, strategies as st

from trio_agents._demo._analysis import Sentence, analyse
from trio_agents._demo._digest import choose_sentences, compose, escape, quoted
from trio_agents._demo._messages import Compose, Finding, Overview, Skipped


def overview(*texts: str, skipped: tuple[Skipped, ...] = ()) -> Overview:
    findings = tuple(
        Finding(f"d{number}.md", f"d{number}.md", analyse(text))
        for number, text in enumerate(texts)
    )
    spread = Counter(term for finding in findings for term in finding.analysis.terms)
    return Overview(findings, skipped, spread)


def digest(found: Overview, request: Compose | None = None) -> str:
    return "".join(compose(found, request or Compose()))


CATS = "# Cats\n\nCats sleep in warm places. A cat hunts mice at night. Mice fear the cat."
DOGS = "# Dogs\n\nDogs guard the house at night. A dog barks at strangers. Strangers fear dogs."


def test_the_digest_of_two_documents() -> None:
    assert (
        digest(overview(CATS, DOGS), Compose(sentences=1))
        == """\
# Digest of 2 documents

31 words.

## Terms they share

| Term | Documents | Times | Most in |
|---|--:|--:|---|
| fear | 2 | 2 | `d0.md` |
| night | 2 | 2 | `d0.md` |

## Cats

`d0.md`: 16 words, 3 sentences.

- Cats sleep in warm places.

**Terms:** cat (4), mice (2), hunts (1), places (1), sleep (1), warm (1), fear (1), night (1)

**Close to:** `d1.md`

## Dogs

`d1.md`: 15 words, 3 sentences.

- Dogs guard the house at night.

**Terms:** dogs (4), strangers (2), barks (1), guard (1), house (1), fear (1), night (1)

**Close to:** `d0.md`
"""
    )


def test_a_partial_digest_says_so_and_skipped_files_are_named() -> None:
    found = overview(CATS, skipped=(Skipped("x|`", "x|`", "it is not text: *"),))
    text = digest(found, Compose(interrupted=True, documents=6))
    assert "> **Partial:** interrupted with 4 documents to go.\n" in text
    assert "16 words; 1 file skipped.\n" in text
    assert "\n## Skipped\n\n- `` x|` ``: it is not text: \\*\n" in text


def test_a_document_without_words_or_title_has_its_name() -> None:
    assert "\n## `d0.md`\n\n`d0.md`: no words.\n" in digest(overview(""))


def test_no_sentences_may_be_asked_for() -> None:
    assert "- " not in digest(overview(CATS), Compose(sentences=0))


def test_sentences_that_say_the_same_are_not_both_chosen() -> None:
    twins = [
        Sentence("a b c", 0, True, ("a", "b", "c")),
        Sentence("a b c d", 1, False, ("a", "b", "c", "d")),
        Sentence("e f", 2, False, ("e", "f")),
    ]
    weights = dict.fromkeys("abcdef", 1.0)
    assert [one.place for one in choose_sentences(twins, weights, 2)] == [1, 2]


@given(st.text(alphabet=st.characters(exclude_categories=["C", "Z"]), max_size=40))
def test_a_code_span_holds_any_text(text: str) -> None:
    shown = quoted(text)
    marks = len(shown) - len(shown.lstrip("`"))
    assert shown.startswith("`" * marks)
    assert shown.endswith("`" * marks)
    assert "`" * marks not in shown[marks:-marks].strip("` ") or not text.strip("`")


def test_text_is_escaped_and_code_is_not() -> None:
    assert escape("a *b* `c*d` [e] <f> | _g_ h_i # j") == (
        "a \\*b\\* `c*d` \\[e\\] \\<f\\> \\| \\_g\\_ h_i # j"
    )
    assert escape("# a") == "\\# a"
    assert escape("- a") == "\\- a"
    assert escape("1. a") == "1\\. a"
    assert escape("&amp; & a") == "\\&amp; & a"


@given(st.lists(st.sampled_from([CATS, DOGS, "", "Birds sing. Cats listen."]), max_size=6))
def test_any_documents_have_a_digest_and_it_has_each_of_them(texts: list[str]) -> None:
    found = overview(*texts)
    text = digest(found)
    assert text.startswith(f"# Digest of {len(texts)} document")
    assert text.endswith("\n")
    for finding in found.findings:
        assert f"\n`{finding.name}`: " in text


def test_the_order_of_the_counter_does_not_show() -> None:
    found = overview(CATS, DOGS, "Birds sing at night. Cats fear no birds.")
    terms = list(found.spread.items())
    random.Random(1).shuffle(terms)
    assert digest(Overview(found.findings, found.skipped, dict(terms))) == digest(found)

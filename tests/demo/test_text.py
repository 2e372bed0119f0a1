"""Documents are parted into blocks and sentences, and never raise."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trio_agents._demo._text import Block, Kind, blocks, clean, sentences

# Pieces that mean something to a reader of Markdown, in any order.
MARKUP = st.lists(
    st.sampled_from(
        "#_|##_|```|````|~~~|-_|1._|>_|---|===|^|^^|____|[a](b)|[a][b]|![i](j)|`code`|`|**|*|<b>|"
        "<!--|-->|Word|_|._|e.g._|…|。|世界|\\|{term}`x`|[^1]".replace("_", " ")
        .replace("^", "\n")
        .split("|")
    )
    | st.sampled_from(["| a |", "|---|", "_", "^", "\t"]),
    max_size=60,
).map("".join)
TEXTS = st.one_of(st.text(), MARKUP)


def texts(document: str, **options: bool) -> list[tuple[str, str]]:
    return [(block.kind.value, block.text) for block in blocks(clean(document), **options)]


def test_headings_paragraphs_items_and_rows_are_blocks() -> None:
    document = """---
title: front matter
---
# One #

Two lines
of text.
- an item
  goes on
- [x] done

  below the item

1) first

Under
=====
| a | b |
|---|---|
| c | d |

> quoted
> twice

***
after
"""
    assert texts(document) == [
        ("heading", "One"),
        ("text", "Two lines of text."),
        ("item", "an item goes on"),
        ("item", "done"),
        ("text", "below the item"),
        ("item", "first"),
        ("heading", "Under"),
        ("row", "a b"),
        ("row", "c d"),
        ("text", "quoted twice"),
        ("text", "after"),
    ]


def test_code_comments_and_link_definitions_are_left_out() -> None:
    document = """Before.

```python
x = 1
```

    indented = code

~~~~
~~~
still code
~~~~

<!-- a comment
over two lines -->
[a]: https://example.org
After.
"""
    assert texts(document) == [("text", "Before."), ("text", "After.")]


def test_a_fence_that_is_never_closed_does_not_swallow_the_document() -> None:
    assert texts("One.\n\n```\nTwo.\n") == [("text", "One."), ("text", "Two.")]


def test_deeper_lines_of_a_list_are_not_code() -> None:
    assert texts("- item\n\n    more of it\n") == [("item", "item"), ("text", "more of it")]


def test_plain_text_has_a_title_paragraphs_and_items() -> None:
    assert texts("A title\n\n# no heading\nbut text\n- item\n", markdown=False) == [
        ("heading", "A title"),
        ("text", "# no heading but text"),
        ("item", "item"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("He said so (twice). Then he left.", ["He said so (twice).", "Then he left."]),
        ("Dr. Who met Mr. Smith. They talked.", ["Dr. Who met Mr. Smith.", "They talked."]),
        ("Use agents, e.g. Readers. Done.", ["Use agents, e.g. Readers.", "Done."]),
        ("Use z.B. Agenten. Gut.", ["Use z.B. Agenten.", "Gut."]),
        ("See Fig. 3 for J. Doe. Next.", ["See Fig. 3 for J. Doe.", "Next."]),
        ("Am 3. Mai kam er. Er blieb.", ["Am 3. Mai kam er.", "Er blieb."]),
        ("Python 3.11 is out. Get it.", ["Python 3.11 is out.", "Get it."]),
        ("Wait... what? yes.", ["Wait... what? yes."]),
        ('"Stop." She stopped.', ['"Stop."', "She stopped."]),
        ("世界。你好！再见", ["世界。", "你好！", "再见"]),  # noqa: RUF001
        ("Call `a.b. C` now. Then stop.", ["Call `a.b. C` now.", "Then stop."]),
        ("[A link](x_(y).md) and ![no](i) *one* **two** _three_.", ["A link and one two three."]),
        ("See [](guide.md), [`code`](x) and {term}`topic`.", ["See guide.md, `code` and `topic`."]),
        ("a_b_c and 2\\*3 <br/>stay[^1].", ["a_b_c and 2*3 stay."]),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_plain_text_keeps_what_would_be_markup() -> None:
    assert sentences("2*3*4 and [x](y).", markdown=False) == ["2*3*4 and [x](y)."]


def test_what_cannot_be_seen_is_removed() -> None:
    assert clean("a\x1b[31mb\u202ec\u200bd\r\ne\rf\u2028g") == "a[31mbcd\ne\nf\ng"
    assert clean("e\u0301") == "é"


@given(TEXTS, st.booleans())
def test_any_text_has_blocks_of_one_line_without_control_characters(
    text: str, markdown: bool
) -> None:
    for block in blocks(clean(text), markdown=markdown):
        assert isinstance(block, Block)
        assert isinstance(block.kind, Kind)
        assert block.text == " ".join(block.text.split())
        for sentence in sentences(block.text, markdown=markdown):
            assert sentence == sentence.strip()
            assert sentence
            assert "\ue000" not in sentence


@given(TEXTS)
def test_sentences_of_plain_text_lose_nothing(text: str) -> None:
    text = clean(text)
    found = sentences(text, markdown=False)
    assert "".join("".join(found).split()) == "".join(text.split())


@given(TEXTS)
def test_plain_blocks_lose_nothing_but_the_marks_of_items(text: str) -> None:
    text = clean("".join(one for one in text if one not in "-*+•.)0123456789"))
    found = "".join(block.text for block in blocks(text, markdown=False))
    assert "".join(found.split()) == "".join(text.split())


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "[a](",
        "`",
        "`a ``b ",
        "*a",
        "_a ",
        "<a",
        "<!--",
        "```x\n",
        "a.",
        ".",
        "…",
        "a@",
        "(",
        "> ",
        "- ",
        "[a](b(",
        "a [^",
        "![",
        "    a\n",
        "#",
        " ",
        "\t",
        "|",
        "http://",
        "``` x\n````y\n",
        "{a",
    ],
)
def test_the_time_grows_with_the_length_and_not_faster(piece: str) -> None:
    # Were it the square, a hundred thousand characters would take minutes, and the run would end.
    text = piece * (100_000 // len(piece))
    for markdown in (True, False):
        for block in blocks(clean(text), markdown=markdown):
            sentences(block.text, markdown=markdown)

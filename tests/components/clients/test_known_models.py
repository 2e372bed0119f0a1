"""Models that are known by name."""

from __future__ import annotations

import pytest

from trio_agents.ext.models import _anthropic_models, _ollama_models, _openai_models
from trio_agents.ext.models._known_models import ModelTable, is_same_model
from trio_agents.models import validate_model_info

TABLES = [_openai_models.MODELS, _anthropic_models.MODELS, _ollama_models.MODELS]


@pytest.mark.parametrize("table", TABLES)
def test_each_row_says_all_that_has_to_be_said(table: ModelTable) -> None:
    for known in (*table.rows.values(), *table.lines.values()):
        validate_model_info(known.info)
        assert known.token_limit is None or known.token_limit > 0


# MC-29
@pytest.mark.parametrize(
    ("model", "structured"),
    [
        ("gpt-4o", True),
        ("gpt-4o-2024-08-06", True),
        ("gpt-4o-2031-01-01", True),
        ("gpt-4o-2024-05-13", False),
        ("gpt-4o-mini", True),
        ("gpt-4-turbo", False),
        ("gpt-3.5-turbo-0125", False),
        ("gpt-6.2-sol", True),
        ("gemini-2.5-pro-preview-03-25", True),
        ("gemini-2.0-flash-001", True),
    ],
)
def test_snapshots_and_new_models_of_a_line_are_known(model: str, structured: bool) -> None:
    known = _openai_models.MODELS.find(model)
    assert known is not None
    assert known.info["structured_output"] is structured


@pytest.mark.parametrize("model", ["gpt-4o-audio", "my-gpt-4o", "gpt-4o-mini-tts", "", "gpt-7-x"])
def test_other_models_are_not(model: str) -> None:
    assert _openai_models.MODELS.find(model) is None


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("claude-3-5-sonnet-20241022", "claude-3-5-sonnet"),
        ("claude-sonnet-4-20250514", "claude-4-sonnet"),
        ("claude-opus-5-5", "claude-4-opus"),
    ],
)
def test_claude_has_its_family(model: str, family: str) -> None:
    known = _anthropic_models.MODELS.find(model)
    assert known is not None
    assert known.info["family"] == family


# MC-25
@pytest.mark.parametrize(
    ("asked", "answered", "same"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o", "gpt-4o-mini-2024-07-18", False),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-11-20", False),
        ("gpt-4o-2024-08-06", "gpt-4o", False),
    ],
)
def test_a_snapshot_of_what_was_asked_is_no_other_model(
    asked: str, answered: str, same: bool
) -> None:
    assert is_same_model(asked, answered) is same


def test_what_is_changed_in_one_clients_info_is_not_changed_in_the_table() -> None:
    _openai_models.MODELS.info("gpt-4o")["vision"] = False
    assert _openai_models.MODELS.info("gpt-4o")["vision"] is True

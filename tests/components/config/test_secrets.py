"""A secret comes back in the process, and is nowhere else."""

from __future__ import annotations

import io
import json
import logging
import traceback
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import pytest
from hypothesis import given, strategies as st
from pydantic import (
    AliasChoices,
    BaseModel,
    Field,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    field_validator,
)
from typing_extensions import TypeAliasType, TypedDict

from trio_agents import Component, ComponentBase, ComponentModel
from trio_agents.exceptions import ComponentError

CANARY = "sk-canary-'4f9d\\\"é"
MASK = "**********"


class Token(BaseModel):
    kind: Literal["token"] = "token"
    token: SecretStr


class Basic(BaseModel):
    kind: Literal["basic"] = "basic"
    user: str
    password: SecretStr | None = None


class Typed(TypedDict, total=False):
    secret: SecretStr


@dataclass
class Plain:
    secret: SecretStr | None = None


class Root(RootModel[dict[str, SecretStr]]):
    pass


Alias = TypeAliasType("Alias", SecretStr | None)


class Secrets(BaseModel):
    key: SecretStr
    optional: SecretStr | None = None
    data: SecretBytes | None = None
    number: Secret[int] | None = None
    annotated: Annotated[SecretStr, Field(min_length=3)] | None = None
    renamed: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("old_name", "older_name")
    )
    alias: Alias = None
    many: list[SecretStr] = []
    pair: tuple[str, SecretStr] | None = None
    headers: dict[str, SecretStr] = {}
    mixed: dict[str, str | SecretStr] = {}
    auth: Annotated[Token | Basic, Field(discriminator="kind")] | None = None
    auths: list[Token | Basic] = []
    by_name: dict[str, Basic] = {}
    typed: Typed = {}
    plain: Plain = Plain()
    root: Root | None = None
    text: str = ""
    texts: list[str] = []

    @field_validator("text")
    @classmethod
    def check_text(cls, text: str, info: Any) -> str:
        if text == "fail":
            raise ValueError(f"key was {info.data['key'].get_secret_value()}")
        if text == "fail with a repr":
            raise ValueError(f"key was {info.data['key'].get_secret_value()!r}")
        return text


class Client(ComponentBase[BaseModel], Component[Secrets]):
    component_type = "model"
    component_config_schema = Secrets

    def __init__(self, config: Secrets) -> None:
        self.config = config

    def _to_config(self) -> Secrets:
        return self.config

    @classmethod
    def _from_config(cls, config: Secrets) -> Self:
        return cls(config)


NAME = f"{Client.__module__}.Client"


def load(config: dict[str, Any]) -> Secrets:
    return Client.load_component({"provider": NAME, "config": config}).config


def full(secret: str) -> Secrets:
    hidden = SecretStr(secret)
    return Secrets.model_validate(
        {
            "key": hidden,
            "optional": hidden,
            "data": secret.encode(),
            "number": 41999,
            "annotated": hidden,
            "old_name": hidden,
            "alias": hidden,
            "many": [hidden, hidden],
            "pair": ("a", hidden),
            "headers": {"a": hidden},
            "mixed": {"a": hidden, "b": "open"},
            "auth": {"kind": "token", "token": hidden},
            "auths": [{"kind": "basic", "user": "u", "password": hidden}],
            "by_name": {"x": {"user": "u", "password": hidden}},
            "typed": {"secret": hidden},
            "plain": {"secret": hidden},
            "root": {"a": hidden},
        }
    )


secrets = st.text(min_size=3).filter(lambda text: text != MASK)


# CMP-28
@given(secrets)
def test_in_the_process_secrets_come_back(secret: str) -> None:
    config = full(secret.encode(errors="replace").decode())
    assert Client.load_component(Client(config).dump_component()).config == config


# CMP-28
@given(st.text("abcdefgh0123456789", min_size=12))
def test_json_has_no_secret(secret: str) -> None:
    text = Client(full(secret)).dump_component().model_dump_json()
    assert secret not in text
    assert "41999" not in text
    assert text.count(MASK) == 18


# CMP-28
def test_what_was_masked_is_as_if_it_had_not_been_written() -> None:
    config = json.loads(Client(full(CANARY)).dump_component().model_dump_json())["config"]
    del config["auth"], config["pair"]
    loaded = load(config | {"key": "fresh"})
    assert loaded == Secrets(
        key=SecretStr("fresh"),
        mixed={"b": "open"},
        auths=[Basic(user="u")],
        by_name={"x": Basic(user="u")},
    )


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"key": MASK}, "key: Field required"),
        ({"key": "x", "auth": {"kind": "token", "token": MASK}}, r"auth\.token\.token: Field req"),
        ({"key": "x", "auths": [{"kind": "token", "token": MASK}]}, r"auths\.0.*: Field required"),
        ({"key": "x", "pair": ["a", MASK]}, r"pair\.1: Field required"),
    ],
)
def test_a_masked_secret_that_is_needed_is_an_error_that_names_its_field(
    config: dict[str, Any], field: str
) -> None:
    with pytest.raises(ComponentError, match=field):
        load(config)


@pytest.mark.parametrize("field", ["optional", "data", "number", "annotated", "alias", "renamed"])
def test_a_masked_secret_that_may_be_missing_is_missing(field: str) -> None:
    assert getattr(load({"key": "x", field: MASK}), field) is None


@pytest.mark.parametrize("name", ["old_name", "older_name"])
def test_a_masked_secret_is_known_by_its_other_names(name: str) -> None:
    assert load({"key": "x", name: MASK}).renamed is None


@pytest.mark.parametrize("value", [[MASK], [MASK, MASK]])
def test_a_list_of_masks_is_not_there(value: list[str]) -> None:
    assert load({"key": "x", "many": value}).many == []
    assert load({"key": "x", "many": [*value, "y"]}).many == [SecretStr("y")]
    assert load({"key": "x", "many": []}).many == []


def test_dictionaries_lose_what_was_masked() -> None:
    config = {"a": MASK, "b": "y"}
    assert load({"key": "x", "headers": config}).headers == {"b": SecretStr("y")}
    assert load({"key": "x", "headers": {"a": MASK}}).headers == {}


def test_asterisks_that_are_no_secret_stay() -> None:
    loaded = load({"key": "x", "text": MASK, "texts": [MASK], "by_name": {MASK: {"user": MASK}}})
    assert (loaded.text, loaded.texts) == (MASK, [MASK])
    assert loaded.by_name == {MASK: Basic(user=MASK)}


@pytest.mark.parametrize("field", ["key", "headers", "many", "auth", "text", "root"])
@pytest.mark.parametrize("value", [5, object(), {1: 2}, [[]], [{}], {"a": object()}])
def test_values_that_are_not_json_are_the_schemas_to_judge(value: Any, field: str) -> None:
    with pytest.raises(ComponentError, match=rf"not valid: {field}"):
        load({"key": "secret", field: value})


# Canaries: S9


def everything_about(error: BaseException) -> str:
    seen: set[int] = set()
    texts: list[str] = []

    def visit(each: BaseException | None) -> None:
        if each is None or id(each) in seen:
            return
        seen.add(id(each))
        texts.extend([str(each), repr(each), *getattr(each, "__notes__", [])])
        texts.extend(traceback.format_exception(each))
        visit(each.__cause__)
        visit(each.__context__)

    visit(error)
    return "\n".join(texts)


def is_found_in(text: str) -> bool:
    return any(each in text for each in (CANARY, repr(CANARY)[1:-1], json.dumps(CANARY)[1:-1]))


BAD: dict[str, dict[str, Any]] = {
    "another field": {"key": CANARY, "many": 5},
    "of a wrong type beside it": {"key": CANARY, "auth": {"kind": CANARY, "token": CANARY}},
    "too short": {"key": CANARY, "annotated": "x"},
    "a validator that quotes it": {"key": CANARY, "text": "fail"},
    "a validator that quotes its repr": {"key": CANARY, "text": "fail with a repr"},
    "inside of a list": {"key": "x", "many": [CANARY, 5]},
    "inside of a dictionary": {"key": "x", "headers": {"a": CANARY, "b": 5}},
    "inside of a model": {"key": "x", "auth": {"kind": "basic", "password": CANARY}},
    "an object in place of a string": {"key": {"value": CANARY}},
    "a list in place of a string": {"key": [CANARY]},
    "where it does not belong": {"key": "x", "texts": CANARY},
    "as bytes": {"key": CANARY.encode(), "text": "fail"},
    "as an object": {"key": SecretStr(CANARY), "text": "fail"},
}


# CMP-28
@pytest.mark.parametrize("config", BAD.values(), ids=BAD)
def test_an_error_shows_no_secret(config: dict[str, Any]) -> None:
    with pytest.raises(ComponentError) as caught:
        load(config)
    text = everything_about(caught.value).replace(f"{config!r}", "")
    assert not is_found_in(text)


# CMP-28
@pytest.mark.parametrize(
    "model",
    [
        {"provider": NAME, "config": CANARY},
        {"provider": [CANARY], "config": {"key": CANARY}},
        {"provider": NAME, "component_version": CANARY, "config": {}},
        {"provider": "os.x", "config": {"key": CANARY}},
        {"provider": NAME, "component_version": 9, "config": {"key": CANARY}},
        {"provider": NAME, "component_version": 0, "config": {"key": CANARY}},
        {"provider": NAME, "component_type": "tool", "config": {"key": CANARY}},
    ],
)
def test_an_error_about_the_description_shows_no_secret(model: dict[str, Any]) -> None:
    with pytest.raises(ComponentError) as caught:
        Client.load_component(model)
    assert not is_found_in(everything_about(caught.value))


# CMP-28
def test_neither_repr_nor_str_nor_log_nor_json_shows_a_secret() -> None:
    config = full(CANARY)
    dumped = Client(config).dump_component()
    read = ComponentModel(provider=NAME, config={"key": CANARY, "headers": {"a": CANARY}})
    stream = io.StringIO()
    logger = logging.Logger("canary")
    logger.addHandler(logging.StreamHandler(stream))
    for each in (Client(config), config, dumped, read):
        for text in (repr(each), str(each), f"{each}"):
            assert not is_found_in(text)
        logger.warning("about %s and %r", each, each)
    assert not is_found_in(stream.getvalue())
    assert not is_found_in(dumped.model_dump_json())
    assert not is_found_in(repr(dumped.model_dump()))


# CMP-28
def test_the_models_own_errors_show_no_values() -> None:
    with pytest.raises(ValueError, match="config") as caught:
        ComponentModel(provider=NAME, config=CANARY)  # type: ignore[arg-type]
    assert not is_found_in(str(caught.value))

"""Which imports become ours, and what is said about the others."""

from __future__ import annotations

import ast
import re
import textwrap

import pytest
from hypothesis import given, strategies as st

from trio_agents._migrate import _advice as advice
from trio_agents._migrate._files import Unusable, lines_of
from trio_agents._migrate._findings import Finding, shortened
from trio_agents._migrate._rewrite import Fragment, Options, Rewriting, rewrite
from trio_agents._migrate._target import Target


def migrated(text: str, target: Target, *, mixed: bool = False) -> Rewriting:
    return rewrite([Fragment(text)], target, Options(mixed=mixed))


def only_finding(text: str, target: Target) -> Finding:
    """Check that *text* is left alone, and give the one thing that is said about it."""
    result = migrated(text, target)
    assert result.texts == (text,)
    (finding,) = result.findings
    return finding


# --- what is replaced


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from autogen_core import AgentId", "from trio_agents.asyncio import AgentId"),
        ("from autogen_core import AgentId as A", "from trio_agents.asyncio import AgentId as A"),
        (
            "from autogen_core.exceptions import CantHandleException",
            "from trio_agents.asyncio.exceptions import CantHandleException",
        ),
        ("from autogen_core.tools.deep import T", "from trio_agents.tools.deep import T"),
        ("from autogen_core import models", "from trio_agents import models"),
        ("from autogen_core import tools as t", "from trio_agents import tools as t"),
        ("from autogen_core import exceptions", "from trio_agents.asyncio import exceptions"),
        ("import autogen_core", "import trio_agents.asyncio as autogen_core"),
        ("import autogen_core as ac", "import trio_agents.asyncio as ac"),
        ("import autogen_core.models as m", "import trio_agents.models as m"),
        ("import autogen_ext", "import trio_agents.ext as autogen_ext"),
        ("import autogen_ext.models.openai as o", "import trio_agents.ext.models.openai as o"),
        ("from autogen_ext.models import openai", "from trio_agents.ext.models import openai"),
        (
            "from autogen_ext.models.openai import OpenAIChatCompletionClient as C",
            "from trio_agents.ext.models.openai import OpenAIChatCompletionClient as C",
        ),
        ("import os, autogen_core, re", "import os, trio_agents.asyncio as autogen_core, re"),
        (
            "import autogen_core\nautogen_core.AgentId('a', 'b')",
            "import trio_agents.asyncio as autogen_core\nautogen_core.AgentId('a', 'b')",
        ),
    ],
)  # fmt: skip
def test_an_import_becomes_ours(before: str, after: str, target: Target) -> None:
    assert migrated(before, target) == Rewriting((after,), ())


@pytest.mark.parametrize(
    "import_of",
    [
        "from   {}\timport AgentId  # why",
        "from {} import (  # why\n    AgentId,   # a\n\n    RoutedAgent\n)",
        "from \\\n    {} \\\n  .exceptions import CantHandleException",
        "from {} . exceptions import CantHandleException",
        "x = 1; from {} import AgentId; y = 2",
        "def f():\n\tfrom {} import AgentId\n\treturn AgentId",
        "if True:\n    from {} import AgentId\nelse:\n    from {} import RoutedAgent",
        "'ü€😀'; from {} import AgentId",
        "\x0cfrom {} import AgentId\x0c",
        "s = '\x0c\u2028\x1e'\nfrom {} import AgentId",
        "s = '\\d'\nfrom {} import AgentId",
        "async def f():\n    with x:\n        from {} import AgentId",
        "import os\r\n\r\nfrom {} import AgentId\r\n",
        "import os\r\rfrom {} import AgentId\r",
        "'''\r\n'''\rfrom {} import AgentId\n\n\n",
    ],
)
def test_everything_around_the_word_stays(import_of: str, target: Target) -> None:
    before = import_of.replace("{}", "autogen_core")
    after = import_of.replace("{}", "trio_agents.asyncio")
    assert migrated(before, target) == Rewriting((after,), ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "import os",
        "from . import autogen_core",
        "from .autogen_core import AgentId",
        "from autogen_core_extras import AgentId",
        "import autogen_corex.models",
        "import my.autogen_core",
        "autogen_core = 1\nprint(autogen_core.Unknown)",
        "# from autogen_core import AgentId",
        "def f():\n    '''Like autogen_core.'''",
        "logger = 'my.autogen_core'",
    ],
)
def test_what_is_not_theirs_is_not_touched(text: str, target: Target) -> None:
    assert migrated(text, target) == Rewriting((text,), ())


def test_imports_for_type_checkers_are_imports(target: Target) -> None:
    text = "if TYPE_CHECKING:\n    from autogen_core import AgentId\n"
    assert "from trio_agents.asyncio import AgentId" in migrated(text, target).texts[0]


# --- what is left to the user


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("from autogen_core import *", advice.star("autogen_core")),
        ("from autogen_core.models import *", advice.star("autogen_core.models")),
        ("import autogen_core.models", advice.without_alias("autogen_core.models")),
        ("from autogen_core.memory import A", advice.no_module("autogen_core.memory")),
        ("import autogen_core.application as a", advice.no_module("autogen_core.application")),
        (
            "from autogen_core import AgentId, models",
            advice.modules_apart("trio_agents.asyncio", ["trio_agents.models"]),
        ),
        ("from autogen_ext.models.openai import *", advice.star("autogen_ext.models.openai")),
        ("import autogen_ext.models", advice.without_alias("autogen_ext.models")),
        ("from autogen_ext.models.azure import A", advice.EXTENSIONS),
        ("from autogen_ext.models._utils import A", advice.EXTENSIONS),
        ("import autogen_ext.teams as t", advice.EXTENSIONS),
        (
            "from autogen_ext.models.openai import OpenAIChatCompletionClient, BedrockInfo",
            advice.no_names("trio_agents.ext.models.openai", ["BedrockInfo"]),
        ),
        (
            "try:\n    import autogen_ext.models.openai as o\nexcept ImportError:\n    o = None",
            advice.guarded("autogen_ext"),
        ),
        ("from autogen_core import Image", advice.no_names("trio_agents.asyncio", ["Image"])),
        (
            "from autogen_core import Image, AgentId, CacheStore",
            advice.no_names("trio_agents.asyncio", ["Image", "CacheStore"]),
        ),
        (
            "from autogen_core.models import UserMessage, Other",
            advice.no_names("trio_agents.models", ["Other"]),
        ),
        ("from autogen_core._agent_id import AgentId, x", advice.private(["AgentId"])),
        ("from autogen_core.tools._base import BaseTool", advice.private([])),
        ("import autogen_core._agent_id as a", advice.private([])),
        ("from autogen_core import _agent_id", advice.private([])),
        ("from ａutogen_core import AgentId", advice.UNUSUAL),  # noqa: RUF001
        ("import ａutogen_core", advice.UNUSUAL),  # noqa: RUF001
    ],
)
def test_an_import_that_stays_says_why(text: str, says: str, target: Target) -> None:
    finding = only_finding(text, target)
    assert finding.advice == says
    assert finding.line == (2 if text.startswith("try") else 1)


def test_advice_names_the_module_as_it_is_here() -> None:
    assert "no trio_agents.memory." in advice.no_module("autogen_core.memory")
    assert "`import trio_agents.models as models`" in advice.without_alias("autogen_core.models")
    assert "`from trio_agents.models import *`" in advice.star("autogen_core.models")
    assert "trio_agents.asyncio always is" in advice.guarded("autogen_core")
    assert "trio_agents.ext can be imported without" in advice.guarded("autogen_ext")


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    from autogen_core import AgentId\nexcept ImportError:\n    AgentId = None",
        "try:\n    import autogen_core\nexcept (OSError, ModuleNotFoundError):\n    pass",
        "try:\n    import autogen_core as a\nexcept builtins.Exception:\n    pass",
        "try:\n    import autogen_core as a\nexcept:\n    pass",
        "try:\n    import autogen_core as a\nexcept* ImportError:\n    pass",
        "try:\n    if x:\n        import autogen_core\nexcept ImportError:\n    pass",
        "try:\n    import other\nexcept ImportError:\n    from autogen_core import AgentId",
        "with contextlib.suppress(ImportError):\n    from autogen_core import AgentId",
    ],
)
def test_an_import_that_may_fail_stays(text: str, target: Target) -> None:
    assert only_finding(text, target).advice == advice.guarded("autogen_core")


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    from autogen_core import AgentId\nexcept OSError:\n    pass",
        "try:\n    from autogen_core import AgentId\nfinally:\n    pass",
        "try: pass\nexcept ImportError: pass\nelse:\n    from autogen_core import AgentId",
        "try:\n    def f():\n        from autogen_core import AgentId\nexcept ImportError: pass",
        "with suppress(OSError):\n    from autogen_core import AgentId",
        "with open(x):\n    from autogen_core import AgentId",
    ],
)
def test_a_try_that_is_not_about_imports_does_not_count(text: str, target: Target) -> None:
    result = migrated(text, target)
    assert "from trio_agents.asyncio import AgentId" in result.texts[0]
    assert result.findings == ()


def test_what_is_used_of_a_module_must_be_there(target: Target) -> None:
    finding = only_finding("import autogen_core as ac\nac.AgentId\nac.Image\nac.Image", target)
    assert finding.advice == advice.no_attributes("trio_agents.asyncio", "ac", ["ac.Image"])
    finding = only_finding("from autogen_core import models as m\nm.Image", target)
    assert finding.advice == advice.no_attributes("trio_agents.models", "m", ["m.Image"])


def test_a_module_that_nobody_imports_is_no_attribute(target: Target) -> None:
    finding = only_finding("import autogen_core\nautogen_core.models.UserMessage", target)
    assert "autogen_core.models" in finding.advice


def test_one_name_is_not_bound_to_two_packages(target: Target) -> None:
    text = "import autogen_core\nimport autogen_core.models\n"
    result = migrated(text, target)
    assert result.texts == (text,)
    first, second = result.findings
    assert first.advice == advice.bound_twice("`import autogen_core.models`", "autogen_core")
    assert second.advice == advice.without_alias("autogen_core.models")


def test_the_code_of_a_long_import_is_one_line(target: Target) -> None:
    finding = only_finding("from autogen_core import (\n    Image,  # why\n    AgentId,\n)", target)
    assert finding.code == "from autogen_core import Image, AgentId"


def test_code_is_cut_where_it_is_too_long() -> None:
    assert shortened(" a\n  b ") == "a b"
    assert shortened("x" * 101) == "x" * 96 + " ..."


def test_one_import_of_a_line_may_stay_and_another_go(target: Target) -> None:
    result = migrated("import autogen_core as a, autogen_core.x as b", target)
    assert result.texts == ("import trio_agents.asyncio as a, autogen_core.x as b",)
    assert [finding.code for finding in result.findings] == [
        "import autogen_core.x as b",
        "still imports autogen_core (line 1)",
    ]


# --- types of both in one file


@pytest.mark.parametrize(
    "other",
    [
        "from autogen_core import AgentId",
        "from trio_agents import asyncio",
        "import trio_agents.asyncio",
        "from trio_agents.models import UserMessage",
        "from trio_agents.ext.models.openai import OpenAIChatCompletionClient",
        "from trio_agents import AgentId",
        "from autogen_ext.models.openai import OpenAIChatCompletionClient",
    ],
)
def test_a_file_that_imports_both_is_listed(other: str, target: Target) -> None:
    result = migrated(f"{other}\nfrom autogen_core import *\nimport autogen_core.x\n", target)
    mixing = result.findings[-1]
    assert mixing == Finding(2, "still imports autogen_core (line 2, line 3)", advice.MIXED)


def test_theirs_beside_the_runtime_for_agentchat_is_no_mixture(target: Target) -> None:
    text = "from trio_agents.interop.autogen import AutoGenRuntime\nfrom autogen_core import *"
    assert only_finding(text, target).advice == advice.star("autogen_core")
    text = "from trio_agents.interop import autogen\nfrom autogen_core import *"
    assert only_finding(text, target).advice == advice.star("autogen_core")


AGENTCHAT = "from autogen_agentchat.agents import AssistantAgent\n"
EXTENSION = "import os, autogen_ext.models.azure as azure\n"
CLIENT = "from autogen_ext.models.openai import OpenAIChatCompletionClient\n"
OUR_CLIENT = "from trio_agents.ext.models.openai import OpenAIChatCompletionClient\n"
CORE = "from autogen_core import AgentId\n"
OUR_CORE = "from trio_agents.asyncio import AgentId\n"


def test_agentchat_keeps_what_is_imported_beside_it(target: Target) -> None:
    text = f"{AGENTCHAT}{EXTENSION}from autogen_core import AgentId\n"
    result = migrated(text, target)
    assert result.texts == (text,)
    assert [(finding.code, finding.advice) for finding in result.findings] == [
        ("from autogen_agentchat.agents import AssistantAgent", advice.AGENTCHAT),
        ("import autogen_ext.models.azure as azure", advice.EXTENSIONS),
        ("from autogen_core import AgentId", advice.BESIDE),
    ]


def test_an_extension_that_is_here_moves_with_the_core(target: Target) -> None:
    assert migrated(f"{CLIENT}{CORE}", target) == Rewriting((f"{OUR_CLIENT}{OUR_CORE}",), ())


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (AGENTCHAT, advice.AGENTCHAT),
        (EXTENSION, advice.EXTENSIONS),
        (
            "from autogen_ext.models.openai import BedrockInfo\n",
            advice.no_names("trio_agents.ext.models.openai", ["BedrockInfo"]),
        ),
        ("import autogen_ext.models.openai\n", advice.without_alias("autogen_ext.models.openai")),
    ],
)
def test_what_is_here_stays_beside_what_is_not(other: str, says: str, target: Target) -> None:
    text = f"{other}{CLIENT}{CORE}"
    result = migrated(text, target)
    assert result.texts == (text,)
    assert [finding.advice for finding in result.findings] == [says, advice.BESIDE, advice.BESIDE]
    result = migrated(text, target, mixed=True)
    assert result.texts == (f"{other}{OUR_CLIENT}{OUR_CORE}",)
    assert [finding.advice for finding in result.findings] == [says]


def test_with_mixed_it_does_not(target: Target) -> None:
    text = f"{AGENTCHAT}from autogen_core import AgentId\n"
    result = migrated(text, target, mixed=True)
    assert result.texts == (f"{AGENTCHAT}from trio_agents.asyncio import AgentId\n",)
    assert [finding.advice for finding in result.findings] == [advice.AGENTCHAT]


# --- strings

LIST = "autogen_core.memory.ListMemory"
BEDROCK = "autogen_ext.models.anthropic.AnthropicBedrockChatCompletionClient"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("importlib.import_module('autogen_core.models')", advice.dynamic("trio_agents.models")),
        ("importlib.import_module('autogen_core.x')", advice.dynamic(None)),
        ("importlib.import_module(f'autogen_core.{name}')", advice.dynamic(None)),
        ("x = __import__('autogen_core')", advice.dynamic("trio_agents.asyncio")),
        ("pytest.importorskip('autogen_core')", advice.dynamic("trio_agents.asyncio")),
        ("pytest.importorskip('autogen_ext')", advice.dynamic("trio_agents.ext")),
        ("@mock.patch('autogen_core.AgentId')\ndef f(): ...", advice.PATCH),
        ("mocker.patch.object('autogen_core.AgentId', 'x')", advice.PATCH),
        ("monkeypatch.setattr('autogen_core.AgentId', 1)", advice.PATCH),
        ("logging.getLogger('autogen_core.events')", advice.LOGGER),
        (f"x = {{'a': 1, 'provider': '{LIST}'}}", advice.provider(LIST, None)),
        (f"ComponentModel(provider='{LIST}', config={{}})", advice.provider(LIST, None)),
        (f"component_provider_override = '{LIST}'", advice.provider(LIST, None)),
        (f"class A:\n    provider: str = '{LIST}'", advice.provider(LIST, None)),
        (f"provider = '{BEDROCK}'", advice.provider(BEDROCK, None)),
        (
            "provider = 'autogen_core.models.UserMessage'",
            advice.provider("autogen_core.models.UserMessage", "trio_agents.models.UserMessage"),
        ),
        ("x = 'autogen_core.models.X'", advice.string(None)),
        ("x = 'autogen_core.AgentId'", advice.string("trio_agents.asyncio.AgentId")),
        ("x = f'{y} autogen_core'", advice.string(None)),
        ("f('autogen_core')", advice.string("trio_agents.asyncio")),
        ("x = {'autogen_core': 1}", advice.string("trio_agents.asyncio")),
        ("x = {**y, 'z': 'autogen_core.logging'}", advice.string(None)),
        ("x = 'see autogen_ext.models'", advice.string(None)),
        ("def f():\n    '''>>> from autogen_core import AgentId'''", advice.EXAMPLE),
        ("def f():\n    '''>>> import autogen_ext.models'''", advice.EXAMPLE),
        ("setup(install_requires=['autogen-core>=0.7'])", advice.CORE_DEPENDENCY),
        ("setup(install_requires=['autogen-ext[openai]'])", advice.EXTENSIONS_DEPENDENCY),
        ("setup(install_requires=['autogen-agentchat'])", advice.AGENTCHAT_DEPENDENCY),
    ],
)
def test_a_string_is_listed_with_what_it_is_for(text: str, says: str, target: Target) -> None:
    assert only_finding(text, target).advice == says


def test_a_provider_says_whether_it_is_here() -> None:
    assert "another name of trio_agents.memory.ListMemory" in advice.provider(LIST, None)
    assert "not here: use AnthropicChatCompletionClient" in advice.provider(BEDROCK, None)
    assert "name it trio_agents.a.B;" in advice.provider("autogen_core.a.B", "trio_agents.a.B")
    assert "name it as it is there;" in advice.provider("autogen_core.a.B", None)


def test_a_long_string_is_listed_at_the_line_that_names_it(target: Target) -> None:
    text = textwrap.dedent(
        """\
        code = '''
        import os
        import autogen_core
        '''
        """
    )
    assert only_finding(text, target) == Finding(3, "import autogen_core", advice.string(None))


def test_two_strings_of_a_line_are_listed_once(target: Target) -> None:
    finding = only_finding("x = ['autogen_core.a', 'autogen_core.b']", target)
    assert finding.code == "x = ['autogen_core.a', 'autogen_core.b']"


# --- what is not Python


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1\nfrom autogen_core import\n", "it is not valid Python: line 2: "),
        ("x = '\0'", "it is not valid Python: "),
        ("(" * 5000 + ")" * 5000, "it is "),
        ("-" * 100_000 + "1", "it is nested too deeply to be parsed"),
    ],
)
def test_what_cannot_be_parsed_says_why(text: str, why: str) -> None:
    with pytest.raises(Unusable, match=re.escape(why)):
        Fragment(text)


# --- laws

STATEMENTS = [
    "from autogen_core import AgentId",
    "from autogen_core import (\n    AgentId,  # who\n    RoutedAgent,\n)",
    "from \\\n  autogen_core . exceptions import CantHandleException",
    "import autogen_core",
    "import os, autogen_core as core  # ü",
    "import autogen_core.models as models; x = 'ü'",
    "from autogen_core import models",
    "from autogen_ext.models.openai import OpenAIChatCompletionClient",
    "import autogen_ext.models.azure as azure",
    "import autogen_core.models",
    "from autogen_core import Image",
    "from autogen_core import *",
    "from trio_agents.asyncio import AgentId",
    "from autogen_agentchat import teams",
    "print(autogen_core.AgentId)",
    "name = 'autogen_core.AgentId'",
    "def f():\n    from autogen_core import AgentId\n    return AgentId",
    "try:\n    import autogen_core\nexcept ImportError:\n    pass",
    "text = '''\x0c\n# from autogen_core import AgentId\n'''",
    "# autogen_core: ü",
    "",
]


@st.composite
def programs(draw: st.DrawFn) -> str:
    lines = draw(st.lists(st.sampled_from(STATEMENTS), max_size=8))
    newline = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    end = draw(st.sampled_from(["", "\n", "\n\n# end"]))
    return ("\n".join(lines) + end).replace("\n", newline)


OURS = re.compile(r"trio_agents\.asyncio|trio_agents(?=\.models\b|(?: +import models\b))")


def in_theirs(text: str) -> str:
    """Give *text* with the names of their packages for ours."""
    text = text.replace("trio_agents.asyncio as autogen_core", "autogen_core")
    return OURS.sub("autogen_core", text.replace("trio_agents.ext", "autogen_ext"))


@given(text=programs(), mixed=st.booleans())
def test_a_second_run_changes_nothing_and_says_the_same(
    text: str, mixed: bool, target: Target
) -> None:
    first = migrated(text, target, mixed=mixed)
    assert migrated(first.texts[0], target, mixed=mixed) == first


@given(text=programs(), mixed=st.booleans())
def test_only_the_word_differs(text: str, mixed: bool, target: Target) -> None:
    new = migrated(text, target, mixed=mixed).texts[0]
    old_lines, new_lines = lines_of(text), lines_of(new)
    assert len(old_lines) == len(new_lines)
    for old, now in zip(old_lines, new_lines, strict=True):
        if old != now:
            assert in_theirs(now) == in_theirs(old)


@given(text=programs(), mixed=st.booleans())
def test_the_program_means_the_same_but_for_the_module(
    text: str, mixed: bool, target: Target
) -> None:
    new = migrated(text, target, mixed=mixed).texts[0]
    assert ast.dump(Fragment(in_theirs(new)).tree) == ast.dump(Fragment(in_theirs(text)).tree)


@given(text=programs())
def test_every_import_of_theirs_goes_or_is_listed(text: str, target: Target) -> None:
    result = migrated(text, target)
    left = {
        line
        for node in ast.walk(Fragment(result.texts[0]).tree)
        for line in (
            [alias.lineno for alias in node.names if alias.name.startswith("autogen_core")]
            if isinstance(node, ast.Import)
            else [node.lineno]
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("autogen_core")
            else []
        )
    }
    assert left <= {finding.line for finding in result.findings}


@given(st.text(alphabet="a\r\n\x0c\x0b\x1c\u2028\x85 "))
def test_lines_are_all_of_the_text(text: str) -> None:
    lines = lines_of(text)
    assert "".join(lines) == text
    assert all(re.fullmatch(r"[^\r\n]*(\r\n|\r|\n)", line) for line in lines[:-1])


class Nothing:
    """Of ours, there is nothing at all."""

    def has_module(self, module: str, /) -> bool:
        return False

    def has_name(self, module: str, name: str, /) -> bool:
        return False


def test_without_a_package_of_ours_everything_stays() -> None:
    finding = only_finding("from autogen_core import AgentId", Nothing())
    assert finding.advice == advice.no_package()

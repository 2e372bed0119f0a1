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
from trio_agents._migrate._rewrite import Fragment, Rewriting, rewrite
from trio_agents._migrate._target import InstalledTarget, Target


def migrated(text: str, target: Target, *, mixed: bool = False) -> Rewriting:
    return rewrite([Fragment(text)], target, mixed=mixed)


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
        ("from autogen_core.tools.deep import T", "from trio_agents.asyncio.tools.deep import T"),
        ("from autogen_core import models", "from trio_agents.asyncio import models"),
        ("import autogen_core", "import trio_agents.asyncio as autogen_core"),
        ("import autogen_core as ac", "import trio_agents.asyncio as ac"),
        ("import autogen_core.models as m", "import trio_agents.asyncio.models as m"),
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
        "if True:\n    from {} import AgentId\nelse:\n    from {}.models import UserMessage",
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
        ("from autogen_core import *", advice.STAR),
        ("import autogen_core.models", advice.without_alias("trio_agents.asyncio.models")),
        ("from autogen_core.code_executor import A", advice.no_module("code_executor")),
        ("import autogen_core.application as a", advice.no_module("application")),
        ("from autogen_core import Image", advice.no_names("trio_agents.asyncio", ["Image"])),
        (
            "from autogen_core import Image, AgentId, CacheStore",
            advice.no_names("trio_agents.asyncio", ["Image", "CacheStore"]),
        ),
        (
            "from autogen_core.models import UserMessage, Other",
            advice.no_names("trio_agents.asyncio.models", ["Other"]),
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
    assert finding.line == 1


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
    assert only_finding(text, target).advice == advice.GUARDED


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
    assert finding.advice == advice.no_attributes("trio_agents.asyncio.models", "m", ["m.Image"])


def test_a_module_that_nobody_imports_is_no_attribute(target: Target) -> None:
    finding = only_finding("import autogen_core\nautogen_core.models.UserMessage", target)
    assert "autogen_core.models" in finding.advice


def test_one_name_is_not_bound_to_two_packages(target: Target) -> None:
    text = "import autogen_core\nimport autogen_core.models\n"
    result = migrated(text, target)
    assert result.texts == (text,)
    first, second = result.findings
    assert first.advice == advice.bound_twice("`import autogen_core.models`")
    assert second.advice == advice.without_alias("trio_agents.asyncio.models")


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
        "from trio_agents.asyncio.models import UserMessage",
    ],
)
def test_a_file_that_imports_both_is_listed(other: str, target: Target) -> None:
    result = migrated(f"{other}\nfrom autogen_core import *\nimport autogen_core.x\n", target)
    mixing = result.findings[-1]
    assert mixing == Finding(2, "still imports autogen_core (line 2, line 3)", advice.MIXED)


def test_theirs_beside_the_runtime_for_agentchat_is_no_mixture(target: Target) -> None:
    text = "from trio_agents.interop.autogen import AutoGenRuntime\nfrom autogen_core import *"
    assert only_finding(text, target).advice == advice.STAR


AGENTCHAT = "from autogen_agentchat.agents import AssistantAgent\n"
EXTENSION = "import os, autogen_ext.models.openai as openai\n"


def test_agentchat_keeps_what_is_imported_beside_it(target: Target) -> None:
    text = f"{AGENTCHAT}{EXTENSION}from autogen_core import AgentId\n"
    result = migrated(text, target)
    assert result.texts == (text,)
    assert [(finding.code, finding.advice) for finding in result.findings] == [
        ("from autogen_agentchat.agents import AssistantAgent", advice.AGENTCHAT),
        ("import autogen_ext.models.openai as openai", advice.EXTENSIONS),
        ("from autogen_core import AgentId", advice.BESIDE),
    ]


def test_with_mixed_it_does_not(target: Target) -> None:
    text = f"{AGENTCHAT}from autogen_core import AgentId\n"
    result = migrated(text, target, mixed=True)
    assert result.texts == (f"{AGENTCHAT}from trio_agents.asyncio import AgentId\n",)
    assert [finding.advice for finding in result.findings] == [advice.AGENTCHAT]


# --- strings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("importlib.import_module('autogen_core.models')", advice.DYNAMIC),
        ("importlib.import_module(f'autogen_core.{name}')", advice.DYNAMIC),
        ("x = __import__('autogen_core')", advice.DYNAMIC),
        ("pytest.importorskip('autogen_core')", advice.DYNAMIC),
        ("@mock.patch('autogen_core.AgentId')\ndef f(): ...", advice.PATCH),
        ("mocker.patch.object('autogen_core.AgentId', 'x')", advice.PATCH),
        ("monkeypatch.setattr('autogen_core.AgentId', 1)", advice.PATCH),
        ("logging.getLogger('autogen_core.events')", advice.LOGGER),
        ("x = {'a': 1, 'provider': 'autogen_core.models.X'}", advice.PROVIDER),
        ("ComponentModel(provider='autogen_core.models.X', config={})", advice.PROVIDER),
        ("component_provider_override = 'autogen_core.models.X'", advice.PROVIDER),
        ("class A:\n    provider: str = 'autogen_core.models.X'", advice.PROVIDER),
        ("x = 'autogen_core.models.X'", advice.STRING),
        ("x = f'{y} autogen_core'", advice.STRING),
        ("f('autogen_core')", advice.STRING),
        ("x = {'autogen_core': 1}", advice.STRING),
        ("x = {**y, 'z': 'autogen_core'}", advice.STRING),
        ("def f():\n    '''>>> from autogen_core import AgentId'''", advice.EXAMPLE),
        ("setup(install_requires=['autogen-core>=0.7'])", advice.CORE_DEPENDENCY),
        ("setup(install_requires=['autogen-ext[openai]'])", advice.OTHER_DEPENDENCY),
    ],
)
def test_a_string_is_listed_with_what_it_is_for(text: str, says: str, target: Target) -> None:
    assert only_finding(text, target).advice == says


def test_a_long_string_is_listed_at_the_line_that_names_it(target: Target) -> None:
    text = textwrap.dedent(
        """\
        code = '''
        import os
        import autogen_core
        '''
        """
    )
    assert only_finding(text, target) == Finding(3, "import autogen_core", advice.STRING)


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


def normalised(text: str) -> str:
    """Dump what *text* means, with one name for both packages, and no places."""
    tree = Fragment(text).tree
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            node.module = node.module.replace("trio_agents.asyncio", "autogen_core")
        elif isinstance(node, ast.alias):
            node.name = node.name.replace("trio_agents.asyncio", "autogen_core")
            if node.name == "autogen_core":
                node.asname = node.asname or "autogen_core"
    return ast.dump(tree)


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
            back = now.replace("trio_agents.asyncio as autogen_core", "autogen_core")
            assert back.replace("trio_agents.asyncio", "autogen_core") == old


@given(text=programs(), mixed=st.booleans())
def test_the_program_means_the_same_but_for_the_module(
    text: str, mixed: bool, target: Target
) -> None:
    assert normalised(migrated(text, target, mixed=mixed).texts[0]) == normalised(text)


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


def test_without_a_package_of_ours_everything_stays() -> None:
    nothing = InstalledTarget("there_is_no_such_package")
    finding = only_finding("from autogen_core import AgentId", nothing)
    assert finding.advice == advice.no_package()

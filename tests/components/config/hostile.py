"""Loads hundreds of hostile configurations, and prints what the interpreter did meanwhile.

A program of its own, because an audit hook stays for good, and since everything that loading needs
has to be imported before: what is imported afterwards, the data has chosen. The hook is a detector
here. It would be no defence.
"""

# ruff: noqa: RUF001 (that is the point)

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import trio_agents
from trio_agents.exceptions import ComponentError, ComponentNotAllowed
from trio_agents.models import ChatCompletionClient
from trio_agents.tools import Workbench

GADGETS = """
os.system os.popen os.execv os.spawnl os.remove os.fork posix.system nt.system subprocess.Popen
subprocess.run subprocess.call subprocess.check_output pty.spawn builtins.eval builtins.exec
builtins.compile builtins.open builtins.__import__ builtins.input builtins.getattr builtins.type
builtins.object builtins.print builtins.breakpoint importlib.import_module importlib.reload
importlib.util.spec_from_file_location pickle.loads pickle.Unpickler marshal.loads shelve.open
dill.loads cloudpickle.loads yaml.load runpy.run_path runpy.run_module code.interact
code.InteractiveConsole codeop.compile_command timeit.timeit cProfile.run pdb.run bdb.Bdb
trace.Trace profile.run ctypes.CDLL ctypes.cdll.LoadLibrary ctypes.pythonapi cffi.FFI
socket.socket socket.create_connection ssl.SSLContext http.server.HTTPServer ftplib.FTP
urllib.request.urlopen smtplib.SMTP telnetlib.Telnet webbrowser.open antigravity.fly antigravity.x
this.s turtle.Turtle tkinter.Tk idlelib.idle.main test.regrtest.main lib2to3.main shutil.rmtree
shutil.copy tempfile.NamedTemporaryFile pathlib.Path pathlib.Path.unlink
asyncio.create_subprocess_shell asyncio.run trio.run_process anyio.run_process
multiprocessing.Process concurrent.futures.ProcessPoolExecutor threading.Thread _thread.start_new
operator.attrgetter operator.methodcaller functools.partial functools.reduce types.FunctionType
types.CodeType types.ModuleType inspect.getsource linecache.getline tokenize.open
logging.config.dictConfig logging.FileHandler logging.handlers.SocketHandler pip._internal.main
setuptools.setup distutils.core.setup ensurepip.bootstrap venv.create sqlite3.connect dbm.open
zipfile.ZipFile tarfile.open zipimport.zipimporter sys.exit sys.settrace sys.addaudithook
gc.get_objects atexit.register signal.signal site.main sitecustomize.x usercustomize.x __main__.x
__main__.__builtins__ conftest.x pydantic.BaseModel pydantic.ImportString pydantic.Json
PIL.Image.open httpx.Client trio_agents.asyncio.open_runtime trio_agents.testing.pytest_plugin.x
trio_agents._cli.main trio_agents.testing.nightly.__main__.main trio_agents._demo._app.App
trio_agents.open_runtime trio_agents._components._resolve.resolve trio_agents.ComponentPolicy
trio_agents.Image trio_agents.testing._disk.RecordingDisk
trio_agents.interop.autogen.AutoGenRuntime trio_agents.load_state_file
trio_agents.SingleThreadedAgentRuntime trio_agents._version.x
trio_agents.ext.models.openai.openai.OpenAI trio_agents.InMemoryStore.__class__
trio_agents.InMemoryStore.load_component trio_agents.InMemoryStore.__init__.__globals__
autogen_core.tools.FunctionTool.__class__ autogen_core.SingleThreadedAgentRuntime autogen_core.x
autogen_ext.code_executors.azure.ACADynamicSessionsCodeExecutor
autogen_agentchat.agents.CodeExecutorAgent test_evil.Tool test_agents.Tool tests.Tool test_.Tool
my_app_test_.test_Tool test.support.run
""".split()  # noqa: SIM905 (it is read, not computed with)

WRITTEN_STRANGELY = [
    "",
    " ",
    ".",
    "..",
    "os",
    "os.",
    ".os.system",
    "..os.system",
    "os..system",
    "os.system ",
    " os.system",
    "os.system\n",
    "os.system\x00",
    "os:system",
    "os/system",
    "os\\system",
    "../os.system",
    "/etc/passwd",
    "C:\\x.dll",
    "file:///etc/passwd",
    "http://127.0.0.1/x.py",
    "os.system('true')",
    "__import__('os').system",
    "(lambda: 0)",
    "{0.__class__}",
    "%(x)s",
    "$(true)",
    "`true`",
    "trio_agents.InMemoryStorе",  # the last letter is Cyrillic
    "trio_agents.InMemoryStore\u200b",
    "\u202etrio_agents.InMemoryStore",
    "trio_agents\uff0eInMemoryStore",
    "ｔrio_agents.InMemoryStore",
    "trio_agentѕ.InMemoryStore",
    "ⅰmportlib.ⅰmport_module",
    "оs.system",
    "o\u0073\u0301.system",
    "𝐨𝐬.system",
    "TRIO_AGENTS.INMEMORYSTORE",
    "trio_agents.inmemorystore",
    "trio_agents.InMemoryStore.",
    "trio_agents..InMemoryStore",
    "trio_agents.InMemoryStore.x",
    "InMemoryStore",
    "openai_chat_completion_client ",
    "\ud800.x",
    "x" * 10_000_000,
    "a." * 5_000_000 + "a",
    "trio_agents.InMemoryStore" + " " * 10_000_000,
    "_._",
    "__.__",
    "__class__.__mro__",
    "__builtins__.eval",
    "0.1",
    "None",
    "True.x",
    "nan",
]

NO_STRINGS: list[Any] = [
    None,
    0,
    1.5,
    True,
    [],
    ["os.system"],
    ("os", "system"),
    {},
    {"provider": "os.system"},
    b"os.system",
    bytearray(b"os.system"),
    object(),
    object,
    eval,
    print,
    ComponentError,
    trio_agents.InMemoryStore,
    ...,
    1 << 40000,
]

NO_DESCRIPTIONS: list[Any] = [
    None,
    "os.system",
    b"{}",
    [],
    [("provider", "os.system"), ("config", {})],
    0,
    object(),
    {},
    {"config": {}},
    {"provider": "os.system"},
    {"provider": "os.system", "config": None},
    {"provider": "os.system", "config": []},
    {"provider": "os.system", "config": "__import__('os')"},
    {"provider": "trio_agents.InMemoryStore", "config": {}, "version": "x"},
    {"provider": "trio_agents.InMemoryStore", "config": {}, "version": 10**6},
    {"provider": "trio_agents.InMemoryStore", "config": {}, "version": -1},
    {"provider": "trio_agents.InMemoryStore", "config": {}, "version": 0},
    {"provider": "trio_agents.InMemoryStore", "config": {}, "component_version": 99},
    {"provider": "trio_agents.InMemoryStore", "config": {}, "component_version": 0},
    {"provider": "trio_agents.InMemoryStore", "config": {}, "component_type": "model"},
    {"provider": "trio_agents.InMemoryStore", "config": {}, "component_type": ["x"]},
    {"provider": "trio_agents.InMemoryStore", "config": {}, "label": {"x": 1}},
    {1: 2},
]


def hostile_configurations() -> Iterator[Any]:
    yield from NO_DESCRIPTIONS
    for provider in [*GADGETS, *WRITTEN_STRANGELY, *NO_STRINGS]:
        yield {"provider": provider, "config": {}}
    for provider in GADGETS[::3]:
        # Dressed up as what could be loaded.
        yield {"provider": provider, "component_type": "model", "version": 1, "config": {}}
        yield {"provider": f"trio_agents.{provider}", "config": {"model": "x"}}
        yield {"provider": f"autogen_core.{provider}", "config": {"cmd": "true"}}
    chance = random.Random(20261130)
    words = [*"._ -:/\\\x00éа", "os", "system", "trio_agents", "autogen_ext", "InMemoryStore"]
    for _ in range(2000):
        provider = "".join(chance.choices([*words, "."], k=chance.randrange(1, 8)))
        if provider not in {"trio_agents.InMemoryStore", "autogen_core.InMemoryStore"}:
            yield {"provider": provider, "config": {"x": provider}}


def refusal(configuration: Any, wanted: type[Any]) -> str:
    try:
        wanted.load_component(configuration)
    except ComponentNotAllowed:
        return "not allowed"
    except ComponentError:
        return "not valid"
    return "LOADED"


def main() -> None:
    wanted = [trio_agents.ComponentLoader, ChatCompletionClient, Workbench]
    for example in ({"provider": "a.b", "config": {}}, {"config": []}):
        for cls in wanted:
            refusal(example, cls)  # what it needs is imported from here on
    trio_agents.ComponentLoader.load_component(
        {"provider": "trio_agents.InMemoryStore", "config": {}}
    )
    configurations = list(hostile_configurations())
    modules = set(sys.modules)
    events: Counter[str] = Counter()
    is_watching = False
    watched = ("import", "exec", "compile", "open", "marshal.", "pickle.", "os.", "subprocess.",
               "socket.", "ctypes.", "code.", "sys.")  # fmt: skip

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if is_watching and event.startswith(watched) and event != "sys._getframe":
            events[f"{event} {arguments!r:.100}"] += 1

    sys.addaudithook(watch)
    outcomes: Counter[str] = Counter()
    loaded: list[str] = []
    is_watching = True
    for index, configuration in enumerate(configurations):
        outcome = refusal(configuration, wanted[index % len(wanted)])
        outcomes[outcome] += 1
        if outcome == "LOADED":
            loaded.append(repr(configuration)[:80])
    during = dict(events)
    with suppress(ImportError):
        __import__("no_module_has_this_name")
    is_watching = False
    print(
        json.dumps(
            {
                "configurations": len(configurations),
                "outcomes": outcomes,
                "loaded": loaded,
                "events": during,
                "modules": sorted(set(sys.modules) - modules),
                "watch_works": any("no_module_has_this_name" in event for event in events),
            }
        )
    )


if __name__ == "__main__":
    main()

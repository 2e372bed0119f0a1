"""How much of the core's code the tests would miss: one small change after the other.

``python tests/trial/mutate.py --count 200 --seed 0`` changes one place of `_core` in a copy of the
package each time: a condition turned around, a comparison shifted, a call left out. First the
random programs of the long run look for it, then the tests of `tests/core`. A change that neither
notices has survived, and is printed. Those that mean the same as before are among the survivors:
nobody can tell these apart by machine.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
CORE: Final = ROOT / "trio_agents" / "_core"

SHIFTED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


def places(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Give the nodes that can be changed, and how."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.While | ast.IfExp):
            if ast.unparse(node.test) == "TYPE_CHECKING":
                continue
            yield node, "turn the condition around"
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in SHIFTED:
            yield node, "shift the comparison"
        elif isinstance(node, ast.BoolOp):
            yield node, "and <-> or"
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
            yield node, "leave the call out"
        elif isinstance(node, ast.AugAssign):
            yield node, "leave the assignment out"
        elif isinstance(node, ast.Return) and node.value is not None:
            if ast.unparse(node.value) != "None":
                yield node, "return None"
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield node, "True <-> False"


def change(node: ast.AST) -> None:
    """Change a node in its place."""
    match node:
        case ast.If() | ast.While() | ast.IfExp():
            node.test = ast.UnaryOp(ast.Not(), node.test)
        case ast.Compare():
            node.ops[0] = SHIFTED[type(node.ops[0])]()
        case ast.BoolOp():
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case ast.Expr():
            node.value = ast.Constant(None)
        case ast.AugAssign():
            node.value = ast.Constant(0)
        case ast.Return():
            node.value = ast.Constant(None)
        case ast.Constant():
            node.value = not node.value
        case _:
            raise AssertionError(node)


def run(command: list[str], package: Path, seconds: float) -> bool:
    """Run something on a copy of the package; return whether it found nothing."""
    environment = {**os.environ, "PYTHONPATH": str(package.parent), "HYPOTHESIS_PROFILE": "ci"}
    try:
        done = subprocess.run(
            command,
            cwd=package.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False  # it hangs, and the tests would
    if command[1].endswith("find.py"):
        found = done.returncode or json.loads(done.stdout.splitlines()[-1])["found"]
        return not found
    return done.returncode == 0


def survives(package: Path, patience: float) -> bool:
    """Whether nothing notices a change; what takes longer than *patience* seconds hangs."""
    find = [sys.executable, str(ROOT / "tests/trial/find.py"), "random-programs", "40", "20"]
    tests = ["-p", "no:cacheprovider", "-q", "-x", "--tb=no", "-W", "ignore"]
    core = [str(ROOT / "tests/core"), "--deselect", "tests/core/test_interrupt.py"]
    pytest = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), *tests, *core]
    return run(find, package, patience) and run(pytest, package, patience)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="how many changes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    candidates: list[tuple[Path, int, int, str]] = []
    for path in sorted(CORE.glob("*.py")):
        if path.name in ("_audit.py", "_witness.py", "_loop.py"):
            continue  # the kit's own, and a protocol
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = enumerate(places(tree))
        candidates += [(path, index, node.lineno, how) for index, (node, how) in found]
    chosen = random.Random(options.seed).sample(candidates, min(options.count, len(candidates)))
    began = time.monotonic()
    if not survives_with(chosen[0][0], None, patience=3600):
        raise SystemExit("the tests fail without a change: nothing could be learned from them")
    patience = 4 * (time.monotonic() - began)
    end = time.monotonic() + 60 * options.minutes
    killed: list[bool] = []

    def attempt(candidate: tuple[Path, int, int, str]) -> None:
        if time.monotonic() > end:
            return
        path, index, line, how = candidate
        survived = survives_with(path, index, patience)
        killed.append(not survived)
        if survived:
            print(f"survived: {path.name}:{line}: {how}", flush=True)

    with ThreadPoolExecutor(options.processes) as pool:
        list(pool.map(attempt, chosen))
    print(
        f"{sum(killed)} of {len(killed)} changes were noticed, of {len(candidates)} possible ones"
    )


def survives_with(path: Path, index: int | None, patience: float) -> bool:
    """Make one change in a copy of the package, or none; return whether nothing notices."""
    with tempfile.TemporaryDirectory() as directory:
        package = Path(directory) / "trio_agents"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "trio_agents", package, ignore=ignored)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if index is not None:
            node, _ = list(places(tree))[index]
            change(node)
        source = ast.unparse(ast.fix_missing_locations(tree))
        (package / "_core" / path.name).write_text(source, encoding="utf-8")
        return survives(package, patience)


if __name__ == "__main__":
    main()

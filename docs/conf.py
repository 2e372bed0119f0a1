# Sphinx reads this file. `sphinx-build -W docs docs/_build` makes the site, offline too: no
# inventory of another project is fetched.
from __future__ import annotations

from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

from pygments.lexers.special import TextLexer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "trio_agents"
author = "The trio_agents authors"
copyright = "2026, The trio_agents authors"
release = version_of("trio-agents")
version = ".".join(release.split(".")[:2])

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib_trio",  # marks what has to be awaited
]
exclude_patterns = ["_build"]
default_role = "py:obj"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # or each attribute called "type" would be a target for the builtin

html_theme = "furo"
html_title = f"trio_agents {release}"


def setup(app: Sphinx) -> None:
    # Diagrams are drawn where the files are read on a forge. Here they are shown as the text that
    # they are: drawing them would take a script from another site. Beside them stand SVG pictures.
    app.add_lexer("mermaid", TextLexer)

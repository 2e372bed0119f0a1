# Sphinx reads this file. `sphinx-build -W docs docs/_build` makes the site, offline too: no
# inventory of another project is fetched.
from __future__ import annotations

from importlib.metadata import version as version_of

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

html_theme = "furo"
html_title = f"trio_agents {release}"

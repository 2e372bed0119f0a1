# tox loads this file because it stands beside its configuration.
#
# pyenv, mise and asdf keep several interpreters, of which tox sees only those that are switched on
# for this directory; the rest would be skipped as missing. (Those of uv it finds by itself.)
from __future__ import annotations

import os
from pathlib import Path

from tox.config.sets import ConfigSet
from tox.plugin import impl
from tox.session.state import State

STORES = (
    Path(os.environ.get("PYENV_ROOT", "~/.pyenv"), "versions"),
    Path(os.environ.get("MISE_DATA_DIR", "~/.local/share/mise"), "installs", "python"),
    Path(os.environ.get("ASDF_DATA_DIR", "~/.asdf"), "installs", "python"),
)


@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:
    """Offer every stored interpreter to tox's discovery, after those the caller named."""
    for store in STORES:
        found = sorted(store.expanduser().glob("3.*/bin/python3"))
        state.conf.options.discover.extend(str(python) for python in found)

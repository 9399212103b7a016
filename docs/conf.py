"""The site: the pages that index.md lists, in its order. `make docs` fails on a warning, such as a link to nowhere."""

from __future__ import annotations

import re
from typing import Any

project = "osg-dl-kit"
extensions = ["myst_parser"]
myst_heading_anchors = 3
nitpicky = True
html_theme = "furo"
html_title = "osg-dl-kit"
html_static_path = ["_static"]
html_css_files = ["print.css"]
html_show_copyright = False
html_copy_source = False
highlight_language = "text"


def _navigation(_app: Any, page: str, source: list[str]) -> None:
    """Makes the navigation of what a reader sees: index.md's lists, a section each, and the pages of the rules."""
    if page == "index":
        for title, body in re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", source[0], re.MULTILINE):
            if pages := re.findall(r"^- \[(.+?)\]\(([\w-]+)\.md\)", body, re.MULTILINE):
                source[0] += _tree(f":caption: {title}", *(f"{name.replace('`', '')} <{page}>" for name, page in pages))
    if page == "rules":
        source[0] += _tree(":glob:", "rules/*")


def _tree(option: str, *pages: str) -> str:
    return "\n".join(["", "```{toctree}", ":hidden:", option, "", *pages, "```", ""])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _navigation)

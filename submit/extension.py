"""What every template's Jinja extension is: the kit's functions, and the text that templates share."""

from __future__ import annotations

from jinja2 import Environment, FileSystemLoader, Template
from jinja2.ext import Extension

from submit import rendering


class Kit(Extension):  # type: ignore[misc]
    """`kit.NAME` in a template is `submit.rendering.NAME`; `{% include shared("NAME") %}` takes a file of
    templates/shared; `| literal` makes a Python literal, so that no answer becomes code.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals["kit"] = rendering
        environment.globals["shared"] = self._shared
        environment.filters["literal"] = ascii

    def _shared(self, name: str) -> Template:
        # cookiecutter puts its own loader, which sees the template's folder alone, into the environment after this
        loader = FileSystemLoader(rendering.templates_root() / "templates" / "shared")
        return self.environment.overlay(loader=loader).get_template(name)

"""Templates to answers. Every word is escaped and freed of control and direction characters, whoever wrote it."""

from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from server import text


def page(template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """`template` of this package with `values`."""
    return HTMLResponse(_environment().get_template(template).render(**values), status)


def style() -> Response:
    """The stylesheet; it says nothing of any run."""
    return Response(_style(), media_type="text/css")


@cache
def _style() -> bytes:
    return (files("server.web") / "templates" / "style.css").read_bytes()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("server.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    for name in ("number", "duration", "ranges", "plural"):
        environment.filters[name] = getattr(text, name)
    environment.filters["when"] = when
    return environment


def _clean(value: object) -> object:
    return text.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def when(at: str) -> str:
    """An ISO time as a person reads it: 2 Mar 2025, 10:11 UTC; "–" for none, the text itself if it is no time."""
    if not at:
        return text.NONE
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return at
    return f"{moment.astimezone(UTC):%-d %b %Y, %H:%M} UTC"

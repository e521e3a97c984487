"""The pages: each reads what is on disk now, and changes nothing."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from server.history import History, RunLine
from server.home import ServerHome
from server.manifest import models
from server.report.result import Result, read_result
from server.web.charts import Chart, chart
from server.web.guard import AUTO, session_of
from server.web.hospitals import hospitals, read_nodes
from server.web.overview import RunView, view_of
from server.web.render import page
from shared.errors import InputError, KonsilError

#: runs on the first page; older ones are counted
SHOWN = 50
#: report.html carries its style inside; it gets that and nothing else, in a world of its own
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'; form-action 'none'; "
    "base-uri 'none'"
)
REFRESH_S = 10


class Pages:
    """The pages of the coordinator in `home`."""

    def __init__(self, home: ServerHome) -> None:
        self._home, self._history = home, History(home.history)

    def runs(self, request: Request) -> Response:
        """GET /: every run."""
        lines = self._history.runs()
        views = [view_of(line, self._history.events(line.run)) for line in lines[:SHOWN]]
        return _show(request, "runs.html.j2", busy=_busy(lines), views=views, older=len(lines[SHOWN:]))

    def run(self, request: Request) -> Response:
        """GET /runs/RUN: one run, while it runs and after."""
        line = self._history.run(request.path_params["run"])
        folder = self._home.runs / line.run
        result = _result(folder)
        view = view_of(line, self._history.events(line.run), self._expected(line, result), _now())
        return _show(
            request,
            "run.html.j2",
            busy=_busy([line]),
            view=view,
            result=result,
            charts=_charts(view),
            has_report=(folder / "report.html").is_file(),
            has_model=(self._home.models / line.run).is_dir(),
        )

    def report(self, request: Request) -> Response:
        """GET /runs/RUN/report: the report, as it was written."""
        line = self._history.run(request.path_params["run"])
        path = self._home.runs / line.run / "report.html"
        if not path.is_file():
            raise InputError(f"report of {line.run}", expected="one", got="none yet", do="It is written at the end.")
        return HTMLResponse(path.read_bytes(), headers={"content-security-policy": REPORT_POLICY})

    def sites(self, request: Request) -> Response:
        """GET /sites: who belongs to the federation."""
        roster = self._home.federation.latest_roster
        lines = self._history.runs()
        runs = ((line, self._history.events(line.run)) for line in lines[:SHOWN])
        found = hospitals(roster.entries, read_nodes(self._home.path / "nodes.json"), runs)
        start, end = (datetime.fromtimestamp(at, UTC) for at in (roster.valid_from, roster.valid_until))
        return _show(
            request,
            "sites.html.j2",
            busy=_busy(lines),
            hospitals=found,
            version=roster.version,
            valid_from=start.isoformat(),
            valid_until=end.isoformat(),
            days_left=(end - datetime.now(UTC)).days,
        )

    def models(self, request: Request) -> Response:
        """GET /models: what was signed."""
        return _show(request, "models.html.j2", busy=False, models=models(self._home))

    def _expected(self, line: RunLine, result: Result | None) -> Iterable[str]:
        """The hospitals a run expects: as its result says, else who is on the roster."""
        if result is not None:
            return result.sites.expected
        if line.state not in ("queued", "running"):
            return ()
        try:
            return [entry.name for entry in self._home.federation.roster.entries]
        except KonsilError:
            return ()


def trouble(request: Request, error: Exception) -> Response:
    """The page for what is not there, or cannot be read."""
    status = 404 if isinstance(error, InputError) else 500
    words = str(error) if isinstance(error, KonsilError) else "Konsil failed here; the log of the page says more."
    return _show(request, "error.html.j2", status, busy=False, title="Not found" * (status == 404), words=words)


def missing(request: Request, _: Exception) -> Response:
    """The page for an address that leads nowhere."""
    return _show(request, "error.html.j2", 404, busy=False, title="Not found", words="No page has this address.")


def _show(request: Request, template: str, status: int = 200, *, busy: bool, **values: object) -> Response:
    """`template` with what every page needs; while something runs it asks for itself again, unless told to pause."""
    session = session_of(request)
    paused = "pause" in request.query_params
    return page(
        template,
        status=status,
        path=request.url.path,
        csrf=session.csrf if session else "",
        busy=busy,
        refresh=REFRESH_S if busy and not paused else 0,
        auto=AUTO,
        **values,
    )


def _busy(lines: Iterable[RunLine]) -> bool:
    return any(line.state in ("queued", "running") for line in lines)


def _result(folder: Path) -> Result | None:
    try:
        return read_result(folder / "result.json")
    except (OSError, msgspec.DecodeError):
        return None


def _charts(view: RunView) -> list[Chart]:
    subject = f"{view.figure} of the validation patients{', with noise' if view.noisy else ''}"
    judged = chart(subject, [(one.event.round, one.event.figure) for one in view.rounds])
    spent = chart("Largest ε of any hospital", [(one.event.round, one.worst_epsilon) for one in view.rounds])
    return [drawn for drawn in (judged, spent) if drawn is not None]


def _now() -> str:
    return datetime.now(UTC).isoformat()

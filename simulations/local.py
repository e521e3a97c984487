"""A federation in one folder and one process: the real coordinator, homes and sites, without Flower or Ray between.

For tests and for faults: what crosses is the real bytes (simulations/faults.py), and every file is where `simulate`
puts it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from client.home import Home
from client.site import Site
from server.aggregate import Aggregator
from server.checkpoints import Checkpoints
from server.collect import Link
from server.coordinator import Coordinator, Outcome
from server.federation import Federation, create
from server.observer import Event, Observer
from server.open_plan import Desk
from server.report.build import result_of
from server.report.result import Purpose, Result
from server.run import open_run
from shared.study import Study
from simulations.sites import open_site


@dataclass(frozen=True)
class Recorder:
    """An observer that keeps every event."""

    events: list[Event] = field(default_factory=list)

    def notice(self, event: Event) -> None:
        """Keep `event`."""
        self.events.append(event)


@dataclass(frozen=True)
class LocalFederation:
    """The hospitals `names` and their federation in `folder`."""

    folder: Path
    names: Sequence[str]

    @classmethod
    def make(cls, folder: Path, archives: Mapping[str, Path], study: Study) -> "LocalFederation":
        """Homes with keys and images for every archive, and a roster that lists them."""
        federation = create(folder / "federation")
        keys = {}
        for name, archive in archives.items():
            home = folder / "sites" / name
            site = open_site(home, name, archive, federation, study, device="cpu", progress=lambda *_: None)
            keys[name] = site.home.identity.public
        federation.enroll(keys)
        return cls(folder, tuple(archives))

    @property
    def federation(self) -> Federation:
        """Its keys and roster."""
        return Federation(self.folder / "federation")

    def home(self, name: str) -> Home:
        """One hospital's folder."""
        return Home(self.folder / "sites" / name)

    def sites(self) -> list[Site]:
        """The hospitals, as a new process would open them; node k is `names[k]`."""
        return [Site(self.home(name)) for name in self.names]

    def run(
        self,
        link: Link,
        study: Study,
        *,
        out: str = "run",
        resume: bool = False,
        recorder: Observer | None = None,
        purpose: Purpose = "model",
    ) -> tuple[Outcome, Result]:
        """One run of `study`, in `folder`/`out`."""
        start = open_run(self.folder / out, study, resume=resume, purpose=purpose)
        invitation = self.federation.invitation(start.identity.run, study)
        desk = Desk(self.folder / out / "plan.bin")
        aggregator = Aggregator(
            link, invitation, self.federation.roster, self.federation.operator, desk=desk, folder=self.folder / out
        )
        checkpoints = Checkpoints(self.folder / out / "checkpoints")
        coordinator = Coordinator(
            aggregator, checkpoints, recorder or Recorder(), start=start.identity.starts, purpose=purpose
        )
        outcome = coordinator.run(start.begin)
        return outcome, result_of(outcome, study, aggregator, purpose)

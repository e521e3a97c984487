"""Three real Konsil hospitals on disk for many hostile runs, and what an attack on them gained, in words.

Each attack has a run of its own that all three have joined; COLLUDER does whatever the coordinator says.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from flower_attack import as_server
from flwr.app import Context, Message, RecordDict
from msgspec.structs import replace

from client.app import make_relay
from client.site import Site
from shared.errors import KonsilError
from shared.messages.replies import AnyReply, Refused
from shared.relay import open_message, wrap
from shared.study import Study, parse_study
from simulations.attacker import Attacker
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation
from simulations.refusals import REFUSALS, Attempt, tried
from simulations.strikes import COLLUDER, NAMES, VICTIM

#: Small enough for seconds: 14 patients a hospital, pictures of 16 × 16.
STUDY = """
name = "tiny"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX", "CR"]
size = [16, 16]
[model]
name = "cnn"
[model.options]
width = 4
hidden = 4
[training]
rounds = 2
batch = 4
local_steps = 2
learning_rate = 0.05
[federation]
min_sites = 3
max_images = 1000
[privacy]
mode = "off"
[aggregation]
colluders = 0
"""
POLICY = '[privacy]\nleast = "off"\n[aggregation]\n{rules}\n[studies]\nask = false\n'
RULES = {"min_cohort": "2", "colluders": "0"}


@dataclass(frozen=True)
class Here:
    """What an attack gained against Konsil. `works`: more than the one sum that was promised, or a wrong one."""

    gained: str
    works: bool


@dataclass
class Ward:
    """The hospitals `NAMES`, and runs that no two attacks share."""

    local: LocalFederation
    sites: Mapping[str, Site]
    runs: "count[int]" = field(default_factory=count)

    @classmethod
    def make(cls, folder: Path) -> "Ward":
        """In an empty `folder`."""
        archives = {name: folder / "archives" / name for name in NAMES}
        for seed, name in enumerate(NAMES):
            write_hospital(archives[name], patients=14, seed=seed, profile=PROFILES[name])
        local = LocalFederation.make(folder, archives, parse_study(STUDY))
        with local.federation.locked():  # so that there is an older roster to bring
            local.federation.publish(local.federation.signed(local.federation.roster.entries))
        return cls(local, {name: Site(local.home(name)) for name in NAMES})

    @property
    def study(self) -> Study:
        """Of at least three hospitals, no privacy, active mode, no colluder counted on."""
        return parse_study(STUDY)

    def policy(self, site: str, line: str = "", more: str = "") -> None:
        """The policy that lets the study in, with `line` of [aggregation] in the place of its own, and `more`."""
        key, _, value = line.partition(" = ")
        lines = RULES | ({key: value} if key else {})
        rules = "\n".join(f"{name} = {rule}" for name, rule in lines.items())
        (self.local.home(site).path / "policy.toml").write_text(POLICY.format(rules=rules) + more)

    def attacker(self, study: Study | None = None, line: str = "") -> Attacker:
        """In a new run; `line`: of the victim's [aggregation]."""
        for name in NAMES:
            self.policy(name, line if name == VICTIM else "")
        colluders = {COLLUDER: self.local.home(COLLUDER)}
        run = f"attacked-{next(self.runs)}"
        return Attacker(
            self.local.federation, dict(self.sites), study or self.study, run, colluders=colluders
        ).join_all()

    def changed(self, part: str, **changes: object) -> Study:
        """The study with fields of one part changed."""
        return replace(self.study, **{part: replace(getattr(self.study, part), **changes)})

    def try_one(self, name: str, what: str) -> tuple[AnyReply, bool]:
        """What the victim answers to one attempt of REFUSALS, and whether that is worth anything."""
        attempt: Attempt = REFUSALS[name][what]
        reply, gained = tried(what, attempt, self.attacker(line=attempt.policy))
        return reply, gained.works

    def attempts(self, name: str, *whats: str) -> Here:
        """Some of REFUSALS, by PROTOCOL.md's name and what is tried."""
        return judged({what: self.try_one(name, what)[0] for what in whats})


def said(reply: AnyReply) -> str:
    """A refusal's words; else what kind of answer came."""
    return in_short(reply.reason) if isinstance(reply, Refused) else f"answered: {type(reply).__name__}"


def in_short(words: str) -> str:
    """On one line of a table, without what differs each time: keys, digests, sizes, the number of a run."""
    plain = re.sub(r"\b[0-9a-f]{16,}\b|(?<=got )[0-9]+(?= bytes: )", "…", words).rstrip(".")
    plain = re.sub(r"(?<=attacked)-[0-9]+", "", plain)
    return plain.replace("|", "\\|").replace("\n", " ").replace("`", "'")


def judged(replies: Mapping[str, AnyReply]) -> Here:
    """Refused altogether, or not; the same words are told once."""
    words: dict[str, list[str]] = {}
    for what, reply in replies.items():
        words.setdefault(said(reply), []).append(what)
    works = not all(isinstance(reply, Refused) for reply in replies.values())
    told = "; ".join(f"{', '.join(whats)}: “{each}”" for each, whats in words.items())
    return Here(f"{'taken' if works else 'nothing, refused'}. {told}", works)


def stopped(actions: Mapping[str, Callable[[], object]]) -> Here:
    """As `judged`, of what raises Konsil's errors."""
    words = {what: error_of(action) for what, action in actions.items()}
    told = "; ".join(f"{what}: “{each or 'taken'}”" for what, each in words.items())
    works = not all(words.values())
    return Here(f"{'taken' if works else 'nothing, refused'}. {told}", works)


def error_of(action: Callable[[], object]) -> str:
    """The error of Konsil's that `action` raises, or nothing."""
    try:
        action()
    except KonsilError as error:
        return in_short(str(KonsilError(error.what, expected=error.expected, got=error.got)))
    return ""


def left_over(folder: Path, secrets: Iterable[bytes]) -> int:
    """How many of `secrets` stand in a file below `folder`."""
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return sum(any(secret in data for data in files) for secret in secrets)


def relayed(ward: Ward, request: bytes, kind: str) -> tuple[bytes | None, Context]:
    """The victim's reply and what Flower then keeps, by the ClientApp that hospitals run and the hospital behind it."""
    relay = make_relay(lambda data, _context, _until: ward.sites[VICTIM].handle(data))
    context = Context(1, 0, {}, RecordDict(), {})
    with as_server():
        reply = relay(Message(wrap(request), dst_node_id=1, message_type=kind), context)
    return open_message(reply), context

"""A study whose body comes from a file and stays: the file travels once, the rounds carry the head alone."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from safetensors.numpy import save

from client.rounds import Rounds
from client.site import Site
from server.checkpoints import Checkpoints
from server.coordinator import Outcome
from server.report.result import Result
from shared.layout import begin
from shared.messages.replies import Refused, read_reply
from shared.messages.requests import Join, Request, Step, read_request
from shared.study import Study
from shared.wire import pack
from simulations.faults import LocalLink, Moment
from simulations.local import LocalFederation, Recorder

FILE = "public.safetensors"


@pytest.fixture
def frozen(study: Study, local: LocalFederation) -> Study:
    """A body of 1.5 million weights under a head of 1,026, and its file in the run's folder."""
    options = {"width": 128, "blocks": 3, "hidden": 0, "groups": 1}
    model = replace(study.model, options=options, trained=("head",))
    found = replace(study, model=model)
    layout, weights = begin(found)
    body = {name: tensor for name, tensor in layout.split(weights).items() if not name.startswith("head")}
    data = save({name: np.full_like(tensor, 0.01) for name, tensor in body.items()})
    (local.folder / "run").mkdir(exist_ok=True)
    (local.folder / "run" / FILE).write_bytes(data)
    return replace(found, model=replace(model, init=FILE, init_sha256=hashlib.sha256(data).hexdigest()))


def steps(link: LocalLink) -> list[tuple[int, Step, bytes, bytes]]:
    """Node, request, and both as bytes, of every step."""
    read = [(node, read_request(asked), asked, reply or b"") for node, asked, reply in link.traffic]
    return [(node, body, asked, reply) for node, body, asked, reply in read if isinstance(body, Step)]


def carried(link: LocalLink) -> list[tuple[int, str, int]]:
    """Where the file went: node, step, round."""
    return [(node, body.plan.step, body.plan.round) for node, body, _, _ in steps(link) if len(body.init)]


def kept(local: LocalFederation, name: str) -> Path:
    return local.home(name).path / "starts"


def check(outcome: Outcome, result: Result, study: Study) -> None:
    """It finished, the head moved, the body is the file's."""
    assert (result.status, result.because, result.sites.left_out) == ("finished", "", ())
    layout, seeded = begin(study)
    after, start = layout.split(outcome.checkpoint.state.weights), layout.split(seeded)
    assert all((after[name] == np.float32(0.01)).all() for name in layout.frozen)
    assert any((after[name] != start[name]).any() for name in set(layout.names) - layout.frozen)


def test_the_file_travels_once_and_then_kilobytes(local: LocalFederation, frozen: Study) -> None:
    link = LocalLink(local.sites())
    outcome, result = local.run(link, frozen)
    check(outcome, result, frozen)
    layout, _ = begin(frozen)
    assert layout.moving == 1026 and layout.size > 300_000
    assert carried(link) == [(node, "train", 1) for node in range(3)]
    later = [(len(asked), len(reply)) for _, body, asked, reply in steps(link) if body.plan.round > 1]
    assert later and max(down for down, _ in later) < 40_000 and max(up for _, up in later) < 10_000


def test_a_hospital_that_has_the_file_is_sent_none(local: LocalFederation, frozen: Study) -> None:
    folder = kept(local, "alder")
    folder.mkdir()
    (folder / f"{frozen.model.init_sha256}.safetensors").write_bytes((local.folder / "run" / FILE).read_bytes())
    link = LocalLink(local.sites())
    check(*local.run(link, frozen), frozen)
    assert {node for node, _, _ in carried(link)} == {1, 2}


def test_one_that_lost_it_is_sent_it_again_with_the_same_plan(local: LocalFederation, frozen: Study) -> None:
    class Losing(LocalLink):
        """Birch's disk loses the file, and its process is started again, before round 2."""

        def _serve(self, node: int, request: bytes) -> bytes | None:
            body = read_request(request)
            again = isinstance(body, Step) and (body.plan.step, body.plan.round) == ("train", 2) and not len(body.init)
            if node == 1 and again:
                next(kept(local, "birch").iterdir()).write_bytes(b"torn")
                self._sites = [Site(local.home(name)) if name == "birch" else site for name, site in self.named()]
            return super()._serve(node, request)

        def named(self) -> list[tuple[str, Site]]:
            return list(zip(local.names, self._sites, strict=True))

    link = Losing(local.sites())
    check(*local.run(link, frozen), frozen)
    assert carried(link)[3:] == [(1, "train", 2)]
    plans = {body.plan.digest() for _, body, _, _ in steps(link) if (body.plan.step, body.plan.round) == ("train", 2)}
    assert len(plans) == 1, "nobody was asked to train again"


def test_a_coordinator_that_was_killed_sends_nothing_twice(local: LocalFederation, frozen: Study) -> None:
    class Killed(Exception):  # noqa: N818
        """As if the process had ended here."""

    class Ending(LocalLink):
        def _serve(self, node: int, request: bytes) -> bytes | None:
            body = read_request(request)
            if isinstance(body, Step) and (body.plan.step, body.plan.round) == ("train", 2) and node == 2:
                raise Killed
            return super()._serve(node, request)

    sites = local.sites()
    with pytest.raises(Killed):
        local.run(Ending(sites), frozen)
    assert Checkpoints(local.folder / "run" / "checkpoints").last_round() == 1
    link = LocalLink(local.sites())
    check(*local.run(link, frozen, resume=True), frozen)
    assert carried(link) == []


def test_a_hospital_that_comes_later_gets_it(local: LocalFederation, frozen: Study) -> None:
    class Late(LocalLink):
        """Cedar is not there before the first round is over."""

        def nodes(self) -> tuple[int, ...]:
            return (0, 1, 2) if any(body.plan.step == "evaluate" for _, body, _, _ in steps(self)) else (0, 1)

    quick = replace(frozen, federation=replace(frozen.federation, timeout_s=0.2))
    link = Late(local.sites())
    _, result = local.run(link, quick, recorder=Recorder())
    assert result.status == "finished"
    assert [node for node, _, _ in carried(link)] == [0, 1, 2]


def test_another_file_is_refused_and_nothing_is_kept(local: LocalFederation, frozen: Study) -> None:
    def swapped(request: bytes, serve: object) -> bytes:
        body = read_request(request)
        assert isinstance(body, Step) and len(body.init) and callable(serve)
        other = bytearray(body.init)
        other[-1] ^= 1
        reply = serve(pack(Request(body=replace(body, init=memoryview(bytes(other))))))
        assert isinstance(reply, bytes)
        return reply

    link = LocalLink(local.sites(), {Moment(1, "train", 1): swapped})
    _, result = local.run(link, frozen)
    refused = [
        read_reply(reply)
        for node, body, _, reply in steps(link)
        if node == 1 and body.plan.round == 1 and len(body.init)
    ]
    assert isinstance(refused[0], Refused) and frozen.model.init_sha256 in refused[0].expected
    assert any("model.init" in left.reason for left in result.sites.left_out if left.site == "birch")


def test_a_study_that_keeps_nothing_needs_no_file(local: LocalFederation, frozen: Study) -> None:
    study = replace(frozen, model=replace(frozen.model, trained=()), training=replace(frozen.training, rounds=1))
    link = LocalLink(local.sites())
    local.run(link, study)
    assert carried(link) == [] and not kept(local, "alder").exists()
    joins = [asked for _, asked, _ in link.traffic if isinstance(read_request(asked), Join)]
    assert len(joins) == 3


def test_private_rounds_carry_the_head_alone_too(local: LocalFederation, frozen: Study, distributed: Study) -> None:
    study = replace(frozen, privacy=distributed.privacy, training=distributed.training)
    link = LocalLink(local.sites())
    outcome, result = local.run(link, study)
    check(outcome, result, study)
    later = [len(asked) for _, body, asked, _ in steps(link) if body.plan.round > 1]
    assert max(later) < 40_000


def test_the_file_goes_with_the_last_run_that_needs_it(
    local: LocalFederation, frozen: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.run(LocalLink(local.sites()), replace(frozen, training=replace(frozen.training, rounds=1)))
    monkeypatch.setattr("client.site.FORGET_S", -1.0)  # whatever is here is old
    folder = kept(local, "alder")
    other = folder / f"{'0' * 64}.safetensors"
    other.write_bytes(b"of a study that is over")
    rounds = Rounds(local.home("alder").path / "rounds.sqlite")
    monkeypatch.setattr(Rounds, "forget", lambda *_: 0)  # the run is in use
    Site(local.home("alder"))
    assert [path.stem for path in folder.iterdir()] == [frozen.model.init_sha256]
    assert [each.model.init_sha256 for each in rounds.studies()] == [frozen.model.init_sha256]
    monkeypatch.undo()
    assert rounds.forget(-1.0) == 1
    assert rounds.studies() == ()
    monkeypatch.setattr("client.site.FORGET_S", -1.0)
    Site(local.home("alder"))
    assert list(folder.iterdir()) == []

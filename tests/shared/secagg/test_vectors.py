"""Konsil against the known answers of tests/vectors/secagg, which a second implementation made from docs/protocol.md.

Good cases give exactly these bytes, what Konsil draws at random taken from the file; bad ones are refused in the words
of the file. That both implementations aggregate together is tested in tests/vectors/secagg/test_interop.py.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.crypto.identity import Identity
from shared.crypto.roster import Roster, RosterEntry
from shared.crypto.sealing import agree, check_public, derive, unseal
from shared.errors import OperatorError, PeerError
from shared.messages.replies import Contributed, read_reply, write_reply
from shared.messages.requests import Confirm as ConfirmBody
from shared.messages.requests import Step, Unmask, check_operator, read_request, write_request
from shared.messages.tasks import payload_digest
from shared.quantize import Quantizer
from shared.rotation import Rotation
from shared.secagg.collector import Collector
from shared.secagg.joining import JoinRecord, RunKey, check_join, join
from shared.secagg.keystream import KeyStream
from shared.secagg.masks import COUNT_LABEL, MASK_LABEL, add_count_masks, add_masks, filled
from shared.secagg.member import PAIR_LABEL, SEAL_LABEL, Masked, Plain, RoundState, confirm, contribute, unmask
from shared.secagg.messages import Contribution, commitment, share_commitment, survivors_digest
from shared.secagg.packing import pack_words, unpack_words
from shared.secagg.plan import Plan, Seat, SiteRules, Terms, check_cohort, check_plan, threshold_for
from shared.secagg.sharing import combine, split, weights_at_zero
from shared.wire import pack, unpack
from tests.vectors.secagg import primitives, records
from tests.vectors.secagg.write import HERE, WHAT, text_of

Case = dict[str, Any]
FOLDER = Path(__file__).parents[2] / "vectors" / "secagg"
FILES: dict[str, Case] = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
PLANS: dict[str, Plan] = {}
SCENES: dict[str, Case] = {}
for _scene in (*FILES["contribution"]["scenes"], *FILES["finish"]["aggregates"]):
    SCENES[_scene["name"]] = _scene
    PLANS[_scene["name"]] = unpack(Plan, bytes.fromhex(_scene["plan"]))

unhex = bytes.fromhex


def cases(file: str, key: str) -> pytest.MarkDecorator:
    """Every case of a list in a file, by its name."""
    found: list[Case] = FILES[file][key]
    return pytest.mark.parametrize("case", found, ids=[case.get("name", str(k)) for k, case in enumerate(found)])


@contextmanager
def refused(case: Case) -> Iterator[None]:
    """The error that `case` must meet."""
    with pytest.raises(PeerError) as caught:
        yield
    assert case["words"] in str(caught.value)


def roster_of(scene: Case) -> Roster:
    entries = tuple(RosterEntry(name=row["site"], identity=unhex(row["identity_public"])) for row in scene["sites"])
    return Roster(version=1, entries=entries, operator=bytes(32), valid_from=0, valid_until=1)


def identity_of(row: Case) -> Identity:
    return Identity.from_private_bytes(unhex(row["identity"]))


def seat_of(scene: Case, site: str) -> Seat:
    plan = PLANS[scene["name"]]
    terms = Terms(**{name: getattr(plan, name) for name in Terms.__struct_fields__})
    own = plan.cohort[plan.sites().index(site)]
    return check_plan(plan, own, roster_of(scene), SiteRules(), terms)


def row_of(scene: Case, site: str) -> Case:
    found: Case = next(row for row in scene["sites"] if row["site"] == site)
    return found


class Dice:
    """What a site of the second implementation drew, handed out where Konsil asks its random sources."""

    def __init__(self, row: Case, patch: pytest.MonkeyPatch) -> None:
        self._coefficients = iter([[int(c, 16) for c in slot] for slot in row["coefficients"]])
        self._bytes = iter([unhex(row["self_seed"]), *(unhex(nonce) for nonce in row["nonces"].values())])
        # Konsil draws shares, not coefficients: the same polynomials, found in test_shares
        patch.setattr("shared.secagg.member.split", self._split)
        patch.setattr("os.urandom", self._draw)

    def _split(self, secret: bytes, *, threshold: int, count: int) -> list[bytes]:
        coefficients = next(self._coefficients)
        assert len(coefficients) == threshold - 1
        return primitives.split(secret, coefficients, count)

    def _draw(self, size: int) -> bytes:
        data = next(self._bytes)
        assert len(data) == size
        return data


def masked_as(scene: Case, site: str) -> Masked:
    """Konsil's contribution of `site`, from the dice of the file."""
    row, plan, seat = row_of(scene, site), PLANS[scene["name"]], seat_of(scene, site)
    vector: Any = np.array(row["vector"], plan.dtype)
    plain = Plain(np.array(row["counts"], "<u8"), filled(vector))
    private = unhex(row["run_key"])
    run_key = RunKey(private=private, public=seat.own.public_key)
    with pytest.MonkeyPatch.context() as patch:
        Dice(row, patch)
        return contribute(seat, plain, run_key=run_key, identity=identity_of(row))


# the files


def test_the_files_are_those_that_the_second_implementation_writes() -> None:
    assert set(FILES) == set(WHAT)
    assert HERE == FOLDER
    for name in WHAT:
        assert (FOLDER / f"{name}.json").read_text() == text_of(name), (
            f"run python -m tests.vectors.secagg.write: {name}"
        )


def test_every_file_says_what_it_is_and_they_are_small() -> None:
    assert all(found["version"] == 5 and found["what"] for found in FILES.values())
    assert sum(path.stat().st_size for path in FOLDER.glob("*.json")) < 300_000


# join.json


@cases("join", "good")
def test_a_join_record(case: Case) -> None:
    run_key = RunKey(private=unhex(case["run_key"]), public=unhex(case["public_key"]))
    hashes = {"study_hash": unhex(case["study_hash"]), "roster_hash": unhex(case["roster_hash"])}
    record = join(run_key, identity_of(case), site=case["site"], run=case["run"], **hashes)
    assert record.signature.hex() == case["signature"]
    assert pack(record).hex() == case["record"]
    check_join(
        unpack(JoinRecord, unhex(case["record"])), roster_of(SCENES["three-semi-honest"]), run="vectors", **hashes
    )


@cases("join", "bad")
def test_a_bad_join_record_is_refused(case: Case) -> None:
    joined = {name: unhex(FILES["join"][name]) for name in ("study_hash", "roster_hash")}
    with refused(case):
        check_join(
            unpack(JoinRecord, unhex(case["record"])), roster_of(SCENES["three-semi-honest"]), run="vectors", **joined
        )


# plan.json


@cases("plan", "good")
def test_a_plan_and_its_digest(case: Case) -> None:
    plan = unpack(Plan, unhex(case["plan"]))
    assert pack(plan).hex() == case["plan"]
    assert plan.digest().hex() == case["digest"]
    assert list(plan.sites()) == case["sites"]


def test_the_threshold_of_n_and_c() -> None:
    for n, c, t in FILES["plan"]["threshold_of_n_c"]:
        assert threshold_for(n, 0.6, c) == t


@cases("plan", "bad")
def test_a_bad_plan_is_refused(case: Case) -> None:
    with refused(case):
        check_cohort(unpack(Plan, unhex(case["plan"])), roster_of(SCENES["four-active"]))


@cases("plan", "unusual")
def test_whatever_form_a_plan_came_in_its_digest_is_that_of_its_values(case: Case) -> None:
    assert unpack(Plan, unhex(case["plan"])).digest().hex() == case["digest"]


# masks.json, counts.json


@cases("masks", "streams")
def test_a_mask_stream(case: Case) -> None:
    size = 4 if case["bits"] == 32 else 2
    offset = case["start"] * size
    words = np.empty(len(case["words"]), f"<u{size}")
    KeyStream(unhex(case["seed"]), MASK_LABEL, start=offset).fill(words)
    assert words.tolist() == case["words"]


@cases("masks", "masked")
def test_a_masked_vector(case: Case) -> None:
    vector = np.array(case["vector"], "<u4" if case["bits"] == 32 else "<u2")
    add_masks(vector, list(zip(map(unhex, case["seeds"]), case["signs"], strict=True)))
    assert vector.tolist() == case["masked"]


@cases("counts", "streams")
def test_a_mask_stream_of_counts(case: Case) -> None:
    words = np.empty(len(case["words"]), "<u8")
    KeyStream(unhex(case["seed"]), COUNT_LABEL).fill(words.view(np.uint8))
    assert [str(word) for word in words.tolist()] == case["words"]


def test_masked_counts() -> None:
    case = FILES["counts"]["masked"]
    counts = np.array(case["counts"], "<u8")
    add_count_masks(counts, list(zip(map(unhex, case["seeds"]), case["signs"], strict=True)))
    assert counts.tobytes().hex() == case["masked"]


# shares.json


@cases("shares", "good")
def test_shares(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([int(share, 16) for share in case["shares"]])
    monkeypatch.setattr("shared.secagg.sharing.secrets.randbelow", lambda _most: next(drawn))
    t, n = len(case["coefficients"]) + 1, len(case["shares"])
    assert [share.hex() for share in split(unhex(case["secret"]), threshold=t, count=n)] == case["shares"]
    weights = weights_at_zero(case["points"])
    assert [weight.to_bytes(33, "big").hex() for weight in weights] == case["weights"]
    assert combine([unhex(case["shares"][x - 1]) for x in case["points"]], weights).hex() == case["secret"]


@cases("shares", "bad")
def test_shares_of_no_secret_are_refused(case: Case) -> None:
    with refused(case):
        combine([unhex(share) for share in case["shares"]], weights_at_zero(case["points"]))


@cases("shares", "wrong")
def test_wrong_shares_give_the_same_wrong_number(case: Case) -> None:
    """Nothing in the shares themselves tells; their commitments do. Shares are read mod p."""
    shares, weights = [unhex(share) for share in case["shares"]], weights_at_zero(case["points"])
    if case["combined"].startswith("00"):
        assert combine(shares, weights).hex() == case["combined"][2:]
    else:
        with pytest.raises(PeerError, match="32-byte secret"):
            combine(shares, weights)


# sealing.json


def test_pair_seeds_sealing_keys_and_bundles() -> None:
    case = FILES["sealing"]["good"]
    a, b = case["names"]
    plan, secret = unhex(case["plan"]), agree(unhex(case["private_a"]), unhex(case["public_b"]))
    assert secret.hex() == case["secret"]
    assert secret == agree(unhex(case["private_b"]), unhex(case["public_a"]))
    for label, parts, key in (
        (PAIR_LABEL, (a, b), "pair_seed"),
        (SEAL_LABEL, (a, b), "seal_a_to_b"),
        (SEAL_LABEL, (b, a), "seal_b_to_a"),
    ):
        assert derive(secret, salt=plan, label=label, parts=parts).hex() == case[key]
    assert unseal(unhex(case["seal_a_to_b"]), unhex(case["bundle_a_to_b"]), plan).hex() == case["opened"]


def test_commitments() -> None:
    good, case = FILES["sealing"]["good"], FILES["sealing"]["commitments"]
    plan, seed, sites = unhex(good["plan"]), unhex(good["pair_seed"]), ("alm", "bern", "celle", "dorn")
    assert commitment(plan, sites, 0, 0, seed).hex() == case["commit_self_alm"]
    assert commitment(plan, sites, 0, 1, seed).hex() == case["commit_pair_alm_bern"]
    assert commitment(plan, sites, 1, 0, seed).hex() == case["commit_pair_alm_bern"]
    of_share = share_commitment(plan, 0, 1, 2, unhex(case["share"]))
    assert of_share.hex() == case["commit_share_owner_0_slot_1_member_2"]


@cases("sealing", "bad_keys")
def test_a_bad_run_key_is_refused(case: Case) -> None:
    with refused(case):
        check_public(unhex(case["key"]), owner="alm")


@cases("sealing", "bad")
def test_a_bad_bundle_is_refused(case: Case) -> None:
    with refused(case):
        unseal(unhex(case["key"]), unhex(case["bundle"]), unhex(case["plan"]))


# packing.json


@cases("packing", "good")
def test_packed_words(case: Case) -> None:
    words = np.array(case["words"], "<u4" if case["bits"] == 32 else "<u2")
    assert pack_words(words, case["bits"]).hex() == case["packed"]
    assert unpack_words(unhex(case["packed"]), words.size, case["bits"]).tolist() == case["words"]


@cases("packing", "bad")
def test_badly_packed_words_are_refused(case: Case) -> None:
    with refused(case):
        unpack_words(unhex(case["packed"]), case["length"], case["bits"])


# rotation.json, quantizer.json


@cases("rotation", "good")
def test_the_rotation(case: Case) -> None:
    rotation = Rotation(unhex(case["seed"]), len(case["update"]))
    assert rotation.padded == case["rows"] * case["columns"]
    assert rotation.forward(np.array(case["update"], np.float32)).tolist() == case["rotated"]
    assert rotation.inverse(np.array(case["rotated"], np.float32)).tolist() == case["update"]


@cases("quantizer", "good")
def test_the_quantiser(case: Case) -> None:
    """Whole steps, which no dither moves."""
    quantizer = unpack(Quantizer, unhex(case["quantizer"]))
    assert (quantizer.bound, quantizer.sites, quantizer.bits) == (case["bound"], case["sites"], case["bits"])
    assert quantizer.steps == case["steps"]
    words = quantizer.encode(np.array(case["entries"], np.float32), case["weight"])
    assert words.tolist() == case["encoded"]
    total = np.array(case["sum_of_sites_times_encoded"], quantizer.dtype)
    assert quantizer.decode(total).tolist() == case["decoded"]


# contribution.json


CONTRIBUTED = [(scene, row["site"]) for scene in FILES["contribution"]["scenes"] for row in scene["sites"]]


@pytest.mark.parametrize(("scene", "site"), CONTRIBUTED, ids=[f"{scene['name']} {site}" for scene, site in CONTRIBUTED])
def test_a_contribution(scene: Case, site: str) -> None:
    """Byte for byte, from the same dice."""
    row, masked = row_of(scene, site), masked_as(scene, site)
    assert masked.contribution.hex() == row["contribution"]
    assert masked.vector.hex() == row["packed_vector"]
    assert PLANS[scene["name"]].digest().hex() == scene["plan_digest"]
    others = [seed.hex() for seed in masked.state.seeds if seed]
    assert others == list(row["pair_seeds"].values())


@cases("contribution", "bad")
def test_a_bad_contribution_is_refused_and_changes_nothing(case: Case) -> None:
    scene = SCENES[FILES["contribution"]["bad_scene"]]
    collector = Collector(PLANS[scene["name"]], roster_of(scene))
    first, other = scene["sites"][:2]
    collector.add(unhex(first["contribution"]), memoryview(unhex(first["packed_vector"])))
    with refused(case):
        collector.add(unhex(case["data"]), memoryview(unhex(case["vector"])))
    assert collector.add(unhex(other["contribution"]), memoryview(unhex(other["packed_vector"]))) == other["site"]


# confirm.json, unmask.json


def closed(name: str) -> Collector:
    """Konsil's coordinator with all contributions of the file that came."""
    scene = SCENES[name]
    collector = Collector(PLANS[name], roster_of(scene))
    for row in scene["sites"]:
        if row["site"] not in scene["dropped"]:
            collector.add(unhex(row["contribution"]), memoryview(unhex(row["packed_vector"])))
    collector.close()
    return collector


def settled(name: str) -> Collector:
    collector = closed(name)
    if PLANS[name].adversary == "active":
        for row in FILES["confirm"]["good"]:
            collector.confirm(unhex(row["confirmation"]))
        collector.settle()
    return collector


@cases("confirm", "good")
def test_a_confirmation(case: Case) -> None:
    file, name = FILES["confirm"], FILES["confirm"]["scene"]
    scene, site = SCENES[name], case["site"]
    assert survivors_digest(unhex(file["plan"]), tuple(file["survivors"])).hex() == file["survivors_digest"]
    assert closed(name).ask_confirm(site).hex() == case["request"]
    identity, state = identity_of(row_of(scene, site)), masked_as(scene, site).state
    answer = confirm(state, unhex(case["request"]), identity=identity, rules=SiteRules())
    assert answer.hex() == case["confirmation"]
    assert closed(name).confirm(answer) == site


STATES: dict[str, RoundState] = {}


def of_alm(name: str) -> tuple[RoundState, Identity]:
    """What alm keeps between steps 1 and 3."""
    scene = SCENES[name]
    if name not in STATES:
        STATES[name] = masked_as(scene, "alm").state
    return STATES[name], identity_of(row_of(scene, "alm"))


@cases("confirm", "bad_to_alm")
def test_a_bad_confirm_request_is_refused(case: Case) -> None:
    state, identity = of_alm(FILES["confirm"]["scene"])
    with refused(case):
        confirm(state, unhex(case["data"]), identity=identity, rules=SiteRules())


@cases("confirm", "bad_to_coordinator")
def test_a_bad_confirmation_is_refused(case: Case) -> None:
    collector = closed(FILES["confirm"]["scene"])
    collector.confirm(unhex(FILES["confirm"]["good"][0]["confirmation"]))
    with refused(case):
        collector.confirm(unhex(case["data"]))


UNMASKED = [(scene, row) for scene in FILES["unmask"]["scenes"] for row in scene["good"]]
BAD_REQUESTS = [(scene["scene"], case) for scene in FILES["unmask"]["scenes"] for case in scene["bad_to_alm"]]
BAD_ANSWERS = [(scene["scene"], case) for scene in FILES["unmask"]["scenes"] for case in scene["bad_to_coordinator"]]


@pytest.mark.parametrize(("scene", "case"), UNMASKED)
def test_an_answer(scene: Case, case: Case) -> None:
    name, site = scene["scene"], case["site"]
    assert settled(name).request(site).hex() == case["request"]
    state, identity = masked_as(SCENES[name], site).state, identity_of(row_of(SCENES[name], site))
    assert unmask(state, unhex(case["request"]), identity=identity, rules=SiteRules()).hex() == case["answer"]


@pytest.mark.parametrize(("name", "case"), BAD_REQUESTS, ids=[case["name"] for _, case in BAD_REQUESTS])
def test_a_bad_unmask_request_is_refused(name: str, case: Case) -> None:
    state, identity = of_alm(name)
    with refused(case):
        unmask(state, unhex(case["data"]), identity=identity, rules=SiteRules())


@pytest.mark.parametrize(("name", "case"), BAD_ANSWERS, ids=[case["name"] for _, case in BAD_ANSWERS])
def test_a_bad_answer_is_refused(name: str, case: Case) -> None:
    collector = settled(name)
    good = next(scene for scene in FILES["unmask"]["scenes"] if scene["scene"] == name)["good"]
    collector.answer(unhex(good[0]["answer"]))
    with refused(case):
        collector.answer(unhex(case["data"]))


# finish.json


def fed(case: Case) -> Collector:
    """Konsil's coordinator, given every message of an aggregate in order, asking in the very bytes of the file."""
    collector = Collector(PLANS[case["name"]], roster_of(case))
    phase = "add"
    for message in case["messages"]:
        if phase == "add" and "contribution" not in message:
            collector.close()
            phase = "confirm"
        if phase == "confirm" and not {"confirm_request", "confirmation"} & set(message):
            if PLANS[case["name"]].adversary == "active":
                collector.settle()
            phase = "unmask"
        match message:
            case {"contribution": data, "vector": vector}:
                collector.add(unhex(data), memoryview(unhex(vector)))
            case {"confirm_request": data, "to": site}:
                assert collector.ask_confirm(site).hex() == data
            case {"confirmation": data}:
                collector.confirm(unhex(data))
            case {"unmask_request": data, "to": site}:
                assert collector.request(site).hex() == data
            case {"answer": data}:
                collector.answer(unhex(data))
    return collector


@cases("finish", "aggregates")
def test_a_whole_aggregate(case: Case) -> None:
    collector, plan = fed(case), PLANS[case["name"]]
    total = collector.finish()
    assert total.counts.tolist() == case["sum_of_counts"]
    assert (total.words & np.array((1 << plan.bits) - 1, plan.dtype)).tolist() == case["sum"]
    assert collector.faults == []
    quantizer = unpack(Quantizer, plan.quantizer)
    update = quantizer.decode(total.words)
    if plan.bits < 32:
        update = Rotation(plan.payload, len(case["sum_of_weight_times_update"])).inverse(update)
    assert update.tolist() == case["sum_of_weight_times_update"]


def test_who_answers_wrongly_is_named_and_the_sum_is_the_same() -> None:
    case = FILES["finish"]["aggregates"][0]
    collector = fed(case)
    assert collector.answer(unhex(case["wrong_answer"]["answer"])) == case["wrong_answer"]["from"]
    total = collector.finish()
    assert (total.counts.tolist(), total.words.tolist()) == (case["sum_of_counts"], case["sum"])
    assert {fault.split()[0] for fault in collector.faults} == {case["wrong_answer"]["from"]}


def test_too_few_right_shares_give_no_sum() -> None:
    """One answer less, and the wrong one in its place."""
    case = FILES["finish"]["aggregates"][0]
    messages = [*case["messages"][:-1], case["wrong_answer"]]
    collector = fed({**case, "messages": messages})
    with pytest.raises(OperatorError, match="expected 3 right shares, got 2"):
        collector.finish()


# messages.json


@cases("messages", "requests")
def test_a_request(case: Case) -> None:
    body = read_request(unhex(case["data"]))
    assert isinstance(body, Step | ConfirmBody | Unmask)
    assert type(body).__name__.lower() == case["kind"]
    assert write_request(body).hex() == case["data"]
    check_operator(body, unhex(FILES["messages"]["operator_public"]))
    if isinstance(body, Step):
        assert payload_digest(body.payload) == body.plan.payload


@cases("messages", "replies")
def test_a_reply(case: Case) -> None:
    body = read_reply(unhex(case["data"]))
    assert type(body).__name__.lower() == case["kind"]
    assert write_reply(body).hex() == case["data"]
    if isinstance(body, Contributed):
        file = FILES["messages"]
        body.check(unhex(file["site_public"]), unhex(file["shown_is_for_plan"]))


@cases("messages", "bad_requests")
def test_a_bad_request_is_refused(case: Case) -> None:
    with refused(case):
        read_request(unhex(case["data"]))


@cases("messages", "bad_replies")
def test_a_bad_reply_is_refused(case: Case) -> None:
    with refused(case):
        read_reply(unhex(case["data"]))


@cases("messages", "bad_operator")
def test_what_the_operator_did_not_sign_is_refused(case: Case) -> None:
    body = read_request(unhex(case["data"]))
    assert isinstance(body, Step | ConfirmBody | Unmask)
    with refused(case):
        check_operator(body, unhex(FILES["messages"]["operator_public"]))


def test_every_field_of_a_record_is_in_the_vectors_order() -> None:
    """Konsil's records and docs/protocol.md name the same fields."""
    for record in (JoinRecord, Plan, Contribution):
        assert list(record.__struct_fields__) == records.FIELDS[record.__name__].split()

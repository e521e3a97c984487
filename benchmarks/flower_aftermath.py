"""What a second run tells, and what lies about after a round: Konsil's part of the attacks on Flower's SecAgg+."""

import numpy as np
from flower_ward import Here, Ward, left_over, relayed, said
from msgspec.structs import replace

from client.rounds import Rounds
from client.steps import Asked, survey, train_round
from client.workbench import Workbench, prepare_for
from shared.crypto.sealing import agree, derive
from shared.messages.replies import Answered, Refused
from shared.messages.requests import Confirm, Step, Unmask
from shared.messages.tasks import AnyTask, Task
from shared.secagg.collector import Total
from shared.secagg.masks import Counts
from shared.secagg.member import PAIR_LABEL
from shared.secagg.messages import UnmaskAnswer, UnmaskRequest
from shared.update import Codec
from shared.wire import digest, pack, unpack
from simulations.attacker import SURVEY, Attacker
from simulations.loot import Loot
from simulations.stage import Stage, at_sites
from simulations.strikes import COLLUDER, NAMES, PEER, VICTIM


def restart_with_fewer(ward: Ward) -> Here:
    """In the same run, in a second one, and in a second one where the policy wants all three; without privacy."""
    found = {}
    for what, recovered in (("survey", _survey_recovered), ("update", _update_recovered)):
        first, second = ward.attacker(), ward.attacker()
        task = SURVEY if what == "survey" else first.train_task()
        everybody, _ = _opened(first, task, NAMES)
        fewer, _ = _opened(second, task, (VICTIM, PEER))
        found[what] = everybody is not None and fewer is not None and recovered(ward, first, everybody, fewer)
    _, within = _opened(first, task, (VICTIM, PEER), attempt=2)
    _, strict = _opened(ward.attacker(line="min_cohort = 3"), SURVEY, (VICTIM, PEER))
    part = " and ".join(what for what, works in found.items() if works)
    gained = f"the {part} of one hospital, but for rounding" if part else "nothing"
    return Here(
        f"a second run of the same study gives {gained} (rule 6 of `client/rounds.py` holds within a run). In one run"
        f" nothing, refused: “{within}”. Second run, min_cohort = 3: “{strict}”",
        bool(part),
    )


def _survey_recovered(ward: Ward, _: Attacker, everybody: Total, fewer: Total) -> bool:
    """Whether the difference is the survey of COLLUDER, the one left out; the first count is 1."""
    return bool(np.array_equal((everybody.counts - fewer.counts)[1:], _own_counts(ward, COLLUDER)[1:]))


def _update_recovered(ward: Ward, attacker: Attacker, everybody: Total, fewer: Total) -> bool:
    """Whether the difference is its update but for rounding, which is new each time: less than a step at each site."""
    most, size = ward.study.federation.max_images, attacker.weights.size

    def codec(cohort: int) -> Codec:
        return Codec.of(ward.study, cohort=cohort, parameters=size, seed=bytes(32))

    sums = [codec(3).read(everybody, 3, most), codec(2).read(fewer, 2, most)]
    weight = sums[0].weight - sums[1].weight
    part = (sums[0].mean * np.float32(sums[0].weight) - sums[1].mean * np.float32(sums[1].weight)) / np.float32(weight)
    bench = Workbench(ward.local.home(COLLUDER), note=lambda *_, **__: None)
    seed = int.from_bytes(digest("konsil/augment/v1", COLLUDER.encode())[:4], "big") + ward.study.training.seed
    own = train_round(ward.study, attacker.train_task(), Asked(1, 3, bytes(32)), bench, seed=seed).plain
    words = np.empty(size, np.uint32)
    own.fill(0, words)
    step = codec(3).quantizer.bound / codec(3).quantizer.steps * most / weight
    truth = codec(3).quantizer.decode(words) * np.float32(most / weight)
    close = np.abs(part - truth).max() < (3 + 2 + 1) * step < np.abs(truth).max() / 10
    return weight == int(own.counts[3]) and bool(close)


def _opened(attacker: Attacker, task: AnyTask, names: tuple[str, ...], *, attempt: int = 1) -> tuple[Total | None, str]:
    """The sum of `task` over a cohort of `names`, or the victim's refusal."""
    plan = attacker.plan(task, attempt=attempt)
    cohort = tuple(record for record in plan.cohort if record.site in names)
    terms = attacker.terms(task, len(cohort))
    plan = replace(plan, cohort=cohort, threshold=terms.threshold, quantizer=terms.quantizer)
    step = attacker.step(VICTIM, task, plan)
    if isinstance(step, Refused):
        return None, said(step)
    collector = attacker.contributions(task, plan, names)
    reply = attacker.say(VICTIM, Confirm(request=collector.ask_confirm(VICTIM)))
    if isinstance(reply, Refused):
        return None, said(reply)
    attacker.confirm(collector, names)
    for name in names:
        answer = attacker.say(name, Unmask(request=collector.request(name)))
        if isinstance(answer, Refused):
            return None, said(answer)
        if isinstance(answer, Answered):
            collector.answer(answer.answer)
    return collector.finish(), ""


def _own_counts(ward: Ward, site: str) -> Counts:
    """What `site` masks in a survey."""
    home = ward.local.home(site)
    return survey(ward.study, prepare_for(home, ward.study), home.policy.evaluation.smallest_count).plain.counts


def secrets_in_context(ward: Ward) -> Here:
    """After the round: a thief of the victim's disk has its run key; the coordinator kept every answer."""
    attacker = ward.attacker()
    home = ward.local.home(VICTIM)
    rounds = Rounds(home.path / "rounds.sqlite")
    plan = attacker.plan(SURVEY)
    stage = at_sites(attacker, SURVEY, plan)
    state = rounds.answer(plan.digest(), ()).need()
    secrets = [seed for seed in state.seeds if seed] + [opener for opener in state.openers if opener]
    before = left_over(home.path, secrets)
    step = Step(plan=plan, payload=memoryview(pack(Task(body=SURVEY))))
    _, context = relayed(ward, attacker.request(step), "train")
    answers = _unmasked(attacker, stage)
    after = left_over(home.path, secrets)
    disk, both = Loot(stage), Loot(stage)
    for site, answer in answers.items():
        both.take(site, NAMES, answer)
    joined = rounds.run(plan.run)
    for other in (PEER, COLLUDER):
        if joined is not None:
            public = attacker.records[other].public_key
            secret = agree(joined.key.private, public)
            seed = derive(secret, salt=plan.digest(), label=PAIR_LABEL, parts=(VICTIM, other))
            pair = (NAMES.index(VICTIM), NAMES.index(other))
            disk.seeds[pair] = both.seeds[pair] = seed
    alone, together = disk.sum_over((VICTIM,)), both.sum_over((VICTIM,))
    works = together is not None and np.array_equal(together.counts, _own_counts(ward, VICTIM))
    found = "its survey, exactly (until the run key goes, 30 days after the run was last used)" if works else "nothing"
    return Here(
        f"{before} of {len(secrets)} secrets of the round on the hospital's disk before it is unmasked, {after} after."
        f" The disk after the round with the masked vector: {'nothing' if alone is None else 'all'}. The disk with all"
        f" that the coordinator received: {found}. Flower's context holds {len(context.state)} records",
        works,
    )


def _unmasked(attacker: Attacker, stage: Stage) -> dict[str, UnmaskAnswer]:
    """An honest end of the round."""
    collector = attacker.settled(SURVEY, stage.plan, NAMES)
    found = {}
    for name in NAMES:
        reply = attacker.ask_unmask(name, unpack(UnmaskRequest, collector.request(name)))
        if isinstance(reply, Answered):
            found[name] = unpack(UnmaskAnswer, reply.answer)
    return found

"""What a second run tells, and what lies about after a round: Konsil's part of the attacks on Flower's SecAgg+."""

import numpy as np
from flower_ward import Here, Ward, left_over, relayed, said
from msgspec.structs import replace

from client.rounds import Rounds
from client.steps import prepare_for, survey
from shared.crypto.sealing import agree, derive
from shared.messages import Answered, Confirm, Refused, Step, Task, Unmask
from shared.secagg.collector import Total
from shared.secagg.masks import Counts
from shared.secagg.member import PAIR_LABEL
from shared.secagg.messages import UnmaskAnswer, UnmaskRequest
from shared.wire import pack, unpack
from simulations.attacker import Attacker
from simulations.attacks import SURVEY
from simulations.mixed_views import Loot, Stage, at_sites
from simulations.strikes import COLLUDER, NAMES, PEER, VICTIM


def restart_with_fewer(ward: Ward) -> Here:
    """In the same run, in a second one, and in a second one where the policy wants all three."""
    attacker = ward.attacker()
    everybody, _ = _opened(attacker, NAMES, attempt=1)
    _, within = _opened(attacker, (VICTIM, PEER), attempt=2)
    fewer, _ = _opened(ward.attacker(), (VICTIM, PEER), attempt=1)
    _, strict = _opened(ward.attacker(line="min_cohort = 3"), (VICTIM, PEER), attempt=1)
    part = everybody.counts - fewer.counts if everybody is not None and fewer is not None else None
    works = part is not None and np.array_equal(part[1:], _own_counts(ward, COLLUDER)[1:])
    told = "a second run of the same study gives " + ("one hospital's survey, exactly" if works else "nothing")
    return Here(
        f"{told} (rule 6 of `client/rounds.py` holds within a run). In one run nothing,"
        f" refused: “{within}”. Second run, min_cohort = 3: “{strict}”",
        works,
    )


def _opened(attacker: Attacker, names: tuple[str, ...], *, attempt: int) -> tuple[Total | None, str]:
    """The survey's sum over a cohort of `names`, or the victim's refusal."""
    plan = attacker.plan(SURVEY, attempt=attempt)
    cohort = tuple(record for record in plan.cohort if record.site in names)
    plan = replace(plan, cohort=cohort, threshold=attacker.terms(SURVEY, len(cohort)).threshold)
    step = attacker.step(VICTIM, SURVEY, plan)
    if isinstance(step, Refused):
        return None, said(step)
    collector = attacker.contributions(SURVEY, plan, names)
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
    return survey(prepare_for(ward.local.home(site), ward.study)).plain.counts


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

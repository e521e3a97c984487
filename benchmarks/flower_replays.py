"""Messages of other rounds and rounds set up anew: nothing is bound to run and round (published failures, 4)."""

from flower_arithmetic import update_of
from flower_attack import MODULUS, Outcome, attack, raised
from flower_round import Federation
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    parameters_mod,
    parameters_subtraction,
)


@attack("a stage asked twice in one round")
def asked_twice() -> Outcome:
    federation = Federation(4, threshold=3)
    keys = federation.setup()
    bundles = federation.share_all(keys)
    again = [raised(lambda: federation.share(1, keys))]
    for node in federation.nodes:
        federation.collect(node, bundles)
    again.append(raised(lambda: federation.collect(1, bundles)))
    federation.unmask(1, federation.nodes)
    again.append(raised(lambda: federation.unmask(1, [1, 2, 3], [4])))
    refused = all("Abort secure aggregation" in reason for reason in again)
    return ("nothing: each stage answers once" if refused else f"answers: {again}"), not refused


@attack("messages of an old round played again")
def old_messages() -> Outcome:
    federation = Federation(4, threshold=3)
    keys = federation.setup()
    bundles = federation.share_all(keys)
    for node in federation.nodes[:3]:
        federation.collect(node, [b for b in bundles if b.source != 4])
    new = federation.setup()
    old_keys = raised(lambda: federation.share(1, keys))
    fresh = federation.share_all(new)
    old_bundles = raised(lambda: federation.collect(1, bundles))
    federation.collect(1, fresh)
    # The lists carry no round: those of the first, where 4 was lost, are as good in the second, where it is alive.
    taken = federation.unmask(1, [1, 2, 3], [4]).keys.keys() == {4}
    kept = "old keys and bundles refused (every round has fresh keys)" if old_keys and old_bundles else "all taken"
    return f"little: {kept}; the old unmask request is answered, a living node's key share with it", taken


@attack("messages of different rounds in one run of the stages")
def wrong_round() -> Outcome:
    federation = Federation(3, threshold=2)

    def stages() -> None:
        federation.round = "1"
        keys = federation.setup()
        federation.round = "7"
        bundles = federation.share_all(keys)
        federation.round = "3"
        federation.collect(1, bundles)
        federation.round = ""
        federation.unmask(1, federation.nodes)

    reason = raised(stages)
    return reason or "nothing by itself: the round (group_id) is never read (a run has its own state)", not reason


@attack("set up anew with one site fewer, the same model")
def restart_with_fewer() -> Outcome:
    """No record of what was answered: the same update is masked for a second cohort; the sums differ by one."""
    federation, victim = Federation(4, threshold=3), 4
    _, masked = federation.until_masked()
    with_all = federation.summed(masked)
    keys = federation.setup(federation.nodes[:3])
    bundles = federation.share_all(keys)
    fewer = federation.summed({node: federation.collect(node, bundles) for node in keys})
    plain = parameters_mod(parameters_subtraction(with_all, fewer), MODULUS)
    return federation.verdict(victim, update_of(plain), "two sums over the same updates (training must repeat itself)")

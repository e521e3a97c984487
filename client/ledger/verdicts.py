"""What the ledger says when it refuses: which limit, what it would be, and what can be done. Nobody's patients."""

from client.ledger.records import What
from shared.errors import RefusalError, SiteError


def exhausted(rule: str, where: str, limit: float, would_be: float) -> RefusalError:
    """A limit of policy.toml would be passed."""
    return RefusalError(
        f"privacy budget {where}",
        rule=rule,
        expected=f"at most ε = {limit:g} per patient",
        got=f"ε = {would_be:.3g} after the next round",
        do="This hospital trains no further; a study with fewer rounds or a smaller ε would fit.",
    )


def used_up(what: What, limit: float, would_be: float) -> RefusalError:
    """The study's own promise for one run would be broken."""
    if what == "evaluate":
        return RefusalError(
            "the study's own evaluation.epsilon",
            rule="study.evaluation.epsilon",
            expected=f"at most ε = {limit:g} per held-out patient in one run",
            got=f"ε = {would_be:.3g} after the next evaluation",
            do="Evaluations that were lost and repeated have used it up; the figures so far stand.",
        )
    return RefusalError(
        "the study's own privacy.epsilon",
        rule="study.epsilon",
        expected=f"at most ε = {limit:g} per patient in one run",
        got=f"ε = {would_be:.3g} after the next round",
        do="Rounds that were lost and repeated have used it up; the model so far stands.",
    )


def changed(*, patients: bool) -> SiteError:
    """A plan comes again with other patients, or with another event."""
    if patients:
        return SiteError(
            "training patients",
            expected="those this plan was charged for",
            got="others: the archive changed",
            do="Ask for the round anew, by a new plan.",
        )
    return SiteError(
        "noise of a plan",
        expected="that which this plan was charged for",
        got="another: Konsil was changed meanwhile",
        do="Ask for the round anew, by a new plan.",
    )

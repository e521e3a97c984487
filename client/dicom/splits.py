"""Which part of a study a patient belongs to: it follows from the patient's keyed hash alone.

Guarantees: a patient is in one part only, and stays there when images come and go or the shares are asked for again;
with folds, every patient is held out for the test in exactly one of them. The draw is HMAC-SHA256 under the site's key:
nobody else can tell or choose a patient's part.
"""

import hmac

from client.images import Split
from shared.study import Evaluation

#: Of the draw; all arithmetic is whole numbers, so that folds leave no patient out.
_BITS = 64


def split_of(key: bytes, patient: bytes, evaluation: Evaluation) -> Split:
    """The part of `patient`, a keyed hash.

    Without folds: uniform in [0, 1), below `test` first, then `validation`, then training. With folds: the `fold`-th of
    equal parts of [0, 1) is the test, `validation` of what is left, beginning behind it, the validation.
    """
    drawn = int.from_bytes(hmac.digest(key, b"konsil/split/v1" + patient, "sha256")[: _BITS // 8], "big")
    if evaluation.folds:
        return _folded(drawn, evaluation)
    uniform = drawn / 2**_BITS
    test, validation = evaluation.test, evaluation.validation
    return Split.TEST if uniform < test else Split.VALIDATION if uniform < test + validation else Split.TRAIN


def _folded(drawn: int, evaluation: Evaluation) -> Split:
    folds = evaluation.folds
    if drawn * folds >> _BITS == evaluation.fold:
        return Split.TEST
    behind = (drawn * folds - (evaluation.fold + 1 << _BITS)) % (folds << _BITS)  # of `folds`, in units of 2^−64
    return Split.VALIDATION if behind < evaluation.validation * (folds - 1) * 2.0**_BITS else Split.TRAIN

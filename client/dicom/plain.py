"""A value as pydicom has it → its text, never that of a sequence.

str() of a sequence writes out all that is in it; where an element in it is damaged, pydicom puts the trace of each
error into the next, twice as long at every level: a header of 75 kB took 6 GB. So what may be one is made text here.
"""

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence


def plain(value: object) -> str:
    """`value` as text; empty for None, a sequence, an item of one."""
    return "" if value is None or isinstance(value, Dataset | Sequence) else str(value)

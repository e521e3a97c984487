"""The words and numbers that a study file may hold, by what they mean."""

from typing import Annotated

from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}\Z")]
Label = Annotated[str, Meta(min_length=1, max_length=64)]
#: DICOM code string, as in Modality (PS3.5 §6.2)
Modality = Annotated[str, Meta(pattern=r"\A[A-Z0-9]{1,16}\Z")]
#: of a task, a model, an algorithm, and of their options
Word = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]
OptionText = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{0,64}\Z")]
#: what a section leaves to whatever its name names (shared/options.py)
Options = dict[Word, int | float | OptionText]
Positive = Annotated[float, Meta(gt=0, lt=1e9)]
NotNegative = Annotated[float, Meta(ge=0, lt=1e9)]
Count = Annotated[int, Meta(ge=1)]
Fraction = Annotated[float, Meta(gt=0, lt=1)]
Side = Annotated[int, Meta(ge=8, le=4096)]

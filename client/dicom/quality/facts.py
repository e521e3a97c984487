"""What quality needs to know of one image's header: no identity, only keyed hashes, and words as scanners write them.

One file stands between the catalog's entries and everything that counts them.
"""

from dataclasses import dataclass, field

from client.dicom.scanning.entry import Entry

#: Presentation Intent Type of raw detector data (0008,0068).
FOR_PROCESSING = "FOR PROCESSING"


@dataclass(frozen=True)
class Facts:
    """One image. Hashes as in the catalog; texts empty and numbers 0 where the header says nothing."""

    sop: bytes = field(repr=False)
    series: bytes = field(repr=False)
    patient: bytes = field(repr=False)
    labels: tuple[str, ...] = ()
    modality: str = ""
    manufacturer: str = ""
    year: str = ""
    view: str = ""
    laterality: str = ""
    body_part: str = ""
    intent: str = ""
    photometric: str = ""
    transfer_syntax: str = ""
    rows: int = 0
    columns: int = 0
    bits: int = 0
    orphan: bool = False

    @classmethod
    def of(cls, entry: Entry, labels: tuple[str, ...]) -> "Facts":
        """What the catalog's `entry` says; `labels` are the label file's."""
        return cls(
            sop=entry.sop,
            series=entry.series,
            patient=entry.patient,
            labels=labels,
            modality=entry.modality,
            manufacturer=entry.manufacturer,
            year=str(entry.year or ""),
            view=entry.view_position,
            laterality=entry.laterality,
            body_part=entry.body_part,
            intent=entry.intent,
            photometric=entry.photometric,
            transfer_syntax=entry.transfer_syntax,
            rows=entry.rows,
            columns=entry.columns,
            bits=entry.bits_stored,
            orphan=entry.orphan,
        )

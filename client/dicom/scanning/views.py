"""Which way a mammogram was taken: the View Code Sequence (0054,0220) says it, View Position often does not.

PS3.3 C.8.11.7.1.4 has the code; the abbreviations are those of its table. Codes of both editions of SNOMED in PS3.16
CID 4014 are known: the old ones stand in most archives.

    >>> view(first_code(value), "")
    'MLO'
"""

_ITEM = b"\xfe\xff\x00\xe0"
_CODE_VALUE = b"\x08\x00\x00\x01"

_VIEWS = {
    "399162004": "CC", "R-10242": "CC",
    "399368009": "MLO", "R-10226": "MLO",
    "399260004": "ML", "R-10224": "ML",
    "399352003": "LM", "R-10228": "LM",
    "399099002": "LMO", "R-10230": "LMO",
    "399196006": "FB", "R-10244": "FB",
    "399188001": "SIO", "R-102D0": "SIO",
    "441555000": "ISO", "R-40AAA": "ISO",
    "399192008": "XCCL", "R-1024A": "XCCL",
    "399101009": "XCCM", "R-1024B": "XCCM",
}  # fmt: skip


def view(code: str, position: str) -> str:
    """What `code` stands for, else View Position as it is written."""
    return _VIEWS.get(code, position)


def first_code(sequence: bytes) -> str:
    """The Code Value of the first item of a sequence of codes, in little endian; "" if it does not begin with one."""
    if sequence[:4] != _ITEM or sequence[8:12] != _CODE_VALUE:
        return ""
    explicit = sequence[12:14] == b"SH"
    length = int.from_bytes(sequence[14:16] if explicit else sequence[12:16], "little")
    return sequence[16 : 16 + min(length, 16)].strip(b"\0 ").decode("ascii", "replace")  # SH: 16 characters

"""The hospitals of a command line: NAME=ARCHIVE, once for each."""

from pathlib import Path

from shared.errors import InputError


def archives_of(options: list[str]) -> dict[str, Path]:
    """Names and folders. Raises InputError for one that is none, or for a name twice."""
    archives: dict[str, Path] = {}
    for option in options:
        name, separator, path = option.partition("=")
        if not separator or not name or not path:
            raise InputError("--site", expected="NAME=ARCHIVE", got=option, do="Give a name and a folder.")
        if name in archives:
            raise InputError("--site", expected="each name once", got=f"{name} twice", do="Rename one.")
        archives[name] = Path(path)
    return archives

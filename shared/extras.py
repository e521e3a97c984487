"""Libraries that only some commands need, and what to do where they are not installed.

need("optuna", extra="search")
"""

from importlib.util import find_spec

from shared.errors import InputError


def need(*libraries: str, extra: str) -> None:
    """Raise InputError unless all `libraries` are installed, as `pip install konsil[extra]` does."""
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        do = f"Install it: pip install 'konsil[{extra}]'"
        raise InputError("this command", expected=f"{', '.join(missing)} installed", got="none", do=do)

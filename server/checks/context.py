"""What the checks of the coordinator share: its settings, read once."""

from dataclasses import dataclass
from functools import cached_property

from server.home import ServerConfig, ServerHome
from shared.checks import NotCheckedError
from shared.errors import KonsilError
from shared.study import Study


@dataclass(frozen=True)
class Context:
    """The coordinator in `home`; `study`, if given, is what it is to be ready for."""

    home: ServerHome
    study: Study | None = None
    timeout_s: float = 5.0

    @cached_property
    def config(self) -> ServerConfig:
        """server.toml. Raises NotCheckedError where it cannot be used; `settings` says why."""
        try:
            return self.home.config
        except KonsilError:
            raise NotCheckedError("server.toml cannot be used") from None

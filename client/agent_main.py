"""The agent as a process: `python -m client.agent_main HOME SOCKET`."""

import sys
from pathlib import Path

from client.agent import Agent
from client.home import Home
from shared.console import run_main
from shared.supervise import stop_on_signals

if __name__ == "__main__":
    home, at = Home(Path(sys.argv[1])), Path(sys.argv[2])
    run_main("konsil-client agent", lambda: Agent(home, at, stop_on_signals()).serve())

import json
import threading

import pytest

from shared.journal import now, tell


def test_one_line_per_event(capsys: pytest.CaptureFixture[str]) -> None:
    tell("registered", node="4711", seconds=1.5, again=None, well=True)
    line = json.loads(capsys.readouterr().out)
    assert line.pop("at") <= now()
    assert line == {"event": "registered", "node": "4711", "seconds": 1.5, "again": None, "well": True}


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "\x9b2J", "\u2028", "ε", "\ud800", '"}'])
def test_no_text_breaks_the_line_or_steers_a_terminal(capsys: pytest.CaptureFixture[str], text: str) -> None:
    tell("trouble", why=text)
    out = capsys.readouterr().out
    assert out.isascii()
    assert all(character.isprintable() for character in out[:-1])
    assert json.loads(out)["why"] == text


def test_lines_of_many_threads_stay_whole(capfd: pytest.CaptureFixture[str]) -> None:
    def work(n: int) -> None:
        for _ in range(50):
            tell("e", n=n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [json.loads(line)["n"] for line in capfd.readouterr().out.splitlines()]
    assert sorted(found) == sorted(list(range(8)) * 50)

import socket
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client import frames
from shared.errors import PeerError, SiteError

KINDS = st.sampled_from([frames.MESSAGE, frames.REPORT, frames.STATUS])


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(5.0)
    with ours, theirs:
        yield ours, theirs


def read(data: bytes) -> tuple[frames.Kind, bytes]:
    """What the reader makes of `data` and the end of the line."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.close()
        kind, length = frames.receive_kind(ours)
        return kind, frames.receive_data(ours, length)


@given(KINDS, st.binary(max_size=300))
def test_what_is_sent_is_read(kind: frames.Kind, data: bytes) -> None:
    assert read(kind + len(data).to_bytes(8, "big") + data) == (kind, data)


@given(st.binary(max_size=40))
def test_anything_else_is_a_peers_error(data: bytes) -> None:
    try:
        kind, found = read(data)
    except PeerError:
        return
    assert data.startswith(kind + len(found).to_bytes(8, "big") + found)


@given(KINDS, st.integers(min_value=1, max_value=2**64))
def test_no_length_beyond_the_limit_is_read(kind: frames.Kind, beyond: int) -> None:
    length = min(frames.LIMITS[kind] + beyond, 2**64 - 1)
    with pytest.raises(PeerError, match="known kind and length"):
        read(kind + length.to_bytes(8, "big"))


@given(KINDS, st.binary(min_size=1, max_size=100), st.data())
def test_a_frame_that_stops_is_an_error(kind: frames.Kind, data: bytes, draw: st.DataObject) -> None:
    whole = kind + len(data).to_bytes(8, "big") + data
    with pytest.raises(PeerError, match="then the end"):
        read(whole[: draw.draw(st.integers(0, len(whole) - 1))])


def test_a_silent_writer_is_cut_off(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.settimeout(0.05)
    theirs.sendall(frames.MESSAGE + (5).to_bytes(8, "big") + b"four")
    assert frames.receive_kind(ours) == (frames.MESSAGE, 5)
    with pytest.raises(TimeoutError):
        frames.receive_data(ours, 5)


def test_a_writer_that_drips_is_cut_off(pair: tuple[socket.socket, socket.socket]) -> None:
    """Each byte comes in time, the megabyte does not."""
    ours, theirs = pair
    ours.settimeout(0.2)
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.02):
            theirs.send(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    with pytest.raises(PeerError, match="within"):
        frames.receive_data(ours, 1000)
    stop.set()
    dripping.join()


def serve_once(path: Path, answer: bytes) -> threading.Thread:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with listener, connection:
            frames.receive_data(connection, frames.receive_kind(connection)[1])
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_an_answer(tmp_path: Path) -> None:
    thread = serve_once(tmp_path / "s", frames.MESSAGE + (3).to_bytes(8, "big") + b"yes")
    assert frames.ask(tmp_path / "s", frames.MESSAGE, b"?", timeout_s=5.0) == b"yes"
    thread.join()


@pytest.mark.parametrize(
    "answer", [b"", b"m", b"s" + bytes(8), b"m" + b"\xff" * 8, b"m" + (9).to_bytes(8, "big") + b"4"]
)
def test_a_broken_answer_is_the_sites_error(tmp_path: Path, answer: bytes) -> None:
    thread = serve_once(tmp_path / "s", answer)
    with pytest.raises(SiteError, match="Start it"):
        frames.ask(tmp_path / "s", frames.MESSAGE, b"?", timeout_s=5.0)
    thread.join()


def test_nobody_at_home(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="expected an answer, got No such file"):
        frames.ask(tmp_path / "none", frames.STATUS, b"", timeout_s=1.0)


def test_nothing_too_long_is_sent(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=f"at most {1 << 14}"):
        frames.ask(tmp_path / "none", frames.REPORT, bytes((1 << 14) + 1), timeout_s=1.0)


def test_a_length_alone_costs_no_memory() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(bytes(3 << 10))
        theirs.close()
        tracemalloc.start()
        with pytest.raises(PeerError, match="then the end"):
            frames.receive_data(ours, 1 << 30)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
        tracemalloc.stop()

"""The page in a real browser, over TLS: log in by the form, read every page, and ask no other host for anything."""

import fcntl
import itertools
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from server.home import ServerHome
from shared.files import write_atomically

PASSWORD = "correct horse battery"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--ignore-certificate-errors",
    "--remote-debugging-pipe", "about:blank",
)  # fmt: skip
#: Chromium reads commands from file 3 and answers on file 4.
LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


class Browser:
    """One tab, driven over the DevTools protocol through two pipes."""

    def __init__(self, profile: Path) -> None:
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for pair in (os.pipe(), os.pipe()) for end in pair]
        theirs, self._to, self._from, answers = ends
        command = [sys.executable, "-c", LAUNCH, str(theirs), str(answers), str(CHROMIUM), *FLAGS]
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}"], pass_fds=(theirs, answers), stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        os.close(answers)
        self._ids, self._rest, self._session = itertools.count(1), b"", ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Network", "Page", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._from], [], [], 60)[0], "Chromium is silent"
            piece = os.read(self._from, 1 << 16)
            assert piece, "Chromium ended"
            self._rest += piece
        whole, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(whole)
        return found

    def load(self, act: str, *arguments: str) -> str:
        """Do `act` in the page, wait until the next page is there, and return its text."""
        done = len(self.events)
        if act == "go":
            self.call("Page.navigate", url=arguments[0])
        else:
            self.run(act)
        while not any(seen["method"] == "Page.loadEventFired" for seen in self.events[done:]):
            self.events.append(self._next())
        return str(self.run("document.body.innerText"))

    def run(self, script: str) -> object:
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def urls(self) -> list[str]:
        sent = [seen["params"] for seen in self.events if seen["method"] == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent]

    def complaints(self) -> list[str]:
        """What the browser wrote into its console: blocked by a content policy, for one."""
        return [seen["params"]["entry"]["text"] for seen in self.events if seen["method"] == "Log.entryAdded"]


@pytest.fixture
def address(made: ServerHome, tmp_path: Path) -> Iterator[str]:
    """The page, served by its own process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    write_atomically(made.path / "server.toml", f'host = "127.0.0.1"\nweb_port = {port}\n'.encode())
    certify(made.tls)
    with subprocess.Popen([sys.executable, "-m", "server.web", str(made.path)]) as process:
        try:
            for _ in range(300):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None
                time.sleep(0.1)
            yield f"https://127.0.0.1:{port}"
        finally:
            process.terminate()


def certify(folder: Path) -> None:
    """A certificate for this test."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    certificate = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    write_atomically(folder / "server.pem", certificate.public_bytes(pem))
    private = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    write_atomically(folder / "server.key", private, mode=0o600)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    found = Browser(tmp_path / "profile")
    yield found
    found.close()


def test_log_in_and_read_every_page(address: str, browser: Browser) -> None:
    assert "Password of the operator" in browser.load("go", address)
    fill = "document.querySelector('#password').value = '{}'; document.querySelector('form').submit()"
    assert "That is not the password." in browser.load(fill.format("wrong horse battery"))
    time.sleep(1.1)  # the delay after the first wrong password
    assert "chest-nodules" in browser.load(fill.format(PASSWORD))
    assert browser.run("document.cookie") == ""
    assert browser.run("getComputedStyle(document.querySelector('.top')).display") == "flex"
    running = browser.load("go", f"{address}/runs/chest-2")
    assert "<script>alert(1)</script>" in running and "Round 5 of 12, train: 1 of 2 hospitals answered." in running
    assert float(str(browser.run("document.querySelector('polyline').getTotalLength()"))) > 100
    assert "Konsil report" in browser.load("go", f"{address}/runs/chest-1/report")
    assert browser.run("origin") == "null"  # sandboxed
    assert browser.run("getComputedStyle(document.querySelector('.tiles')).display") == "grid"
    for page, words in (("sites", "never seen"), ("models", "SHA-256"), ("nowhere", "Not found")):
        assert words in browser.load("go", f"{address}/{page}")
    assert browser.load("document.querySelector('.quiet').click()").strip().startswith("Konsil")
    assert "Password of the operator" in browser.load("go", f"{address}/sites")
    asked = set(browser.urls())
    assert len(asked) > 8
    assert [url for url in asked if not url.startswith((address + "/", "data:,", "about:"))] == []
    assert [text for text in browser.complaints() if "404" not in text and "401" not in text] == []

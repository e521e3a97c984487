"""The record, its verdict and its page: the same figures everywhere, nothing loaded, nothing from outside unescaped."""

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from simulations.audit.guesses import Guesses
from simulations.audit.membership import judged
from simulations.audit.page import render, write_page
from simulations.audit.record import Audit, Canaries, headline, read_audit, said_of_membership, write_audit

CANARIES = Canaries(
    mode="distributed",
    noise="as promised",
    delta=1e-5,
    asked=8.0,
    accounted=8.0,
    tight=7.3,
    noise_multiplier=1.5,
    sampling_rate=0.3,
    steps=20,
    sites=3,
    colluders=1,
    canaries=4096,
    guesses=(Guesses(canaries=4096, made=4096, right=3000), Guesses(canaries=4096, made=1024, right=1000)),
    promised=1.5,
    measured=1.51,
    empirical=2.9,
    empirical_pair=2.1,
    contradicted=False,
)
MEMBERSHIP = judged(np.arange(500.0) % 7, np.arange(500) < 300, shadows=16, allowed=(0.06, 0.011))
AUDIT = Audit(
    run="nodules-0123",
    study="nodules",
    hash="ab" * 32,
    canaries=CANARIES,
    membership=MEMBERSHIP,
    notes=(),
    seconds=75.0,
    versions={"konsil": "0.1.0"},
)
ALARM = replace(AUDIT, canaries=replace(CANARIES, empirical=9.1, contradicted=True))
BARE = replace(ALARM, canaries=replace(CANARIES, empirical=31.0, contradicted=True, noise="none"), membership=None)
OFF = replace(AUDIT, canaries=None, membership=None, notes=("privacy is <off>", "no model"))
ALL = [AUDIT, ALARM, replace(BARE, notes=("only canaries",)), OFF]


class Page(HTMLParser):
    """Tags, and what is wrong with how they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_verdict_says_what_was_found() -> None:
    assert headline(AUDIT) == "empirical ε 2.90 (95 %) of 8.00 accounted: no contradiction"
    assert headline(ALARM) == (
        "ALARM: empirical ε 9.10 (95 %) of 8.00 accounted: the run was not as private as it said"
    )
    assert headline(BARE).startswith("ALARM, as it must be without noise: ")
    assert headline(OFF) == "no promise to audit: the study's privacy is off"
    assert [audit.alarm for audit in ALL] == [False, True, True, False]
    assert re.match(r"membership inference: AUC 0\.\d{3} \(.*\); at 1 % false alarms", said_of_membership(MEMBERSHIP))


@pytest.mark.parametrize("audit", ALL)
def test_the_record_comes_back_as_it_was(audit: Audit, tmp_path: Path) -> None:
    assert read_audit(write_audit(audit, tmp_path)) == audit
    assert write_audit(audit, tmp_path, "other") == tmp_path / "other.json"


def test_a_damaged_record_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text('{"run": 3}')
    with pytest.raises(msgspec.DecodeError):
        read_audit(tmp_path / "audit.json")


@pytest.mark.parametrize("audit", ALL)
def test_the_page_is_whole_and_loads_nothing(audit: Audit) -> None:
    text = render(audit)
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "style src"} & {tag for tag, _ in page.tags}
    assert not [attrs for _, attrs in page.tags if {"src", "href", "onload", "style"} & set(attrs)]
    assert "default-src 'none'" in text
    assert "http://" not in text
    assert "https://" not in text
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert ("html", {"lang": "en"}) in page.tags
    assert render(audit) == text


@pytest.mark.parametrize("audit", ALL)
def test_drawings_speak_and_tables_have_heads(audit: Audit) -> None:
    page = Page(render(audit))
    assert all(attrs.get("aria-label") and attrs["role"] == "img" for tag, attrs in page.tags if tag == "svg")
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")
    drawn = sum(tag == "svg" for tag, _ in page.tags)
    assert drawn == (audit.canaries is not None) + (audit.membership is not None)


def test_the_page_says_what_the_record_says() -> None:
    text = render(AUDIT)
    assert headline(AUDIT) in text
    assert "4,096 canaries were planted" in text
    assert "accounted 8.00" in text
    assert "proven 2.90" in text
    assert 'class="verdict"' in text
    assert 'class="verdict bad"' in render(ALARM)
    assert "hospitals added no noise at all" in render(ALL[2])
    assert "only canaries" in render(ALL[2])


def test_words_from_outside_are_words() -> None:
    text = render(replace(OFF, study="<b>\x1b[31m&", run="x\u202ey"))
    assert "<b>\x1b" not in text
    assert "&lt;b&gt;" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "privacy is &lt;off&gt;" in text


def test_the_page_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    assert write_page(AUDIT, tmp_path).read_text("utf-8") == render(AUDIT)
    assert write_page(AUDIT, tmp_path, "other") == tmp_path / "other.html"

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from server.report import verdict
from server.report.html import render, write_report
from server.report.result import LeftOut, Result, SiteAuc, read_result, write_result

SECTIONS = (
    "How well the model tells them apart",
    "Hospital by hospital",
    "Was it worth it? Alone, pooled, federated",
    "Round by round",
    "Who took part",
    "Images used and skipped",
    "The training images, surveyed",
    "Privacy spent",
    "What is promised, and on what it rests",
    "What the coordinator could see",
    "Bytes and time",
    "The study as agreed",
)
HOSTILE = "<script>alert('x')</script><img src=\"http://evil.example/p.png\">\x1b[31m\u202e{{ 7*7 }}"
replace = msgspec.structs.replace


class Page(HTMLParser):
    """Elements, what they would load, and the text, of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.styles: list[str] = []
        self.feed(page)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_data(self, data: str) -> None:
        (self.styles if self.tags and self.lasttag == "style" and "{" in data else self.words).append(data)


def text_of(result: Result) -> str:
    return Page(render(result)).text


def verdict_of(result: Result) -> str:
    """Headline and findings, each problem marked: what TestPage finds at the top of the page."""
    found = verdict.findings(result)
    marked = [" ".join(("Problem " * (f.level == "bad") + f.text, *f.items)) for f in found]
    return " ".join((verdict.headline(result), *marked))


@pytest.fixture(scope="session")
def pages(good: Result, troubled: Result, large: Result, priced: Result) -> dict[str, str]:
    return {"good": render(good), "troubled": render(troubled), "large": render(large), "priced": render(priced)}


class TestEveryRun:
    @pytest.fixture(params=["good", "troubled", "large", "priced"])
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def page(self, name: str, pages: dict[str, str]) -> str:
        return pages[name]

    @pytest.fixture
    def result(self, name: str, request: pytest.FixtureRequest) -> Result:
        found = request.getfixturevalue(name)
        assert isinstance(found, Result)
        return found

    def test_loads_nothing_from_outside(self, page: str) -> None:
        parsed = Page(page)
        assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(parsed.tags)
        for tag, key, value in parsed.attributes:
            assert key not in ("src", "srcset", "action", "data", "poster"), (tag, key)
            assert not key.startswith("on"), (tag, key)
            assert key != "href" or value.startswith("#"), (tag, value)
            assert "url(" not in value or value.startswith("url(#"), (tag, value)
        assert not re.search(r"url\(|@import", " ".join(parsed.styles)) and parsed.styles
        assert "http://" not in page and "https://" not in page
        assert "default-src 'none'" in page

    def test_holds_every_section(self, result: Result, page: str) -> None:
        text = Page(page).text
        assert [name for name in SECTIONS if name not in text] == []
        assert result.study.hash in text and result.run in text

    def test_opens_with_its_verdict(self, result: Result, page: str) -> None:
        found = verdict.findings(result)
        text = Page(page).text
        places = [text.index(verdict.headline(result)), *(text.index(f.text) for f in found)]
        assert places == sorted(places) and places[-1] < text.index("Pooled AUC")
        assert all(item in text for f in found for item in f.items)
        assert ('class="verdict bad"' in page) == any(f.level == "bad" for f in found)

    def test_same_bytes_twice_through_result_json_in_one_small_file(
        self, result: Result, page: str, tmp_path: Path
    ) -> None:
        path = write_report(read_result(write_result(result, tmp_path)), tmp_path / "out")
        assert [p.name for p in (tmp_path / "out").iterdir()] == ["report.html"] == [path.name]
        assert path.read_bytes() == page.encode()
        assert len(page.encode()) < 2_000_000

    def test_every_table_has_headers_and_every_figure_a_name(self, page: str) -> None:
        for table in re.findall(r"<table.*?</table>", page, re.DOTALL):
            assert "<th scope=" in table, table[:200]
        for svg in re.findall(r"<svg[^>]*>", page):
            assert 'aria-label="' in svg

    def test_every_element_is_closed_and_no_id_stands_twice(self, page: str) -> None:
        for tag in ("section", "table", "tr", "figure", "svg", "div", "ul", "li", "dl", "p"):
            assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag
        ids = re.findall(r'\bid="([^"]+)"', page)
        assert len(ids) == len(set(ids))

    def test_no_figure_leaks_as_none_or_nan(self, page: str) -> None:
        assert not re.search(r"\b(None|nan|NaN|null|Undefined)\b", Page(page).text)


class TestVerdict:
    def test_a_good_run_is_said_plainly(self, good: Result) -> None:
        text = verdict_of(good)
        assert "every hospital took part in every round" in text
        assert "beats its best member" in text and "ε 7.93 at δ 10⁻⁵" in text
        assert "Problem" not in text

    def test_a_lost_hospital_is_named_with_its_reason(self, troubled: Result) -> None:
        text = verdict_of(troubled)
        assert "university is in no round's sum" in text and "policy.toml allows no study without privacy" in text
        assert "east trained in 3 of 6 rounds. Left out: rounds 4–6, train: no answer within 600 s" in text
        assert "north trained in 6 of 6 rounds. Left out: round 6, evaluate: cache: disk full" in text

    def test_a_run_that_stopped_says_when_and_why(self, troubled: Result) -> None:
        assert "stopped early after 6 of 12 rounds: 2 hospitals are left" in verdict_of(troubled)

    def test_mode_distributed_names_its_assumption(self, priced: Result) -> None:
        text = verdict_of(priced)
        assert "at most ε 7.93 at δ 10⁻⁵, if 2 hospitals in every sum add their noise as agreed." in text
        assert "Problem" not in text

    def test_evaluations_that_cost_more_than_allowed_are_a_problem(self, priced: Result) -> None:
        over = replace(priced.privacy["city"], evaluation=2.5)
        text = verdict_of(replace(priced, privacy={**priced.privacy, "city": over}))
        assert "Problem Privacy does not hold" in text and "city: held-out patients spent ε 2.50" in text

    def test_privacy_off_is_a_problem(self, troubled: Result) -> None:
        assert "Problem Differential privacy was off at every hospital" in verdict_of(troubled)

    def test_one_hospital_without_privacy_is_named(self, good: Result, troubled: Result) -> None:
        mixed = replace(good, privacy={**good.privacy, "north": troubled.privacy["north"]})
        assert "Differential privacy was off at 1 hospital" in verdict_of(mixed)
        assert "north: off" in verdict_of(mixed)

    def test_privacy_not_recorded_or_overspent_is_a_problem(self, good: Result) -> None:
        over = replace(good.privacy["city"], epsilon_run=8.5)
        rest = {site: own for site, own in good.privacy.items() if site != "east"}
        text = verdict_of(replace(good, privacy={**rest, "city": over}))
        assert "city: spent ε 8.50 at δ 10⁻⁵, more than the study's 8" in text
        assert "east: no figure recorded" in text

    def test_a_federation_below_its_best_member_is_a_problem(self, good: Result) -> None:
        assert good.baselines is not None
        best = replace(good.baselines.alone["north"], stratified_auc=0.99)
        worse = replace(good, baselines=replace(good.baselines, alone={**good.baselines.alone, "north": best}))
        assert "does not beat its best member" in verdict_of(worse) and "0.990 of north alone" in verdict_of(worse)

    def test_a_gap_within_the_interval_is_said(self, good: Result) -> None:
        assert good.baselines is not None and good.metrics is not None
        near = replace(good.baselines.alone["north"], stratified_auc=good.metrics.stratified_low)
        close = replace(good, baselines=replace(good.baselines, alone={"north": near}))
        assert "chance is not ruled out" in verdict_of(close)
        assert "Without a baseline: city, east, university" in verdict_of(close)

    def test_no_baselines_is_unknown_not_good(self, altered: Callable[..., Result]) -> None:
        assert "best member is not known" in verdict_of(altered(baselines=None))

    def test_a_hospital_that_vanishes_without_a_reason_is_still_named(self, good: Result) -> None:
        rows = tuple(
            replace(row, trained=tuple(s for s in row.trained if s != "city" or row.round < 9))
            for row in good.rounds.each
        )
        text = verdict_of(replace(good, rounds=replace(good.rounds, each=rows)))
        assert "city trained in 8 of 12 rounds. Left out: rounds 9–12, train: no reason recorded" in text

    def test_all_of_many_lost_hospitals_are_named(self, large: Result) -> None:
        text = verdict_of(large)
        assert [site for site in large.sites.expected if site not in text] == []

    def test_a_run_that_failed_before_its_first_round(self, good: Result) -> None:
        nothing = replace(good.rounds, count=0, best=0, each=())
        failed = replace(
            good,
            status="failed",
            because="disk full",
            rounds=nothing,
            metrics=None,
            baselines=None,
            privacy={},
            aggregation=None,
        )
        text = verdict_of(failed)
        assert "failed after 0 of 12 rounds: disk full" in text and "No round was completed" in text

    def test_fewer_rounds_than_planned_need_a_reason(self, good: Result) -> None:
        short = replace(good, rounds=replace(good.rounds, count=7))
        assert "7 of 12 planned rounds were run, and the record does not say why" in verdict_of(short)


class TestPage:
    def test_noisy_figures_say_that_they_are_and_by_how_much(self, pages: dict[str, str], priced: Result) -> None:
        assert priced.metrics is not None and priced.metrics.noise is not None
        noise, text = priced.metrics.noise, Page(pages["priced"]).text
        assert f"about {priced.metrics.n} patients whom no hospital trained on" in text
        assert f"standard deviation {noise.total:.1f} in the number of either kind" in text
        assert f"{noise.stratified_auc:.3f} in the site-stratified AUC" in text
        assert "carry noise" not in Page(pages["good"]).text.partition("Privacy spent")[0]

    def test_a_hospital_too_small_for_the_noise_is_said(self, pages: dict[str, str]) -> None:
        assert "north – too few held-out patients of one class to tell through the noise" in Page(pages["priced"]).text

    def test_the_audit_is_linked_where_it_lies_beside_the_report(self, good: Result, tmp_path: Path) -> None:
        assert "audit.html" not in write_report(good, tmp_path).read_text()
        (tmp_path / "audit.html").write_text("<p>audit")
        assert '<a href="audit.html">' in write_report(good, tmp_path).read_text()

    def test_null_figures_are_dashes_with_a_reason(self, pages: dict[str, str]) -> None:
        text = Page(pages["troubled"]).text
        for label in ("Site-stratified AUC", "Pooled AUC", "Mean of the hospitals’ AUCs", "Sensitivity", "Specificity"):
            assert f"{label} – the model was not judged on held-out patients" in text
        assert "0.000" not in text

    def test_a_class_missing_at_one_hospital(self, good: Result) -> None:
        assert good.metrics is not None
        one = SiteAuc(auc=None, n=12, positives=0, low=None, high=None)
        page = replace(good, metrics=replace(good.metrics, sites={**good.metrics.sites, "east": one}))
        assert "east – only one class among its held-out patients" in text_of(page)

    def test_a_policy_that_keeps_its_figure_is_said(self, pages: dict[str, str]) -> None:
        assert "university – not shown: the hospital's policy keeps it" in Page(pages["good"]).text

    def test_hostile_words_stay_words(self, good: Result) -> None:
        gone = LeftOut(site=HOSTILE, round=2, step=HOSTILE, reason=HOSTILE)
        hostile = replace(
            good,
            run=HOSTILE,
            because=HOSTILE,
            study=replace(good.study, name=HOSTILE, text=replace(good.study.text, name=HOSTILE)),
            sites=replace(good.sites, expected=(*good.sites.expected, HOSTILE), left_out=(gone,)),
            privacy={**good.privacy, HOSTILE: good.privacy["city"]},
            versions={HOSTILE: HOSTILE},
        )
        page = render(hostile)
        assert not {"script", "img"} & set(Page(page).tags)
        assert "&lt;script&gt;" in page and "{{ 7*7 }}" in page
        assert "\x1b" not in page and "\u202e" not in page

    def test_participation_shows_each_state(self, pages: dict[str, str]) -> None:
        row = '>east</th><td class="n">3 of 6</td><td>●<td>●<td>●<td class="e">○<td class="o">×<td class="o">×</tr>'
        assert row in pages["troubled"]

    def test_the_survey_says_what_is_hidden(self, pages: dict[str, str]) -> None:
        text = Page(pages["good"]).text
        assert "2 counts of labels and 7 bins of histograms, over all hospitals, are hidden so" in text
        assert "nodule 455 1.000" in text and "Mean 0.664, standard deviation 0.236" in text
        assert "– The record holds no survey." in Page(pages["troubled"]).text

    def test_a_survey_that_hid_all_has_no_histogram(self, altered: Callable[..., Result], good: Result) -> None:
        assert good.survey is not None
        hidden = msgspec.structs.replace(good.survey, intensities=(), mean=None, deviation=None)
        text = Page(render(altered(survey=hidden))).text
        assert "Brightness: – every count was hidden." in text

    def test_a_long_run_is_cut_into_blocks(self, good: Result) -> None:
        each = tuple(replace(good.rounds.each[0], round=k + 1) for k in range(120))
        page = text_of(replace(good, rounds=replace(good.rounds, count=120, each=each)))
        assert "Rounds 1–50" in page and "Rounds 51–100" in page and "Rounds 101–120" in page

    def test_an_older_report_is_replaced_whole(self, troubled: Result, pages: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "report.html").write_text(pages["large"])
        assert write_report(troubled, tmp_path).read_text() == pages["troubled"]


def test_absences_are_grouped_by_reason(troubled: Result) -> None:
    rows = {(gone.site, gone.step): gone for gone in verdict.absences(troubled)}
    assert rows["east", "train"].rounds == "rounds 4–6"
    assert rows["university", "join"].rounds == "the start"
    assert rows["university", "train"].reason == "not back since the start"

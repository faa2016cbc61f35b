"""What a machine can check of the documents: lines, links, paths, and pages that are written from the code."""

import re
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from deploy.reference.write import FOLDER, pages
from streams.base.variables import DASHBOARDS, PREFIX, SIMULATE_TOKEN
from streams.metrics import CATALOGUE
from streams.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = [path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench" / "RESULTS.md")]
WRITTEN = [page for page in PAGES if page != "CHANGELOG.md"]
CHINESE = [
    ("README.md", "README.zh-CN.md"),
    *((f"docs/tutorials/{name}", f"docs/zh-CN/{name}") for name in ("first-run.md", "first-alert.md")),
]
# A path of a file or folder of ours, as text in backquotes.
PATH = re.compile(r"(?:schemas|tables|agents|streams|deploy|bench|tests|docs)/[\w./-]*")
# Written when something runs, or by the reader.
NOT_YET = {"docs/", "schemas/released/"}


@cache
def tokens(page):
    return MarkdownIt().enable("table").parse((ROOT / page).read_text())


def children(page, kind):
    return [child for token in tokens(page) for child in token.children or () if child.type == kind]


@cache
def anchors(page):
    headings = [after.content for token, after in zip(tokens(page), tokens(page)[1:], strict=False) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_lines_of_a_document_have_at_most_120_characters_but_for_rows_of_tables(page):
    lines = (ROOT / page).read_text().splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_between_documents_leads_somewhere(page):
    links = [str(child.attrGet("href")) for child in children(page, "link_open")]
    links += [str(child.attrGet("src")) for child in children(page, "image")]
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.resolve().relative_to(ROOT).as_posix()), link


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_no_page_of_the_site_links_out_of_it(page):
    for child in children(page, "link_open"):
        link = str(child.attrGet("href"))
        assert re.match(r"[a-z]+:", link) or ((ROOT / page).parent / link).resolve().is_relative_to(ROOT / "docs"), link


@pytest.mark.parametrize("page", WRITTEN)
def test_every_path_that_a_document_names_is_there(page):
    text = (ROOT / page).read_text()
    named = {path.content for path in children(page, "code_inline") if PATH.fullmatch(path.content)}
    made = set(re.findall(r"new file `([^`]*)`", " ".join(text.split())))
    assert {path for path in named - made - NOT_YET if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize(("english", "chinese"), CHINESE)
def test_a_chinese_page_has_the_headings_and_commands_of_the_english_one(english, chinese):
    assert commands(chinese) == commands(english)
    levels = [[token.tag for token in tokens(page) if token.type == "heading_open"] for page in (english, chinese)]
    assert levels[0] == levels[1]


def commands(page):
    """The text of every block, without comments."""
    return [(token.info, re.sub(r"#.*", "", token.content)) for token in tokens(page) if token.type == "fence"]


@pytest.mark.parametrize("page", WRITTEN)
def test_what_a_document_names_is_a_setting_a_metric_or_a_target(page):
    text = (ROOT / page).read_text()
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {DASHBOARDS, SIMULATE_TOKEN}
    assert set(re.findall(r"\bHEADRACE_[A-Z_]*[A-Z]\b(?!_)", text)) <= settings
    assert set(re.findall(r"\bheadrace_[a-z_]*[a-z]\b(?!_)", text)) <= {metric.name for metric in CATALOGUE}
    named = set(re.findall(r"(?:^|`)make (?:[A-Z]+=\S+ )*([a-z][\w.-]*)", text, re.MULTILINE))
    assert named <= set(re.findall(r"^([a-z][\w.-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_readme_and_architecture_are_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    assert len((ROOT / "README.zh-CN.md").read_text().splitlines()) <= 150
    lines = (ROOT / "ARCHITECTURE.md").read_text().splitlines()
    assert len(lines) <= 250
    assert max(map(len, lines)) <= 120, "a row of a table, too"


def test_the_reference_pages_are_those_of_the_code():
    assert {name: (FOLDER / name).read_text() for name in pages()} == pages(), "run `make reference`"

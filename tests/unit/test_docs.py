"""What the documents say is there: commands, options, files, settings, reasons."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from webevents.cli import app
from webevents.events.event import REASONS
from webevents.plan.make import make_plan
from webevents.spec.backfill import KIND as BACKFILL
from webevents.spec.backfill import WebEventBackfill
from webevents.spec.load import parse_pipeline
from webevents.spec.pipeline import API_VERSION, KIND
from webevents.spec.reference import reference, schema

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "dataflows").glob("*.md"), *DOCS.rglob("*.md")])
COMMANDS_PAGE = DOCS / "commands.md"
SHARED = "Servers that are already there"
WORKLOADS = "Workloads"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def sections(page: Path) -> dict[str, str]:
    """The text of each second-level section by its title."""
    parts = re.split(r"^## +(.+?) *$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def first_column(section: str, head: str) -> list[str]:
    """The first cells of the table whose first title is ``head``, without code marks."""
    rows = iter(section.splitlines())
    for row in rows:
        if row.startswith(f"| {head} |"):
            break
    next(rows)
    cells = []
    for row in rows:
        if not row.startswith("|"):
            break
        cells.append(row.split("|")[1].strip().strip("`"))
    return cells


def commands() -> Iterator[tuple[str, set[str], set[str]]]:
    """Each command with its options' long names: those that must be told, and the others."""
    yield from commands_of(typer.main.get_command(app), "")


def commands_of(group: Any, before: str) -> Iterator[tuple[str, set[str], set[str]]]:
    for name, command in group.commands.items():
        options = [each for each in command.params if each.param_type_name == "option"]
        names = {name for each in options for name in each.opts if name.startswith("--")}
        full = f"{before}{name}"
        if options:
            yield full, names, {name for each in options for name in each.secondary_opts}
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{full} ")


ALL_COMMANDS = list(commands())


def section_of(name: str) -> str:
    found = sections(COMMANDS_PAGE)
    text = found.get(f"webevents {name}")
    if text is None and f"`webevents {name}`" in found[WORKLOADS]:
        text = found[WORKLOADS]
    assert text is not None, f"{page_name(COMMANDS_PAGE)} has no section about {name}"
    return text


@pytest.mark.parametrize(("name", "options"), [(n, o) for n, o, _ in ALL_COMMANDS])
def test_every_option_is_explained(name: str, options: set[str]) -> None:
    shared = set(OPTION.findall(sections(COMMANDS_PAGE)[SHARED]))
    missing = options - set(OPTION.findall(section_of(name))) - shared
    assert not missing, f"tell about them in {page_name(COMMANDS_PAGE)}"


@pytest.mark.parametrize("name", [name for name, _, _ in ALL_COMMANDS])
def test_no_option_is_made_up(name: str) -> None:
    same_section = [c for c in ALL_COMMANDS if section_of(c[0]) == section_of(name)]
    known = set().union(*(first | second for _, first, second in same_section))
    assert set(OPTION.findall(section_of(name))) <= known


def test_the_shared_options_are_of_some_command() -> None:
    known = set().union(*(options for _, options, _ in ALL_COMMANDS))
    assert set(OPTION.findall(sections(COMMANDS_PAGE)[SHARED])) <= known


def test_the_readme_names_every_command_that_people_type() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    workloads = sections(COMMANDS_PAGE)[WORKLOADS]
    for name, _, _ in ALL_COMMANDS:
        if f"`webevents {name}`" not in workloads:
            assert f"`webevents {name}" in readme
    known = {name.split()[0] for name, _, _ in ALL_COMMANDS}
    assert set(re.findall(r"`webevents ([a-z]+)", readme)) <= known


def test_the_readme_names_every_make_target_that_it_shows() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):.*##", makefile, re.MULTILINE))
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")):
        shown = set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", page.read_text("utf-8"), re.MULTILINE))
        assert shown <= targets, page_name(page)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), target
        assert to.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(to), target


def pipelines_in_docs() -> list[tuple[str, dict[str, object]]]:
    found = []
    for page in PAGES:
        blocks = FENCE.findall(page.read_text(encoding="utf-8"))
        for number, (language, text) in enumerate(blocks, 1):
            document = yaml.safe_load(text) if language == "yaml" else None
            if isinstance(document, dict) and document.keys() & {"kind", "spec"}:
                found.append((f"{page_name(page)}, block {number}", document))
    return found


PIPELINES = pipelines_in_docs()


@pytest.mark.parametrize(("where", "document"), PIPELINES, ids=[where for where, _ in PIPELINES])
def test_yaml_blocks_are_pipelines(where: str, document: dict[str, object]) -> None:
    """Whole ones, and those that show only ``spec``; backfills too."""
    if document.get("kind") == BACKFILL:
        WebEventBackfill.model_validate(document)
        return
    if "kind" not in document:
        head = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "example"}}
        document = head | document
    make_plan(parse_pipeline(document, where))


def test_the_table_of_reasons_is_complete() -> None:
    section = sections(DOCS / "concepts.md")["Events"]
    assert sorted(first_column(section, "reason")) == sorted(REASONS)


def test_the_table_of_drop_reasons_is_complete() -> None:
    """Stages name them where they drop: ``counts.drop("…")``, or what ``add`` returns."""
    source = ROOT / "dataflows" / "src" / "webevents"
    texts = [path.read_text("utf-8") for path in (source / "stages").rglob("*.py")]
    dropped = {name for text in texts for name in re.findall(r'\.drop\(\s*"(\w+)"', text)}
    dropped |= set(
        re.findall(r'reason = "(\w+)"', (source / "stages" / "sessionize.py").read_text("utf-8"))
    )
    for logic in ("sessions", "analytics"):
        tracker = (source / "logic" / logic / "tracker.py").read_text("utf-8")
        dropped |= set(re.findall(r'return "(\w+)"', tracker))
    assert len(dropped) >= 5
    section = sections(DOCS / "concepts.md")["The ledger"]
    assert sorted(first_column(section, "drop reason")) == sorted(dropped)


def test_the_reference_is_that_of_the_models() -> None:
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert text == reference(), "run scripts/make-reference"


def test_the_reference_has_what_a_field_is() -> None:
    """Type, default of where it stands (not only of its model), bounds, meaning."""
    rows = {row.split("|")[1].strip(): row for row in reference().splitlines() if "|" in row}
    gap = "| `spec.sessions.gap` | duration | `30m` | A pause longer than this ends the session. |"
    assert rows["`spec.sessions.gap`"] == gap
    assert "| `enriched-web-events` |" in rows["`spec.topics.enriched.name`"]
    assert "| duration | `200ms` |" in rows["`spec.stages.enrich.commitInterval`"]
    assert "| duration | `500ms` |" in rows["`spec.stages.index.commitInterval`"]
    assert "| integer, 1 to 1,000 | `4` |" in rows["`spec.topics.raw.partitions`"]
    assert "| required |" in rows["`metadata.name`"]
    assert "| required |" in rows["`spec.kafka.sasl.username`"]
    assert "`spec.enrich.referrers.<name>.medium`" in rows
    assert "`spec.generator.traffic[].weight`" in rows


def test_the_reference_has_every_field() -> None:
    names = {name for model in schema()["$defs"].values() for name in model.get("properties", ())}
    told = set(re.findall(r"\w+", " ".join(re.findall(r"^\| `(\S+)` \|", reference(), re.M))))
    assert names <= told


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page_name(page)) for page in PAGES],
)
def test_no_table_swallows_the_text_after_it(page: Path) -> None:
    """In GitHub's Markdown a line right after a table is one more row of it."""
    lines = FENCE.sub("", page.read_text(encoding="utf-8")).splitlines()
    for before, line in pairwise(lines):
        assert not before.startswith("|") or not line or line.startswith("|"), line

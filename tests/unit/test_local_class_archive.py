"""The class archive is used only when it is whole."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from webevents.local.class_archive import ClassArchive
from webevents.local.java import Jdk

JDK = Jdk(Path("/jdk"), 25, "25.0.3", frozenset())


def made_file(archive: ClassArchive) -> Path:
    flag = next(flag for flag in archive.flags() if "ArchiveClassesAtExit" in flag)
    return Path(flag.partition("=")[2])


def test_the_first_run_makes_it_and_the_next_uses_it(tmp_path: Path) -> None:
    first = ClassArchive(tmp_path, "Kafka", JDK, "abc")
    made_file(first).write_bytes(b"classes")
    first.keep(clean_end=True)
    second = ClassArchive(tmp_path, "Kafka", JDK, "abc")
    assert f"-XX:SharedArchiveFile={second.path}" in second.flags()
    assert second.path.read_bytes() == b"classes"


def test_one_of_a_crashed_run_is_thrown_away(tmp_path: Path) -> None:
    archive = ClassArchive(tmp_path, "Kafka", JDK, "abc")
    made_file(archive).write_bytes(b"half")
    archive.keep(clean_end=False)
    assert list((tmp_path / "classes").iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [
        ("Elasticsearch", JDK, "abc"),
        ("Kafka", JDK, "other jars"),
        ("Kafka", Jdk(Path("/jdk"), 21, "21.0.8", frozenset()), "abc"),
    ],
)
def test_it_is_for_one_server_one_java_and_one_set_of_jars(
    tmp_path: Path, other: tuple[str, Jdk, str]
) -> None:
    archive = ClassArchive(tmp_path, "Kafka", JDK, "abc")
    made_file(archive).write_bytes(b"classes")
    archive.keep(clean_end=True)
    assert ClassArchive(tmp_path, *other).path != archive.path


def test_two_of_one_process_write_two_files(tmp_path: Path) -> None:
    one, two = (ClassArchive(tmp_path, "Kafka", JDK, "abc") for _ in range(2))
    assert made_file(one) != made_file(two)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    archive = ClassArchive(tmp_path, "Kafka", JDK, "abc")
    mine = made_file(archive)
    mine.write_bytes(b"being written")
    ended = subprocess.Popen(["true"])
    ended.wait()
    left_over = archive.path.with_name(f"{archive.path.name}.{ended.pid}.0.new")
    left_over.write_bytes(b"half")
    ClassArchive(tmp_path, "Kafka", JDK, "abc").flags()
    assert not left_over.exists()
    assert mine.exists()

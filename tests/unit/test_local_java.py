"""Which Java is chosen, and what is said when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from webevents.errors import UserError
from webevents.local.java import find_jdk, read_jdk

FULL = "java.base jdk.compiler jdk.jdi jdk.jlink"


def make_java(home: Path, version: str, modules: str = FULL) -> Path:
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.touch(mode=0o755)
    (home / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    return home


def test_java_home_comes_first(tmp_path: Path) -> None:
    home = make_java(tmp_path / "chosen", "21.0.8")
    make_java(tmp_path / "jvm" / "newer", "25.0.3")
    env = {"JAVA_HOME": str(home), "PATH": ""}
    jdk = find_jdk(env, folders=(f"{tmp_path}/jvm/*",))
    assert (jdk.home, jdk.version, jdk.full_version) == (home, 21, "21.0.8")


def test_java_on_the_path_is_followed_through_links(tmp_path: Path) -> None:
    home = make_java(tmp_path / "jdk", "23")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(home / "bin" / "java")
    assert find_jdk({"PATH": str(tmp_path / "bin")}, folders=()).home == home


def test_the_newest_of_the_usual_folders_is_taken(tmp_path: Path) -> None:
    for version in ("21.0.1", "25.0.3", "24.0.2"):
        make_java(tmp_path / version, version)
    assert find_jdk({"PATH": ""}, folders=(f"{tmp_path}/*",)).version == 25


def test_folders_below_home_are_searched(tmp_path: Path) -> None:
    make_java(tmp_path / ".sdkman/candidates/java/25-tem", "25")
    env = {"PATH": "", "HOME": str(tmp_path)}
    assert find_jdk(env, folders=("~/.sdkman/candidates/java/*",)).version == 25


def test_an_old_java_home_does_not_hide_a_good_one(tmp_path: Path) -> None:
    old = make_java(tmp_path / "old", "17.0.15")
    make_java(tmp_path / "jvm" / "good", "21")
    env = {"JAVA_HOME": str(old), "PATH": ""}
    assert find_jdk(env, folders=(f"{tmp_path}/jvm/*",)).version == 21


def test_what_was_found_instead_is_named(tmp_path: Path) -> None:
    make_java(tmp_path / "a", "17.0.15")
    make_java(tmp_path / "b", "25.0.3", modules="java.base")
    with pytest.raises(UserError) as caught:
        find_jdk({"PATH": ""}, folders=(f"{tmp_path}/*",))
    text = str(caught.value)
    assert "No JDK 21 or newer was found" in text
    assert f"JDK 17.0.15 in {tmp_path}/a" in text
    assert f"a Java runtime without compiler, 25.0.3 in {tmp_path}/b" in text
    assert "set JAVA_HOME" in text


def test_no_java_at_all() -> None:
    with pytest.raises(UserError, match=r"was found: install one.*JAVA_HOME"):
        find_jdk({"PATH": "", "JAVA_HOME": "/nowhere"}, folders=())


def test_the_old_version_scheme_is_read(tmp_path: Path) -> None:
    jdk = read_jdk(make_java(tmp_path / "eight", "1.8.0_402"))
    assert jdk is not None
    assert jdk.version == 8


def test_modules_come_from_files_where_the_release_names_none(tmp_path: Path) -> None:
    home = make_java(tmp_path / "jdk", "21", modules="")
    (home / "jmods").mkdir()
    (home / "jmods" / "jdk.compiler.jmod").touch()
    jdk = read_jdk(home)
    assert jdk is not None
    assert jdk.modules == {"jdk.compiler"}

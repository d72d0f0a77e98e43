"""Who may look at the live page."""

from pathlib import Path

import pytest

from webevents.errors import UserError
from webevents.live.access import COOKIE, Access, listening_address, read_token
from webevents.spec.live import LiveSpec

TOKEN = "a-token-that-is-long-enough"


@pytest.mark.parametrize(
    ("host", "token", "listens"),
    [
        (None, None, "127.0.0.1"),
        (None, TOKEN, "0.0.0.0"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("::1", None, "::1"),
        ("localhost", None, "localhost"),
        ("10.0.0.5", TOKEN, "10.0.0.5"),
    ],
)
def test_without_a_token_only_this_machine_can_look(
    host: str | None, token: str | None, listens: str
) -> None:
    assert listening_address(host, token) == listens


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "page.example"])
def test_another_address_without_a_token_is_refused_with_the_mend(host: str) -> None:
    with pytest.raises(UserError, match=r"spec\.live\.tokenFile"):
        listening_address(host, None)


def test_the_token_is_read_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert read_token(LiveSpec(token_file=str(file))) == TOKEN
    monkeypatch.setenv("THE_TOKEN", TOKEN)
    assert read_token(LiveSpec(token_env="THE_TOKEN")) == TOKEN
    assert read_token(LiveSpec()) is None
    file.write_text("short")
    with pytest.raises(UserError, match="16 characters"):
        read_token(LiveSpec(token_file=str(file)))
    with pytest.raises(UserError, match="cannot read"):
        read_token(LiveSpec(token_file=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("host", "permitted"),
    [
        ("127.0.0.1:8090", True),
        ("localhost:8090", True),
        ("LOCALHOST", True),
        ("[::1]:8090", True),
        ("[::1]", True),
        ("127.0.0.1", True),
        ("evil.example:8090", False),
        ("127.0.0.1.evil.example:8090", False),
        ("localhost.evil.example", False),
        ("8090", False),
        ("", False),
    ],
)
def test_without_a_token_a_foreign_name_is_refused(host: str, permitted: bool) -> None:
    """Else a page of another site could have its name lead here (DNS rebinding)."""
    assert Access(None).permits({"host": host}) is permitted


def test_with_a_token_it_is_asked_for_by_header_or_cookie() -> None:
    access = Access(TOKEN)
    assert not access.permits({"host": "localhost"})
    assert access.permits({"authorization": f"Bearer {TOKEN}"})
    assert access.permits({"authorization": f"bearer  {TOKEN} "})
    assert not access.permits({"authorization": f"Basic {TOKEN}"})
    assert not access.permits({"authorization": f"Bearer {TOKEN}x"})
    assert not access.permits({"authorization": "Bearer "})
    cookie = access.cookie(secure=True)
    assert TOKEN not in cookie
    assert {"HttpOnly", "SameSite=Strict", "Secure", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in access.cookie(secure=False)
    assert access.permits({"cookie": f"other=1; {cookie.partition(';')[0]}"})
    assert not access.permits({"cookie": f"{COOKIE}={TOKEN}"})
    assert not access.permits({"cookie": f"{COOKIE}="})
    assert not access.permits({"cookie": "\x00;;;=,\xff"})
    assert not Access(TOKEN + "2").permits({"cookie": cookie.partition(";")[0]})

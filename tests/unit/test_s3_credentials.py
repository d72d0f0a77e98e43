"""Where the keys of the object store come from: files, the environment, or AWS's own ways."""

from pathlib import Path

import pytest

from webevents.connectors.s3 import ObjectStore
from webevents.errors import UserError
from webevents.spec.s3 import S3Spec


def keys_of(store: ObjectStore) -> tuple[str, str]:
    """The keys that requests are signed with."""
    found = store._client._request_signer._credentials.get_frozen_credentials()
    store.close()
    return found.access_key, found.secret_key


def spec(**fields: str) -> S3Spec:
    return S3Spec(endpoint="https://store.example").model_copy(update=fields)


def test_from_files(tmp_path: Path) -> None:
    for name in ("access", "secret"):
        (tmp_path / name).write_text(f"{name}-of-file\n")
    store = ObjectStore(
        spec(access_key_file=str(tmp_path / "access"), secret_key_file=str(tmp_path / "secret"))
    )
    assert keys_of(store) == ("access-of-file", "secret-of-file")


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_ACCESS", "access-of-env")
    monkeypatch.setenv("SHOP_SECRET", "secret-of-env")
    store = ObjectStore(spec(access_key_env="SHOP_ACCESS", secret_key_env="SHOP_SECRET"))
    assert keys_of(store) == ("access-of-env", "secret-of-env")


def test_without_any_from_awss_own_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shared = tmp_path / "credentials"
    shared.write_text("[default]\naws_access_key_id = theirs\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    assert keys_of(ObjectStore(spec())) == ("theirs", "secret")


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "cannot be read: No such file"), ("", "is empty"), ("\n", "is empty")],
)
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "access"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        ObjectStore(spec(access_key_file=str(path), secret_key_env="PATH"))
    assert str(path) in str(caught.value)


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(UserError, match=r"spec\.s3\.accessKeyEnv: NO_SUCH_KEY is not set"):
        ObjectStore(spec(access_key_env="NO_SUCH_KEY", secret_key_env="PATH"))

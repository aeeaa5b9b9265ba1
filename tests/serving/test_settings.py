import pytest

from features.errors import BatchguardError
from serving.private_files import keep_private
from serving.settings import load_settings, secret_of, secrets_of

HOOK = '[[webhook]]\nname = "mes"\nurl = "https://mes.plant/in"\nsecret_file = "{secret}"\n'


def test_without_a_file_everything_lies_in_the_data_directory(tmp_path) -> None:
    found = load_settings(tmp_path, environment={})
    assert found.records_url == f"sqlite:///{tmp_path / 'records.db'}"
    assert (found.anchor, found.identity, found.webhook) == (tmp_path / "audit.anchor", None, ())


def test_the_environment_names_the_database(tmp_path) -> None:
    (tmp_path / "endpoint.toml").write_text('records_url = "sqlite:///a"\nmax_body_bytes = 5000\n')
    assert load_settings(tmp_path, environment={}).records_url == "sqlite:///a"
    found = load_settings(tmp_path, environment={"BATCHGUARD_RECORDS_URL": "postgresql://x/y"})
    assert (found.records_url, found.max_body_bytes) == ("postgresql://x/y", 5000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_bodybytes = 5", "max_bodybytes"),
        ("max_body_bytes = 5", "max_body_bytes"),
        ("nonsense", "cannot be read as TOML"),
        ('[[webhook]]\nname = "a"\nurl = "ftp://x"\nsecret_file = "s"', "url"),
        (HOOK + HOOK, "two webhooks have one name"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(tmp_path, text, said) -> None:
    (tmp_path / "endpoint.toml").write_text(text)
    with pytest.raises(BatchguardError, match=said):
        load_settings(tmp_path, environment={})


def test_a_file_that_is_named_and_not_there_is_an_error(tmp_path) -> None:
    with pytest.raises(BatchguardError, match="none"):
        load_settings(tmp_path, tmp_path / "none.toml", {})


def test_a_secret_comes_from_its_file_and_is_long_enough(tmp_path) -> None:
    path = tmp_path / "secret"
    (tmp_path / "endpoint.toml").write_text(HOOK.format(secret=path))
    [hook] = load_settings(tmp_path, environment={}).webhook
    with pytest.raises(BatchguardError, match="No such file"):
        secret_of(hook)
    path.write_text("short")
    with pytest.raises(BatchguardError, match="too short"):
        secret_of(hook)
    path.write_text("x" * 24 + "\n")
    assert secret_of(hook) == b"x" * 24


def test_files_with_secrets_are_kept_for_their_owner(tmp_path) -> None:
    secret, config = tmp_path / "mes.secret", tmp_path / "endpoint.toml"
    secret.write_text("s" * 32)
    hook = f'[[webhook]]\nname = "mes"\nurl = "https://mes.plant/in"\nsecret_file = "{secret}"\n'
    for url, private in (("postgresql://plant:password@db/records", True), ("postgresql://db/records", False)):
        config.write_text(f'records_url = "{url}"\n' + hook)
        for path in (secret, config):
            path.chmod(0o644)
        keep_private([*secrets_of(load_settings(tmp_path, environment={}), config), tmp_path / "missing"])
        assert (secret.stat().st_mode & 0o777, config.stat().st_mode & 0o777) == (0o600, 0o600 if private else 0o644)

"""Settings files: the page's example is the defaults, and what is wrong is named."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from hallmark.adapters.keys.file import write_key
from hallmark.errors import ConfigurationError
from hallmark.instance.listening import Bound
from hallmark.instance.supervisor import WorkerTask
from hallmark.tlog.config import TlogConfig
from hallmark.wiring.settings import GrpcSettings, Settings, parse_settings

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "settings.md"
FILE = Path("hallmark.toml")


def example() -> str:
    return re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]


def test_the_example_of_the_page_is_the_defaults_and_names_every_setting():
    assert parse_settings(example().encode(), FILE) == Settings()
    named = set(re.findall(r"^(?:# )?(\w+) = ", example(), re.MULTILINE))
    structs = (TlogConfig, GrpcSettings, Settings)
    assert named == {name for item in structs for name in item.__struct_fields__} - {"tlog", "grpc"}


def test_an_empty_file_changes_nothing():
    assert parse_settings(b"", FILE) == Settings()


def test_a_worker_is_told_what_was_set():
    found = parse_settings(b"[tlog]\nread_only = true\nalgorithms = ['PKIX_ED25519_PH']\n", FILE)
    task = WorkerTask(root="r", number=1, bound=Bound("::1", 80), metrics_memory=3, settings=found)
    assert msgspec.json.decode(msgspec.json.encode(task), type=WorkerTask) == task
    assert task.settings.tlog == TlogConfig(read_only=True, algorithms=frozenset({"PKIX_ED25519_PH"}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing = 1", "nothing"),
        ("[tlog]\nread_onyl = true", "read_onyl"),
        ("[tlog]\nread_only = 1", r"\$\.tlog\.read_only"),
        ("[tlog]\nread_only = 'yes'", r"\$\.tlog\.read_only"),
        ("[tlog]\nmax_body_bytes = 0", r"\$\.tlog\.max_body_bytes"),
        ("[tlog]\nmax_body_bytes = 99999999999", r"\$\.tlog\.max_body_bytes"),
        ("[tlog]\nappend_timeout = 0", r"\$\.tlog\.append_timeout"),
        ("[tlog]\nappend_timeout = nan", "append_timeout"),
        ("[tlog]\nbody_timeout = 1e9", r"\$\.tlog\.body_timeout"),
        ("[tlog]\nmax_waiting_entries = 0", r"\$\.tlog\.max_waiting_entries"),
        (
            "[tlog]\nmax_body_bytes = 8192\nmax_body_bytes_in_flight = 4096",
            "smaller than tlog.max_body_bytes",
        ),
        ("[tlog]\nalgorithms = []", "at least one"),
        ("[tlog]\nalgorithms = ['PKIX_ED25519']", "envelopes only"),
        ("[tlog]\nalgorithms = ['RSA']", "not RSA"),
        ("log_level = 'loud'", r"\$\.log_level"),
        ("[grpc]\ntls_key = 'key.pem'", "go together"),
        ("[grpc]\ntls_key = 'key.pem'\ntls_certificate = 'missing.pem'", "missing.pem cannot be read"),
        ("[tlog\n", "hallmark.toml"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(text, words):
    with pytest.raises(ConfigurationError, match=words) as refused:
        parse_settings(text.encode(), FILE)
    assert refused.value.code == "wrong_setting"
    assert refused.value.message.startswith("hallmark.toml") or "missing.pem" in refused.value.message
    assert "settings.md" in refused.value.hint


def test_a_file_that_is_no_text_is_refused():
    with pytest.raises(ConfigurationError):
        parse_settings(b"\xff\xfe", FILE)


@pytest.fixture
def tls(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    write_key(tmp_path / "key.pem", key)
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "log")]), datetime.now(UTC)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    (tmp_path / "crt.pem").write_bytes(certificate.sign(key, SHA256()).public_bytes(Encoding.PEM))
    return tmp_path


TLS = b"[grpc]\ntls_key = 'key.pem'\ntls_certificate = 'crt.pem'\n"


def test_paths_count_from_the_folder_of_the_file(tls):
    found = parse_settings(TLS, tls / "hallmark.toml").grpc
    assert (found.tls_key, found.tls_certificate) == (str(tls / "key.pem"), str(tls / "crt.pem"))


def test_a_tls_key_that_others_can_read_is_refused(tls):
    (tls / "key.pem").chmod(0o640)
    with pytest.raises(ConfigurationError) as refused:
        parse_settings(TLS, tls / "hallmark.toml")
    assert refused.value.code == "key_file_mode"


def test_a_tls_key_of_another_certificate_is_refused(tls):
    (tls / "key.pem").unlink()
    write_key(tls / "key.pem", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(ConfigurationError, match="is not that of the certificate"):
        parse_settings(TLS, tls / "hallmark.toml")


def test_a_file_without_a_certificate_is_refused(tls):
    (tls / "crt.pem").write_bytes(b"none")
    with pytest.raises(ConfigurationError, match="no certificate"):
        parse_settings(TLS, tls / "hallmark.toml")


@pytest.mark.parametrize(
    ("name", "least", "most", "step"),
    [
        ("max_body_bytes", 4096, 4 << 30, 1),
        ("max_body_bytes_in_flight", 4096, 4 << 30, 1),
        ("max_waiting_bytes", 4096, 4 << 30, 1),
        ("max_waiting_entries", 1, 1_000_000, 1),
        ("body_timeout", 0.01, 600.0, 0.01),
        ("append_timeout", 0.01, 600.0, 0.01),
    ],
)
def test_a_setting_of_the_log_may_be_its_least_and_its_most_and_nothing_beyond(name, least, most, step):
    for value in (least, most):
        assert getattr(msgspec.convert({name: value}, TlogConfig), name) == value
    for value in (least - step, most + step):
        with pytest.raises(msgspec.ValidationError, match=name):
            msgspec.convert({name: value}, TlogConfig)


@pytest.mark.parametrize(
    "place",
    [
        "",
        " ",
        "nowhere",
        "a-file",
        "ftp://host/log",
        "file:///tmp",
        "file:m",
        "HTTP://host",
        "http://",
        "https://[",
        "http://me@h",
    ],
)
def test_a_mirror_that_could_never_be_asked_is_refused(tmp_path, place):
    (tmp_path / "a-file").write_text("")
    (tmp_path / "m").mkdir()
    with pytest.raises(ConfigurationError, match="mirrors: ") as refused:
        parse_settings(f'mirrors = ["m", "{place}"]'.encode(), tmp_path / "hallmark.toml")
    assert refused.value.code == "wrong_setting"
    assert repr(place) in refused.value.message


def test_mirrors_are_urls_and_folders_beside_the_file(tmp_path):
    (tmp_path / "m").mkdir()
    found = parse_settings(b"mirrors = ['m', 'http://h', 'https://h:1/p']", tmp_path / "hallmark.toml")
    assert found.mirrors == (str(tmp_path / "m"), "http://h", "https://h:1/p")

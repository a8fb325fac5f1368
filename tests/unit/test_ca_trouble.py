"""What the authority answers, and what its operator reads, when something behind it fails."""

import secrets

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support.small_ca import SmallCa, certificates_of, key_request

from hallmark.adapters.keys.file import SoftwareKey
from hallmark.ca.http import routes as ca_routes
from hallmark.ca.issuers import OidcIssuers
from hallmark.ca.service import random_serial
from hallmark.errors import HallmarkError, NotFound, Overloaded, RemoteError
from hallmark.web.turns import Turns

KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def small(tmp_path):
    made = SmallCa(tmp_path)
    yield made
    made.close()


class _FailingLog:
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def add_precertificate(self, precertificate, issuing_chain):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (Overloaded("full", retry_after=7), 503, "full"),
        (RemoteError("down"), 500, "Error entering certificate in CTL (request "),
        (ConnectionError("secret detail"), 500, "internal error"),
    ],
    ids=["overloaded", "refused", "unexpected"],
)
def test_trouble_of_the_log_is_not_the_callers_fault(small, error, status, message, caplog):
    small.parts[""] = ca_routes(small.authority(ctlog=_FailingLog(error)))
    answer = small.sign(key_request(KEY), small.token())
    assert answer.status == status
    assert answer.json()["message"].startswith(message)
    assert b"secret detail" not in answer.body
    assert answer.headers.get("retry-after") == ("7" if status == 503 else None)
    assert small.token() not in caplog.text
    assert ("down" in caplog.text) == message.startswith("Error")  # the operator reads the reason


class _FailingKey(SoftwareKey):
    def sign(self, message):
        raise RemoteError("the module is locked")


def test_trouble_of_the_issuing_key_is_not_the_callers_fault(small, caplog):
    small.parts[""] = ca_routes(small.authority(issuing_key=_FailingKey(small.issuing_key)))
    answer = small.sign(key_request(KEY), small.token())
    assert (answer.status, reason_in(answer)) == (500, "error communicating with CA backend")
    assert b"locked" not in answer.body
    assert "the issuing key: the module is locked" in caplog.text


def reason_in(answer) -> str:
    return answer.json()["message"].partition(" (request ")[0]


class _FailingKeys:
    def __init__(self, error: HallmarkError) -> None:
        self.error = error

    async def keys(self, key_id):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"), [(HallmarkError("broken"), 500), (RemoteError("down"), 502), (NotFound("x"), 400)]
)
def test_trouble_with_the_issuer_s_keys_is_the_caller_s_fault_only_where_it_is(small, error, status):
    issuer = msgspec.structs.replace(small.ca.issuers.all[0], keys=_FailingKeys(error))
    small.parts[""] = ca_routes(small.authority(issuers=OidcIssuers([issuer])))
    assert small.sign(key_request(KEY), small.token()).status == status


def test_the_serial_is_positive_and_may_be_chosen(small, monkeypatch):
    small.parts[""] = ca_routes(small.authority(new_serial=lambda: 77))
    assert certificates_of(small.sign(key_request(KEY), small.token()))[0].serial_number == 77
    monkeypatch.setattr(secrets, "randbits", lambda _bits: 0)
    assert random_serial() == 1


def test_the_authority_and_its_process_take_turns_together(small):
    turns = Turns()
    assert small.authority(turns=turns).turns is turns

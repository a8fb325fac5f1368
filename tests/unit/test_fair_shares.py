"""Who waits behind whom: what waits has a flow, and every flow has its turn."""

from contextlib import ExitStack

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.routing import Mount
from tests.support.asgi_call import call
from tests.support.small_ca import SmallCa, key_request
from tests.support.tsa_authority import NOW, Authority

from hallmark.adapters.keys.file import SoftwareKey
from hallmark.ca.http import hot_routes, routes
from hallmark.ca.service import token_flow
from hallmark.ctlog import http as ctlog_http
from hallmark.tsa import http as tsa_http
from hallmark.tsa.config import TsaConfig
from hallmark.tsa.service import TimestampAuthority
from hallmark.web.turns import Turns
from hallmark.wiring import witness as wiring_witness
from hallmark.witness.config import WitnessConfig

KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def small(tmp_path):
    made = SmallCa(tmp_path)
    yield made
    made.close()


class NotedTurns(Turns):
    """Turns that note which flows arrived and worked."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: list[str] = []
        self.worked: list[str] = []

    async def arrive(self, flow=""):
        self.arrived.append(flow)
        await super().arrive(flow)

    async def light(self, work):
        self.worked.append("light")
        return await super().light(work)

    async def heavy(self, work, flow=""):
        self.worked.append(flow)
        return await super().heavy(work, flow)


def test_a_certificate_is_worked_on_in_the_turn_of_its_token(small):
    turns = small.ca.turns = NotedTurns()
    token = small.token()
    assert small.sign(key_request(KEY), token).status == 200
    assert turns.arrived == ["certificates "]
    assert turns.worked == ["certificates ", *[token_flow(token)] * 4]


def test_one_token_has_half_of_the_places_where_an_address_says_nothing(small):
    hot = hot_routes(small.ca)
    small.parts[""] = routes(small.ca, hot)
    gate = hot["/api/v2/signingCert"]._handler.args[0]._gate
    token, other = small.token(), small.token(sub="another")
    with ExitStack() as held:
        for _ in range(small.ca.config.max_calls // 2):
            held.enter_context(gate.entered(token_flow(token)))
        assert small.sign(key_request(KEY), token).status == 503
        assert small.sign(key_request(KEY), other).status == 200
    assert small.sign(key_request(KEY), token).status == 200


def test_a_timestamp_waits_with_the_timestamps():
    turns = NotedTurns()
    made = Authority()
    key = SoftwareKey(made.key)
    service = TimestampAuthority(TsaConfig(), made.chain, key, lambda: NOW)
    routes = tsa_http.routes(service, tsa_http.hot_routes(service, turns))
    assert call(routes, "POST", tsa_http.TIMESTAMP).status == 422
    assert (turns.arrived, turns.worked) == (["timestamps "], ["timestamps "])


def test_a_submission_to_the_ct_log_waits_with_the_submissions(small):
    turns = NotedTurns()
    hot = ctlog_http.hot_routes(small.ctlog, turns)
    call(ctlog_http.routes(small.ctlog, hot), "POST", "/ct/v1/add-chain", b"{}")
    assert turns.arrived == ["submissions "]


def test_the_flow_of_a_token_is_its_own():
    assert token_flow("a") == token_flow("a") != token_flow("b")


def test_reads_of_a_witness_leave_half_of_the_time_to_checkpoints(tmp_path, monkeypatch):
    made: list[Turns] = []
    monkeypatch.setattr(wiring_witness, "Turns", lambda: made.append(NotedTurns()) or made[-1])
    opened = wiring_witness.open_witness(tmp_path, "w.example/1", WitnessConfig(logs={}), on_failure=raise_it)
    (turns,) = made
    routes = [Mount("", app=opened.app)]
    assert call(routes, "GET", f"/{'0' * 64}/checkpoint").status == 404
    assert call(routes, "POST", "/add-checkpoint", b"none").status == 400
    assert (turns.arrived, turns.worked) == ([""], ["light"])


def raise_it(error: BaseException) -> None:
    raise error

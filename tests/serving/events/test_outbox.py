import base64
import hashlib
import hmac
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import orjson
import pytest
from lxml import etree
from sqlalchemy import select

from serving.events.b2mml import NAMESPACE, work_alert
from serving.events.webhooks import MAX_ATTEMPTS, WebhookDispatcher, post, signature, wait_s
from serving.ids import iso
from serving.records.tables import deliveries
from serving.service import intake, score_requests
from serving.service.scoring_service import ScoringService
from serving.settings import Webhook
from tests.serving.counting_engine import CountingEngine
from tests.serving.services import BATCH, NOON, call, make_service, reading

SECRET = b"s" * 32


def hook(folder, name="mes", **more) -> Webhook:
    return Webhook(name=name, url="http://127.0.0.1:9/in?x=1", secret_file=folder / "secret", **more)


class Post:
    """Remembers what is sent; answers what it is told to."""

    def __init__(self, *answers) -> None:
        self.answers, self.sent = list(answers), []

    def __call__(self, url, body, headers) -> int:
        self.sent.append((url, body, headers))
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, Exception):
            raise answer
        return answer


def scored(records, folder, hooks, *values) -> ScoringService:
    service = make_service(records, folder, hooks=hooks)
    intake.put_batch(service, call(), "B1", BATCH, "")
    for hour, value in enumerate(values, start=1):
        intake.add_rows(service, call(), "B1", {"observations": [reading(hour, value)]})
        score_requests.score(service, call(), "B1", NOON - 60_000_000 + hour)
    return service


def dispatcher(records, send, hooks, now=NOON) -> WebhookDispatcher:
    return WebhookDispatcher(records, [(h, SECRET) for h in hooks], send, clock=lambda: now)


def kinds(send) -> list[str]:
    return [orjson.loads(body)["kind"] for _, body, _ in send.sent]


def test_each_score_and_each_change_of_its_call_is_told_once(records, tmp_path) -> None:
    hooks, send = [hook(tmp_path)], Post()
    scored(records, tmp_path, hooks, 5.0, 7.0, 7.0, 7.0)  # shares above 6: 0, 1/2, 2/3, 3/4; high above a half
    assert dispatcher(records, send, hooks).deliver_due() == 8
    assert sorted(kinds(send)) == ["call.changed"] * 2 + ["decision.changed"] * 2 + ["score.created"] * 4
    change, deprecated = (told_last(send, kind) for kind in ("call.changed", "decision.changed"))
    assert (change["call_before"], change["score"]["call"]) == ("low", "high")
    assert (deprecated["decision_before"], deprecated["score"]["decision"]) == ("low", "high")
    assert dispatcher(records, send, hooks).deliver_due() == 0


def told_last(send, kind: str) -> dict:
    return [event for _, body, _ in send.sent if (event := orjson.loads(body))["kind"] == kind][-1]


def test_a_call_of_high_without_support_is_told_which_the_decision_hides(records, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(CountingEngine, "support", ("none", ("too much missing",)))
    hooks, send = [hook(tmp_path)], Post()
    scored(records, tmp_path, hooks, 5.0, 7.0, 7.0)  # low, low, high
    dispatcher(records, send, hooks).deliver_due()
    assert sorted(kinds(send)) == ["call.changed"] * 2 + ["decision.changed"] + ["score.created"] * 3
    alarm = told_last(send, "call.changed")["score"]
    assert (alarm["call"], alarm["support"], alarm["decision"]) == ("high", "none", "undecided")
    assert b"Batch B1: high (support none: too much missing), probability of failure 0.667" in work_alert(
        "e", {"kind": "call.changed", "at": "t", "score": alarm}
    )


def test_nothing_is_told_of_a_score_that_was_not_kept(records, tmp_path, monkeypatch) -> None:
    hooks, send = [hook(tmp_path)], Post()
    service = scored(records, tmp_path, hooks)
    monkeypatch.setattr("serving.records.answers.keep", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score_requests.score(service, call(), "B1", NOON)
    assert dispatcher(records, send, hooks).deliver_due() == 0


def test_what_fails_comes_again_later_and_later_under_the_same_id(records, tmp_path) -> None:
    hooks, send, now = [hook(tmp_path, events=["score.created"])], Post(OSError("away"), 500, 302, 200), NOON
    scored(records, tmp_path, hooks, 5.0)
    waits = []
    for _ in range(4):
        assert dispatcher(records, send, hooks, now).deliver_due() == 1
        assert dispatcher(records, send, hooks, now).deliver_due() == 0
        with records.read() as connection:
            row = connection.execute(select(deliveries)).one()
        if row.next_us is not None:
            waits.append((row.next_us - now) / 1e6)
            now = row.next_us
    assert waits == [2.0, 4.0, 8.0]
    assert (row.attempts, row.error, row.delivered_us) == (4, "", now)
    assert len({headers["webhook-id"] for _, _, headers in send.sent}) == 1


HOUR_US = 3_600_000_000


@pytest.mark.parametrize("step_us", [-HOUR_US, HOUR_US, -365 * 24 * HOUR_US])
def test_events_are_delivered_in_their_order_though_the_clock_is_set_back_or_forth(records, tmp_path, step_us) -> None:
    hooks, send = [hook(tmp_path, events=["score.created"])], Post()
    scored(records, tmp_path, hooks, 5.0)
    service = make_service(records, tmp_path, hooks=hooks, now_us=NOON + max(step_us, -HOUR_US))
    score_requests.score(service, call(), "B1", NOON - 2 * HOUR_US)
    assert dispatcher(records, send, hooks, NOON + step_us).deliver_due() == 2
    at = [orjson.loads(body)["score"]["scored_at"] for _, body, _ in send.sent]
    assert at == [iso(NOON), iso(NOON + max(step_us, -HOUR_US))]


def test_a_retry_waits_no_longer_than_its_longest_wait_though_the_clock_is_set_back_by_a_day(records, tmp_path) -> None:
    hooks = [hook(tmp_path, events=["score.created"])]
    scored(records, tmp_path, hooks, 5.0)
    assert dispatcher(records, Post(500), hooks, NOON).deliver_due() == 1
    assert dispatcher(records, Post(), hooks, NOON - 24 * HOUR_US).deliver_due() == 1


def test_the_wait_has_an_end_and_so_have_the_attempts(records, tmp_path) -> None:
    assert wait_s(MAX_ATTEMPTS) == 6 * 3600
    hooks, now = [hook(tmp_path, events=["score.created"])], NOON
    scored(records, tmp_path, hooks, 5.0)
    for _ in range(MAX_ATTEMPTS):
        assert dispatcher(records, Post(500), hooks, now).deliver_due() == 1
        now += 7 * 3600 * 1_000_000
    assert dispatcher(records, Post(500), hooks, now).deliver_due() == 0
    with records.read() as connection:
        row = connection.execute(select(deliveries)).one()
    assert (row.next_us, row.delivered_us, row.error) == (None, None, "status 500")


def test_each_receiver_gets_its_own_and_one_that_is_away_stops_no_other(records, tmp_path) -> None:
    events = ["score.created", "call.changed"]
    hooks = [
        hook(tmp_path, name, events=events, sites=[site]) for name, site in (("a", "north"), ("b", "south"), ("c", "*"))
    ]
    scored(records, tmp_path, hooks, 5.0)
    send = Post(OSError(), 200, OSError(), 200)
    assert dispatcher(records, send, hooks).deliver_due() == 4  # two events, to a and c
    with records.read() as connection:
        done = [r.webhook for r in connection.execute(select(deliveries)) if r.delivered_us]
    assert len(done) == 2


def test_a_delivery_is_signed_as_the_specification_says(records, tmp_path) -> None:
    hooks, send = [hook(tmp_path)], Post()
    scored(records, tmp_path, hooks, 5.0)
    dispatcher(records, send, hooks).deliver_due()
    _, body, headers = send.sent[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-timestamp"] == str(NOON // 1_000_000)
    assert signature(b"other" * 8, headers["webhook-id"], NOON // 1_000_000, body) != headers["webhook-signature"]


def test_a_work_alert_has_the_elements_of_the_standard_in_their_order(records, tmp_path) -> None:
    hooks, send = [hook(tmp_path, format="b2mml", events=["score.created"])], Post()
    scored(records, tmp_path, hooks, 7.0)
    dispatcher(records, send, hooks).deliver_due()
    _, body, headers = send.sent[0]
    root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
    assert headers["content-type"] == "application/xml"
    assert root.tag == f"{{{NAMESPACE}}}WorkAlert"
    names = [etree.QName(child).localname for child in root]
    fixed = ["ID", "PublishedDate", "MessageText", "TimeStamp", "Priority", "Category"]
    assert names == fixed + ["WorkAlertProperty"] * (len(names) - 6)
    text = {etree.QName(child).localname: child.text for child in root}
    assert (text["ID"], text["Priority"], text["Category"]) == (headers["webhook-id"], "1", "score.created")
    assert text["MessageText"] == "Batch B1: high, probability of failure 1.000. Force: 1 readings"


def test_an_event_of_version_1_that_is_still_to_be_sent_has_the_priority_of_its_decision() -> None:
    score = {"batch_id": "B1", "failure_probability": 0.25, "score_id": "s", "as_of": "t", "reasons": [],
             "model": {"sha256": "d"}, "decision": "undecided"}  # fmt: skip
    root = etree.fromstring(work_alert("e", {"kind": "score.created", "at": "t", "score": score}))
    assert root.findtext(f"{{{NAMESPACE}}}Priority") == "3"
    assert root.findtext(f"{{{NAMESPACE}}}MessageText").startswith("Batch B1: undecided, probability")


def test_text_that_xml_cannot_hold_becomes_blank() -> None:
    score = {"batch_id": "B<1>&\x00\x0b", "failure_probability": 0.25, "score_id": "s", "as_of": "t", "reasons": [],
             "model": {"sha256": "d"}}  # fmt: skip
    body = work_alert("e", {"kind": "score.created", "at": "t", "score": score})
    assert "Batch B<1>&  : risk" in etree.fromstring(body).findtext(f"{{{NAMESPACE}}}MessageText")


def test_a_courier_delivers_by_itself_and_stops(records, tmp_path) -> None:
    hooks, send, arrived = [hook(tmp_path)], Post(), threading.Event()
    service = scored(records, tmp_path, hooks)
    carrier = WebhookDispatcher(records, [(h, SECRET) for h in hooks], lambda *a: arrived.set() or send(*a))
    carrier.start(idle_s=30)
    score_requests.score(service, call(), "B1", NOON)
    carrier.wake()
    assert arrived.wait(5)
    carrier.stop()
    assert kinds(send)[0] == "score.created"


@pytest.fixture
def receiver() -> Iterator[tuple[str, list]]:
    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["content-length"])), self.headers["webhook-id"]))
            self.send_response(302 if self.path == "/away" else 200)
            self.send_header("location", "/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
            pass

    got = []
    server = HTTPServer(("127.0.0.1", 0), Receive)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_post_sends_what_it_is_given_and_follows_nowhere(receiver) -> None:
    url, got = receiver
    assert post(f"{url}/in?x=1", b"body", {"webhook-id": "e1"}) == 200
    assert post(f"{url}/away", b"body", {"webhook-id": "e2"}) == 302
    assert got == [("/in?x=1", b"body", "e1"), ("/away", b"body", "e2")]
    with pytest.raises(OSError):
        post("http://127.0.0.1:9/", b"", {})

"""What a person hears of refused requests: at the first of them, once, and until DT
gets through again.
"""

from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import HttpRejection, Secret
from bridge.testing.fakes import FakeMount, FakeReport, FixedClock, fake_source_context
from bridge_plugins.disruptive.settings import Settings
from bridge_plugins.disruptive.verify.rejections import QUIET, Cause, RejectionWatch, Unauthentic
from bridge_plugins.disruptive.webhook import run

BODY = (
    b'{"event":{"eventId":"a","eventType":"touch","targetName":"projects/p/devices/d",'
    b'"data":{"touch":{}}}}'
)
SECRET = "test-secret-of-32-bytes-or-longer"


@asynccontextmanager
async def running(report, seconds=1700000000, **settings):
    """Run the source; gives a function that takes a request and gives the status of its
    answer.
    """
    settings = Settings(**{"secret": Secret(SECRET), **settings})
    mount, clock = FakeMount(), FixedClock()
    clock.time = clock.time.fromtimestamp(seconds, clock.time.tzinfo)
    context = fake_source_context(mount=mount, report=report, clock=clock)

    async def start(task_status):
        await run(settings, context, task_status=task_status)

    def answer(request):
        try:
            return mount.routes[settings.path](request).answer.status
        except HttpRejection as rejection:
            return rejection.status

    async with trio.open_nursery() as nursery:
        await nursery.start(start)
        yield answer
        nursery.cancel_scope.cancel()


@pytest.mark.fact("A wrong secret is a problem at the first refusal")
async def test_a_wrong_secret_is_a_problem_at_the_first_refusal(request_with, sign, claims_for):
    report = FakeReport()
    async with running(report) as answer:
        assert (
            answer(request_with(BODY, sign(claims_for(BODY), secret="of-another-connector"))) == 401
        )
    [text] = report.problems
    assert report.problem_names == ["disruptive-requests-refused"]
    assert text == (
        "requests are refused: they are signed with another secret; "
        "set secret to the signature secret of the Data Connector"
    )


async def test_refusals_are_told_once(request_with, sign, claims_for):
    report = FakeReport()
    async with running(report) as answer:
        for number in range(50):
            assert (
                answer(request_with(BODY, sign(claims_for(BODY), secret=f"garbage-{number}")))
                == 401
            )
    assert len(report.problems) == 1


@pytest.mark.fact("The problem is over when a request is authentic again")
async def test_the_problem_is_over_when_a_request_is_authentic(request_with, sign, claims_for):
    report = FakeReport()
    async with running(report) as answer:
        answer(request_with(BODY))
        assert report.texts[-1] in report.problems
        assert answer(request_with(BODY, sign(claims_for(BODY), secret=SECRET))) == 200
    assert report.topics == {}
    assert report.texts == ["receives at /disruptive", *report.problems, ""]


@pytest.mark.fact("Garbage of strangers does not fill the log")
async def test_garbage_between_authentic_requests_is_no_problem(
    request_with, sign, claims_for, autojump_clock
):
    report = FakeReport()
    async with running(report) as answer:
        for _ in range(20):
            assert answer(request_with(BODY, sign(claims_for(BODY), secret=SECRET))) == 200
            await trio.sleep(QUIET - 1)
            assert answer(request_with(BODY)) == 401
            assert answer(request_with(BODY, "garbage")) == 401
    assert report.problems == []


async def test_a_secret_that_was_changed_at_dt_is_told_within_a_minute(
    request_with, sign, claims_for, autojump_clock
):
    report = FakeReport()
    async with running(report) as answer:
        answer(request_with(BODY, sign(claims_for(BODY), secret=SECRET)))
        await trio.sleep(QUIET)
        answer(request_with(BODY, sign(claims_for(BODY), secret="the-new-one")))
    assert "another secret" in report.problems[-1]
    assert QUIET == 60


async def test_a_problem_that_comes_back_is_told_again(
    request_with, sign, claims_for, autojump_clock
):
    report = FakeReport()
    async with running(report) as answer:
        for _ in range(3):
            assert answer(request_with(BODY, sign(claims_for(BODY), secret="garbage"))) == 401
            assert answer(request_with(BODY, sign(claims_for(BODY), secret=SECRET))) == 200
            assert answer(request_with(BODY, sign(claims_for(BODY), secret=SECRET))) == 200
            await trio.sleep(QUIET)
    assert len(report.problems) == 3
    assert len(report.texts) == 1 + 2 * 3


@pytest.mark.fact("A wrong clock is told with now - iat")
@pytest.mark.parametrize(("seconds", "offset"), [(1699999500, "-500 s"), (1700009000, "+9000 s")])
async def test_a_wrong_clock_is_told_with_its_offset(
    request_with, sign, claims_for, seconds, offset
):
    report = FakeReport()
    async with running(report, seconds) as answer:
        answer(request_with(BODY, sign(claims_for(BODY), secret=SECRET)))
    assert f"check the clock of this machine (now - iat = {offset})" in report.problems[-1]


async def test_a_captured_request_that_is_sent_for_ever_is_told_once(
    request_with, sign, claims_for
):
    report, token = FakeReport(), sign(claims_for(BODY), secret=SECRET)
    watch = RejectionWatch(report, lambda: 0.0)
    for seconds in range(100):
        watch.rejected(
            Unauthentic(Cause.TIMES, f"expired {token}", offset=f"now - iat = {9000 + seconds} s")
        )
    assert len(report.texts) == 1


async def test_several_causes_are_told_together(request_with, sign, claims_for):
    report = FakeReport()
    async with running(report, header_name="X-Key", header_value=Secret("hidden")) as answer:
        answer(request_with(BODY, sign(claims_for(BODY), secret=SECRET)))
        answer(request_with(BODY, x_key="hidden"))
        answer(request_with(BODY))
    assert len(report.problems) == 2
    assert "custom header" in report.problems[-1]
    assert "carry no signature" in report.problems[-1]
    assert "hidden" not in "".join(report.texts)


@pytest.mark.fact("Mistake 16: secrets and tokens in reports")
async def test_the_words_of_strangers_are_in_no_report(request_with, sign, claims_for):
    report = FakeReport()
    async with running(report) as answer:
        answer(request_with(b"stranger", "stranger"))
        answer(request_with(b"stranger", sign({"stranger": "stranger"}, secret=SECRET)))
        answer(request_with(b"stranger", sign(claims_for(BODY), secret="stranger")))
    assert report.problems
    assert "stranger" not in "".join(report.texts)
    assert SECRET not in "".join(report.texts)


@pytest.mark.fact("Answer: verification keys not available are 503")
async def test_a_key_that_is_not_fetched_yet_is_no_refusal_of_ours(
    sign_es256, dt_claims_for, request_with
):
    report = FakeReport()
    request = request_with(BODY, dt_asymmetric_signature=sign_es256(dt_claims_for(BODY)))
    # The discovery document is asked for at a port of this machine where nobody
    # listens.
    settings = {
        "scheme": "asymmetric",
        "organization": "o",
        "discovery_url": "http://127.0.0.1:1/x",
        "secret": None,
    }
    async with running(report, **settings) as answer:
        assert answer(request) == 503
        assert report.problems == []
        with trio.fail_after(20):
            await report.wait_for("fetching DT's public keys failed")
            assert report.problem_names[-1] == "disruptive-keys-missing"
    assert report.problems == [report.texts[-1]]


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_says_what_to_do(cause):
    report = FakeReport()
    RejectionWatch(report, lambda: 0.0).rejected(Unauthentic(cause, "reason"))
    [text] = report.problems
    assert any(word in text for word in ("check", "set ", "does ", "did not", "legacy_sha1 = yes"))


@given(causes=st.lists(st.sampled_from(list(Cause)), min_size=1))
def test_there_is_one_report_for_each_cause(causes):
    report = FakeReport()
    watch = RejectionWatch(report, lambda: 0.0)
    for cause in causes:
        watch.rejected(Unauthentic(cause, "reason"))
    assert len(report.texts) == len(set(causes))
    watch.authentic()
    assert report.texts[-1] == ""

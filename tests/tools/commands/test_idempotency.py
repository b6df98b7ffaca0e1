"""``manage.py doctor --idempotency``: one request twice, against an emulator that honors its ID or ignores it."""

import os
import pty
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from devstack.ado import Emulator, Fault, Match, serve
from shared.azure_devops.client import PipelinesClient
from tests.support.canaries import secret
from tests.support.services.emulator import DECLARATION
from tests.tools.conftest import RIGHT, TRIAGE, Desk

HONORED, IGNORED = {"idempotency": "honored"}, {"idempotency": "ignored"}
CANCEL = Match(method="PATCH", path="/_apis/build/builds/")
BUILD = Match(method="GET", path=r"/_apis/build/builds/\d+$")
LIST = Match(method="GET", path="/_apis/build/builds$")


@dataclass
class Lab:
    """A desk and the emulator that it works with."""

    desk: Desk
    emulator: Emulator

    def examine(self, pipeline: str = "bare", *arguments: object, code: int = 0) -> list[tuple[str, str, str]]:
        """Return check, status and detail of each result."""
        result = self.desk.run("doctor", "--idempotency", pipeline, "--yes", "--json", *arguments)
        assert (result.code, result.err) == (code, ""), result
        assert all((one["status"] == "failed") is (one["next_step"] is not None) for one in result.json)
        return [(one["check"], one["status"], one["detail"]) for one in result.json]

    def behave(self, **switches: Any) -> None:
        self.emulator.behavior = replace(self.emulator.behavior, **switches)

    @property
    def states(self) -> list[str]:
        """The states of all runs, in the order in which they were queued."""
        return [run.state if run.result is None else run.result for run in self.emulator.books.runs]

    def link(self, number: int) -> str:
        """Return the ID and the link of a run."""
        run_id = self.emulator.books.runs[number].id
        project = f"{self.desk.organization_url}/{DECLARATION.project_id}"
        return f"{run_id} ({project}/_build/results?buildId={run_id})"


@pytest.fixture
def lab(desk: Desk) -> Iterator[Lab]:
    emulator = Emulator(DECLARATION, pats={secret("pat")}, tokens=set())
    with serve(emulator) as served:
        desk.organization_url = served.organization_url
        yield Lab(desk, emulator)


def canceled(state: str) -> bool:
    return state in {"canceling", "canceled"}


class TestVerdicts:
    def test_honored(self, lab: Lab) -> None:
        lab.behave(**HONORED)
        verdict, cleanup = lab.examine()
        assert verdict[:2] == ("idempotency", "ok")
        assert verdict[2].startswith("honored: the second request was refused (HTTP 400: ")
        assert f"and the plan ID of run {lab.emulator.books.runs[0].id} is the one that was sent." in verdict[2]
        assert cleanup == ("cleanup", "ok", f"Azure DevOps cancels run {lab.link(0)}")
        assert [canceled(state) for state in lab.states] == [True]

    def test_ignored(self, lab: Lab) -> None:
        result = lab.desk.run("doctor", "--idempotency", "4", "--yes")
        first, second = (run.id for run in lab.emulator.books.runs)
        assert (result.code, result.rows[0][:2]) == (0, ["ok", "idempotency"])
        words = f"ignored: two runs were queued, {first} and {second}, and the plan ID of run {first} is another one"
        assert result.rows[0][2].startswith(words)
        assert result.rows[1] == ["ok", "cleanup", f"Azure DevOps cancels run {lab.link(0)}, {lab.link(1)}"]
        assert [canceled(state) for state in lab.states] == [True, True]

    def test_the_second_request_names_the_same_run(self, lab: Lab) -> None:
        lab.behave(**HONORED)
        first = lab.emulator.queue_run(4).id + 1
        lab.emulator.plan(Fault(accept=True), Fault(accept=False, body={"id": first}))
        (_, status, detail), _ = lab.examine()
        assert (status, detail.partition(",")[0]) == ("ok", "honored: the second request named the same run")

    @pytest.mark.parametrize(
        ("faults", "words"),
        [
            ([Fault(accept=True, behavior=HONORED), Fault(accept=True, behavior=IGNORED)],
             ["neither honored nor ignored: two runs were queued", "is the one that was sent"]),
            ([Fault(accept=True), Fault(accept=False, status=400, body={"typeKey": "RunOrchestrationExistsException"})],
             ["neither honored nor ignored: the second request was refused", "is another one than was sent"]),
            ([Fault(accept=False, status=500, match=BUILD)],
             ["neither honored nor ignored: two runs were queued", "is not known: HTTP 500"]),
            ([Fault(accept=False, body={"id": 501, "definition": {"id": 4}}, match=BUILD)],
             ["neither honored nor ignored: two runs were queued", "is not shown"]),
            ([Fault(accept=True), Fault(accept=False, status=403, body={"message": "no"})],
             ["not known: the second request failed: HTTP 403: no"]),
        ],
        ids=["two runs with the ID", "refused without the ID", "no build", "no plan", "refused for another reason"],
    )  # fmt: skip
    def test_another_result_is_explained(self, lab: Lab, faults: list[Fault], words: list[str]) -> None:
        lab.emulator.plan(*faults)
        (_, status, detail), cleanup = lab.examine(code=1)
        assert (status, [part for part in words if part not in detail]) == ("failed", [])
        assert cleanup[1] == "ok"
        assert all(canceled(state) for state in lab.states)


class TestWhatIsLeft:
    def test_a_lost_answer_whose_run_has_the_id(self, lab: Lab) -> None:
        lab.behave(**HONORED)
        lab.emulator.plan(Fault(accept=True, drop=True))
        verdict, cleanup = lab.examine(code=1)
        assert verdict[2].startswith("not known: the answer to the first request was lost: ")
        assert cleanup == ("cleanup", "ok", f"Azure DevOps cancels run {lab.link(0)}")
        assert [canceled(state) for state in lab.states] == [True]

    @pytest.mark.parametrize("number", [0, 1])
    def test_a_lost_answer_whose_run_has_another_id(self, lab: Lab, number: int) -> None:
        """Runs that may be ours are named, and not canceled. Those of others are not named."""
        lab.emulator.queue_run(4, requester="Ada")
        lab.emulator.plan(*[Fault(accept=True)] * number, Fault(accept=True, drop=True))
        _, *canceled_runs, left = lab.examine(code=1)
        page = f"{lab.desk.organization_url}/mlops/_build?definitionId=4"
        lines = [
            f"run {lab.link(1 + number)} may have been queued",
            f"a run that is not listed yet may have been queued; see {page}",
        ]
        assert left == ("cleanup", "failed", "\n".join(lines))
        assert len(canceled_runs) == number
        assert [canceled(state) for state in lab.states] == [False, *[True] * number, False]

    def test_a_lost_answer_and_a_list_that_fails(self, lab: Lab) -> None:
        failing = Fault(accept=False, status=500, match=LIST)
        lab.emulator.plan(Fault(accept=False, drop=True), failing, failing)
        _, left = lab.examine(code=1)
        assert left[2].startswith("a run that is not listed yet may have been queued; see ")

    def test_a_run_that_cannot_be_canceled(self, lab: Lab) -> None:
        lab.emulator.plan(Fault(accept=False, status=403, body={"message": "no Stop builds"}, match=CANCEL))
        verdict, done, left = lab.examine(code=1)
        assert (verdict[1], done[2]) == ("ok", f"Azure DevOps cancels run {lab.link(1)}")
        assert left[2].startswith(f"run {lab.link(0)} was queued and may not be canceled: HTTP 403: no Stop builds")

    @pytest.mark.parametrize("is_carried_out", [True, False])
    def test_a_lost_answer_to_a_cancellation(self, lab: Lab, is_carried_out: bool) -> None:
        """The run itself shows whether it is canceled."""
        lab.emulator.plan(Fault(accept=is_carried_out, drop=True, match=CANCEL))
        _, *cleanup = lab.examine(code=0 if is_carried_out else 1)
        if is_carried_out:
            assert cleanup == [("cleanup", "ok", f"Azure DevOps cancels run {lab.link(0)}, {lab.link(1)}")]
        else:
            assert cleanup[1][2].startswith(f"run {lab.link(0)} was queued and may not be canceled: ")

    def test_runs_of_before_are_not_left(self, lab: Lab) -> None:
        """An earlier examination has just queued runs, and others of the same identity still run."""
        lab.examine()
        own = {"id": str(uuid.uuid5(uuid.NAMESPACE_OID, secret("pat")))}
        lab.emulator.queue_run(4, build={"requestedBy": own, "requestedFor": own})
        lab.emulator.plan(Fault(accept=False, drop=True))
        _, left = lab.examine(code=1)
        page = f"{lab.desk.organization_url}/mlops/_build?definitionId=4"
        assert left[2] == f"a run that is not listed yet may have been queued; see {page}"

    @pytest.mark.parametrize("number", [0, 1])
    def test_throttling(self, lab: Lab, number: int) -> None:
        lab.emulator.plan(*[Fault(accept=True)] * number, Fault(accept=False, status=429, headers={"Retry-After": "1"}))
        result = lab.desk.run("doctor", "--idempotency", "bare", "--yes", "--json")
        verdict, *cleanup = result.json
        assert (result.code, verdict["next_step"]) == (1, "wait until the pause is over, and run the command again")
        assert [one["status"] for one in cleanup] == ["ok"] * number
        assert [canceled(state) for state in lab.states] == [True] * number

    @pytest.mark.parametrize("call", ["run", "build", "cancel"])
    def test_an_interruption_names_what_may_be_left(self, lab: Lab, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(PipelinesClient, call, interrupt)
        result = lab.desk.run("doctor", "--idempotency", "bare", "--yes")
        assert (result.code, result.out, result.err.startswith("manage.py: interrupted; ")) == (130, "", True)
        assert f"{lab.desk.organization_url}/" in result.err
        assert all(lab.link(number) in result.err for number in range(len(lab.states)))


class TestNothingIsQueued:
    @pytest.mark.parametrize(
        ("pipeline", "words"),
        [
            ("nope", "no pipeline in project mlops"),
            ("everything", "A value for the 'runId' parameter must be provided"),
            ("forbidden", "HTTP 403: "),
            ("disabled", "is disabled"),
            ("99", "HTTP "),
        ],
    )
    def test_a_pipeline_that_cannot_be_queued(self, lab: Lab, pipeline: str, words: str) -> None:
        ((check, status, detail),) = lab.examine(pipeline, code=1)
        assert (check, status, words in detail, lab.states) == ("idempotency", "failed", True, [])
        assert detail.startswith("nothing was queued: ")

    def test_it_must_be_confirmed(self, lab: Lab) -> None:
        result = lab.desk.process("doctor", "--idempotency", "bare")
        result.fails(2, "--idempotency queues runs; confirm it with --yes")
        for answer, code in (("n", 1), ("y", 0)):
            ours, theirs = pty.openpty()
            os.write(ours, f"{answer}\n".encode())
            asked = lab.desk.finish(lab.desk.start("doctor", "--idempotency", "bare", stdin=theirs))
            os.close(ours)
            os.close(theirs)
            assert asked.err.startswith("queue up to two runs of bare in contoso/mlops, and cancel them? [y/N] ")
            assert (asked.code, len(lab.states)) == (code, 0 if code else 2)

    def test_the_doctor_alone_does_not_do_it(self, lab: Lab) -> None:
        lab.desk.run("doctor")
        assert lab.states == []

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("--route evaluate", "--route and --yes need --idempotency PIPELINE"),
            ("--yes", "--route and --yes need --idempotency PIPELINE"),
            ("--idempotency 4 --url http://127.0.0.1:9", "--idempotency excludes --url and --key"),
            ("--idempotency 4 --yes --route evaluat", "there is no route 'evaluat'; did you mean 'evaluate'?"),
        ],
    )
    def test_wrong_options(self, lab: Lab, arguments: str, message: str) -> None:
        lab.desk.fails(2, message, "doctor", *arguments.split())
        assert lab.states == []

    def test_routes_of_several_projects(self, lab: Lab) -> None:
        lab.desk.routes(RIGHT, TRIAGE + "\nproject: research")
        url = lab.desk.organization_url
        message = f"the routes must name one project, and name {url}/mlops, {url}/research; choose a route with --route"
        lab.desk.fails(2, message, "doctor", "--idempotency", "4", "--yes")
        lab.examine("4", "--route", "evaluate")
        assert len(lab.states) == 2

"""Other records of the same event, run or model."""

import json
from pathlib import Path
from typing import Any

from shared.events.event import AML_PREFIX
from shared.journal.records import Entry, JournalKey, Record
from tests.support.builders import event_text
from tests.support.journal.files import event_record, journal_file
from tests.tools.page.reading.conftest import ReaderOf
from tools.page.reading.journal_file import JournalFile
from tools.page.reading.lineage import Lineage, Term, lineage, terms_of

ROOT = "brave_fig_0a1b2c3d4e"


def about(number: int, name: str, data: dict[str, Any], subject: str = "subject", route: str = "evaluate") -> Record:
    """Return a record of an event with this data."""
    raw = event_text(name, data, id=f"event-{number}", subject=subject)
    entry = Entry(f"event-{number}", AML_PREFIX + name, subject, raw)
    return event_record(number, entry=entry, key=JournalKey(route, f"{number:064x}"))


RUN = about(1, "RunCompleted", {"experimentName": "train", "runId": ROOT})
SAME_EVENT = about(1, "RunCompleted", {"experimentName": "train", "runId": ROOT}, route="triage")
CHILD = about(2, "RunCompleted", {"experimentName": "train", "runId": f"{ROOT}_3"})
OTHER = about(3, "RunCompleted", {"experimentName": "train", "runId": ROOT + "x"})
MODEL = about(4, "ModelRegistered", {"modelName": "m", "modelVersion": "1", "modelTags": {"run": ROOT}}, "models/m:1")
DEPLOYED = about(5, "ModelDeployed", {"serviceName": "s", "modelIds": "m:1,n:2"})
OLDER_MODEL = about(6, "ModelRegistered", {"modelName": "m", "modelVersion": "11"}, "models/m:11")
ALL = [RUN, SAME_EVENT, CHILD, OTHER, MODEL, DEPLOYED, OLDER_MODEL]


def because(found: Lineage) -> dict[JournalKey, list[str]]:
    return {one.record.key: sorted(term.kind for term in one.because) for one in found.found}


def test_what_to_search_for() -> None:
    assert terms_of(CHILD) == (Term("event", "event-2"), Term("Azure ML run", ROOT))
    assert terms_of(MODEL) == (Term("event", "event-4"), Term("model", "m:1"))
    assert terms_of(DEPLOYED) == (Term("event", "event-5"), Term("model", "m:1"), Term("model", "n:2"))
    assert terms_of(RUN._replace(entry=Entry("", "", "", "no JSON"))) == ()


def test_records_of_the_same_event_run_or_model_are_related(reader_of: ReaderOf) -> None:
    reader = reader_of(ALL)
    assert because(reader.lineage(RUN)) == {
        SAME_EVENT.key: ["Azure ML run", "event"],
        CHILD.key: ["Azure ML run"],
        MODEL.key: ["Azure ML run"],
    }
    assert because(reader.lineage(MODEL)) == {DEPLOYED.key: ["model"]}
    assert reader.lineage(RUN).back_to is None


def test_names_that_json_escapes_are_found(reader_of: ReaderOf) -> None:
    name = 'größe "m"'
    models = [about(number, "ModelRegistered", {"modelName": name, "modelVersion": "1"}) for number in (1, 2)]
    models[1] = models[1]._replace(
        entry=models[1].entry._replace(
            event=json.dumps(json.loads(models[1].entry.event), ensure_ascii=False)[:-1] + ', "x": "größe \\"m\\":1"}'
        )
    )
    assert because(reader_of(models).lineage(models[0])) == {models[1].key: ["model"]}


def test_only_the_newest_records_are_searched(tmp_path: Path) -> None:
    file = JournalFile(journal_file(tmp_path / "journal.sqlite3", ALL))
    found = lineage(file, RUN, max_searched=2)
    assert (found.searched, found.back_to) == (2, RUN.claimed_at)
    assert lineage(file, RUN._replace(entry=Entry("", "", "", ""))) == Lineage((), (), 0)

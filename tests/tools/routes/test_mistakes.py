"""Mistakes of people who write their first table: each is one finding with its place and what to write instead.

``check`` reports it, and the app refuses the table at start if it cannot use it.
"""

from pathlib import Path

import pytest

from handlers import NAMES
from shared.errors import InvalidRoutes
from shared.routing.routes_file import load_routes
from tests.support.builders import ENVIRONMENT
from tools.routes.checks import check
from tools.routes.findings import Rule, Severity

HEAD = (
    "version: 1\ndefaults: { organization_url: https://dev.azure.com/contoso, project: mlops }\nroutes:\n  - name: a\n"
)
HERE = "«"
"""Marks the place of the finding, and is not part of the file."""


def route(lines: str, event: str = "RunCompleted") -> str:
    """Return a table with one route. A pipeline is added unless the lines have one."""
    pipeline = "" if "pipeline:" in lines else "\npipeline: p"
    return HEAD + "    " + f"event: {event}{pipeline}\n{lines}".replace("\n", "\n    ") + "\n"


BLOB_CREATED = "Microsoft.Storage.BlobCreated"

# fmt: off
ERRORS = {
    "a value of an event without names of its own": (
        route("when: «region == 'west'", "com.example.landed"),
        "uses the name 'region', which does not exist here; known: data, event", "write data.region"),
    "a name that blobs do not have": (
        route("when: «flder == 'raw'", BLOB_CREATED),
        "uses the name 'flder', which does not exist here", "did you mean 'folder'?"),
    "a route that is not a mapping": (
        "version: 1\nroutes: [«x]\n", "a route must be a mapping of keys to values", ""),
    "a required key that is misspelled": (
        "version: 1\nroutes: [{ name: a, event: RunCompleted, «pipline: p }]\n",
        "a route has no such key", "did you mean 'pipeline'?"),
    "the syntax of Azure Pipelines": (
        route("""parameters: { runId: "«${{ run_id }}" }"""),
        "${{ }} is the syntax of Azure Pipelines", "write {{ run_id }}"),
    "the syntax of Azure Pipelines within text": (
        route("""once_per: 'of «${{root_run_id}} and x'"""),
        "${{ }} is the syntax of Azure Pipelines", "write {{ root_run_id }}"),
    "a macro of Azure Pipelines": (
        route("""parameters: { runId: «$(run_id) }"""),
        "contains '$(', which must never reach a pipeline", "for a value of the event, write {{ expression }}"),
    "a runtime expression of Azure Pipelines": (
        route("""variables: { runId: '«$[ run_id ]' }"""),
        "contains '$[', which must never reach a pipeline", "for a value of the event, write {{ expression }}"),
    "an environment value that is not closed": (
        route("organization_url: «${AZURE_DEVOPS_ORG_URL"),
        "has an environment value that is not closed", "write ${AZURE_DEVOPS_ORG_URL}"),
    "an environment value that is not closed within text": (
        route("parameters: { text: 'in «${STAGE' }"),
        "has an environment value that is not closed", "write ${STAGE}"),
    "a bare environment value as a URL": (
        route("organization_url: «$AZURE_DEVOPS_ORG_URL"),
        "is literal text, not an environment value", "write ${AZURE_DEVOPS_ORG_URL}"),
    "a bare environment value in a URL": (
        route("organization_url: https://dev.azure.com/«$env:ORGANIZATION"),
        "is literal text, not an environment value", "write ${ORGANIZATION}"),
    "forward slashes": (
        route("pipeline: «/ml/evaluate"), "is not how Azure DevOps writes folders", r"write \ml\evaluate"),
    "a folder without the first backslash": (
        route(r"pipeline: «ml\evaluate"), "is not how Azure DevOps writes folders", r"write \ml\evaluate"),
    "doubled backslashes": (
        route(r"pipeline: «'\\ml\\evaluate'"), "is not how Azure DevOps writes folders", r"write \ml\evaluate"),
    "backslashes in double quotes": (
        route(r'pipeline: "«\ml\evaluate"'),
        ("the file is not valid YAML: found unknown escape character; in double quotes, a backslash begins an escape "
        "sequence"), r"use single quotes, as in '\ml\evaluate'"),
    "backslashes in double quotes that are an escape sequence": (
        route(r'pipeline: «"\nightly\evaluate"'),
        ("contains the control character U+000A, which is not allowed here; in double quotes, a backslash begins an "
        "escape sequence"), r"use single quotes, as in '\ml\evaluate'"),
    "a negative pipeline": (route("pipeline: «-1"), "must be a whole number above zero", ""),
    "pipeline zero": (route("pipeline: «0"), "must be a whole number above zero", ""),
    "a list of events": (
        route("", "«[RunCompleted, ModelRegistered]"),
        "must be one event type, not a list", "write one route for each type"),
    "a bare number": (
        route("when: drift_coefficient >= «0.3", "DatasetDriftDetected"),
        "is not JMESPath: invalid token at '0'", "write `0.3` in backquotes"),
    "a bare negative number": (
        route("when: drift_coefficient > «-1e3", "DatasetDriftDetected"),
        "is not JMESPath: invalid token at '-1'", "write `-1e3` in backquotes"),
    "a bare fraction": (
        route("when: drift_coefficient > «.5 || run_id", "DatasetDriftDetected"),
        "is not JMESPath: invalid token at '.'", "write `0.5` in backquotes"),
    "a bare boolean": (
        route("when: run_tags.done == «True"),
        "uses the name 'True', which does not exist here",
        "write `true` in backquotes, or 'true' if the other side is a string"),
    "a bare null": (
        route("when: experiment_name != «null"),
        "uses the name 'null', which does not exist here", "write `null` in backquotes"),
    "a string in double quotes": (
        route("""when: run_status == «"Failed" """, "RunStatusChanged"),
        "uses the name 'Failed', which does not exist here", "if it is a string, write 'Failed' in single quotes"),
    "a placeholder as a condition": (
        route("""when: "{«{ run_status == 'Failed' }}" """, "RunStatusChanged"),
        "is not JMESPath: '{{' begins a placeholder, but this is an expression already",
        "write it without '{{' and '}}'"),
}

WARNINGS = {
    "a misspelled type of an Azure service": (
        route("", "«Microsoft.Storage.BlobCreted"), Rule.UNKNOWN_TYPE,
        "may be misspelled: azure-eventgrid knows no such event type", "did you mean 'Microsoft.Storage.BlobCreated'?"),
    "an unknown Azure service": (
        route("", "«Microsoft.Contoso42.XyzzyQwerty"), Rule.UNKNOWN_TYPE,
        "may be misspelled: azure-eventgrid knows no such event type",
        "see https://learn.microsoft.com/azure/event-grid/system-topics"),
    "a cause of an unknown type": (
        route("causes: «[Microsoft.KeyVault.SecretExpird]"), Rule.UNKNOWN_TYPE,
        "may be misspelled: azure-eventgrid knows no such event type",
        "did you mean 'Microsoft.KeyVault.SecretExpired'?"),
    "a size as a string": (
        route("when: «size != '0'", BLOB_CREATED), Rule.ALWAYS_TRUE, "is always true",
        "size is a number, but the literal is a string; write `0`"),
    "a container that is compared with a number": (
        route("when: «container == `1`", BLOB_CREATED), Rule.NEVER_MATCHES,
        "can never be true, so the route never matches",
        "container is a string, but the literal is a number; write '1'"),
    "another type than the event's": (
        route("when: «event.type == 'com.example.other'", "com.example.landed"), Rule.NEVER_MATCHES,
        "can never be true, so the route never matches",
        "event.type is 'com.example.landed'; did you mean 'com.example.landed'?"),
    "a bare environment value": (
        route("project: «$AZURE_DEVOPS_PROJECT"), Rule.LITERAL_TEXT,
        "is literal text, not an environment value", "write ${AZURE_DEVOPS_PROJECT}"),
    "a bare environment value as a parameter": (
        route("parameters: { stage: «$STAGE }"), Rule.LITERAL_TEXT,
        "is literal text, not an environment value", "write ${STAGE}"),
    "single braces": (
        route("""parameters: { runId: "«{ run_id }" }"""), Rule.LITERAL_TEXT,
        "is literal text, not a value of the event", "did you mean {{ run_id }}?"),
    "single braces within text": (
        route("""once_per: '{{ run_id }} «{run_tags.team}'"""), Rule.LITERAL_TEXT,
        "is literal text, not a value of the event", "did you mean {{ run_tags.team }}?"),
    "a name without braces": (
        route("parameters: { team: «run_tags.team }"), Rule.LITERAL_TEXT,
        "is literal text, not a value of the event", "did you mean {{ run_tags.team }}?"),
    "a name without braces as once_per": (
        route("once_per: «root_run_id"), Rule.LITERAL_TEXT,
        "is literal text, not a value of the event", "did you mean {{ root_run_id }}?"),
    "a word without braces as once_per": (
        route("once_per: «path", BLOB_CREATED), Rule.LITERAL_TEXT,
        "is literal text, not a value of the event", "did you mean {{ path }}?"),
    "a word without braces as cooldown_key": (
        route("cooldown: 1h\ncooldown_key: «container", BLOB_CREATED), Rule.LITERAL_TEXT,
        "is literal text, not a value of the event", "did you mean {{ container }}?"),
    "a tag as a number": (
        route("when: «model_tags.auc >= `0.9`", "ModelRegistered"), Rule.NEVER_MATCHES,
        "can never be true, so the route never matches, and parks the events for which it fails",
        "model_tags.auc is a string, but the literal is a number; write to_number(model_tags.auc)"),
    "a tag as a boolean": (
        route("when: «model_tags.approved == `true`", "ModelRegistered"), Rule.NEVER_MATCHES,
        "can never be true, so the route never matches",
        "model_tags.approved is a string, but the literal is a boolean; write 'true'"),
    "a tag that is never a boolean": (
        route("when: «service_tags.old != `true`", "ModelDeployed"), Rule.ALWAYS_TRUE, "is always true",
        "service_tags.old is a string, but the literal is a boolean; write 'true'"),
    "a property as a number, in a part of a condition": (
        route("when: «model_name == 'x' || model_properties.n == `3`", "ModelRegistered"),
        Rule.WRONG_KIND, "never holds", "model_properties.n is a string, but the literal is a number; write '3'"),
    "a property that is never a number, in a part of a condition": (
        route("when: «model_tags.stage && model_properties.n != `3`", "ModelRegistered"),
        Rule.WRONG_KIND, "always holds", "model_properties.n is a string, but the literal is a number; write '3'"),
    "a number as a string": (
        route("when: «drift_coefficient == '0.5' || run_id == 'x'", "DatasetDriftDetected"), Rule.WRONG_KIND,
        "never holds", "drift_coefficient is a number, but the literal is a string; write `0.5`"),
    "a boolean as a string": (
        route("when: «monitor_threshold_breached == 'true'", "RunStatusChanged"), Rule.NEVER_MATCHES,
        "can never be true, so the route never matches",
        "monitor_threshold_breached is a boolean, but the literal is a string; write `true`"),
    "the result of a function as a string": (
        route("when: «to_number(run_tags.auc) >= '0.9'"), Rule.NEVER_MATCHES,
        "can never be true, so the route never matches, and parks the events for which it fails",
        "to_number(run_tags.auc) is a number, but the literal is a string; write `0.9`"),
    "strings compared as numbers": (
        route("when: «model_version > '3'", "ModelRegistered"), Rule.WRONG_KIND,
        "may not be meant: strings are compared character by character, so '10' comes before '9'",
        "write to_number(model_version), and `3` in backquotes"),
    "an extension with a dot": (
        route("when: «extension == '.csv'", BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because extension is written in lower case, without a dot",
        "write 'csv'"),
    "an extension in upper case, in a list": (
        route("when: «contains(['CSV', 'parquet'], extension)", BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because extension is written in lower case, without a dot",
        "write 'csv'"),
    "an extension in upper case, in a list in backquotes": (
        route("""when: «contains(`["CSV"]`, extension)""", BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because extension is written in lower case, without a dot",
        "write 'csv'"),
    "an extension that must not be": (
        route("when: «name == 'x' || '.CSV' != extension", BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because extension is written in lower case, without a dot",
        "write 'csv'"),
    "a folder with a slash at its end": (
        route("when: «folder == 'landing/'", BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because folder is written without a slash at its start and end, and not percent-encoded",
        "write 'landing'"),
    "the end of a folder with a slash": (
        route("when: «ends_with(folder, 'landing/')", BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because folder is written without a slash at its start and end, and not percent-encoded",
        "write 'landing'"),
    "a path with a slash at its start": (
        route("when: «starts_with(path, '/landing/')", BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because path is written without a slash at its start and end, and not percent-encoded",
        "write 'landing/'"),
    "a path that is percent-encoded": (
        route("when: «contains(path, 'raw%20data/')", BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because path is written without a slash at its start and end, and not percent-encoded",
        "write 'raw data/'"),
    "a path that is a folder": (
        route("when: «ends_with(path, '/')", BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because path is written without a slash at its start and end, and not percent-encoded",
        ""),
    "a file's name with its folder": (
        route("when: «name == 'landing/a.csv'", BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because name is written without the folder, and not percent-encoded",
        "write 'a.csv'"),
    "a container with a folder": (
        route("when: «container == 'raw/landing'", BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because container is written in lower case, without a slash",
        "write 'raw'"),
    "a container in upper case": (
        route("when: «starts_with(container, 'Raw-')", BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because container is written in lower case, without a slash",
        "write 'raw-'"),
    "the URL of an account": (
        route("when: «account == 'https://Contoso.blob.core.windows.net/'", BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because account is written in lower case, without a domain",
        "write 'contoso'"),
    "an etag in quotes": (
        route("""when: «etag == '"0x1"' """, BLOB_CREATED), Rule.WRONG_FORM,
        "may never match, because etag is written without quotes",
        "write '0x1'"),
    "the API of a file that is still open": (
        route("when: «api == 'CreateFile'", BLOB_CREATED), Rule.WRONG_FORM,
        ("may never match, because api is written as FlushWithClose or SftpCommit, since the event of a file that is "
        "still open is ignored"),
        "write 'FlushWithClose'"),
    "the id of a model without its version": (
        route("when: «model_id == 'fraud'", "ModelRegistered"), Rule.WRONG_FORM,
        "may never match, because model_id is written with a colon and the version",
        "write 'fraud:1'"),
    "the id of a workspace": (
        route("when: «event.workspace == '/subscriptions/0f/workspaces/train'"), Rule.WRONG_FORM,
        "may never match, because event.workspace is written as a name alone",
        "write 'train'"),
    "an extension with a dot in a placeholder": (
        route("parameters: { «kind: \"{{ extension == '.csv' && 'table' || 'other' }}\" }", BLOB_CREATED),
        Rule.WRONG_FORM, "may never match, because extension is written in lower case, without a dot", "write 'csv'"),
    "a status in lower case, in a part of a condition": (
        route("when: «run_status == 'failed' || experiment_name == 'train'", "RunStatusChanged"), Rule.WRONG_KIND,
        "never holds", "run_status is 'Completed', 'Failed' or 'Canceled'; did you mean 'Failed'?"),
    "a status that is not final must not be": (
        route("when: «run_status != 'Running' && experiment_name == 'train'", "RunStatusChanged"), Rule.WRONG_KIND,
        "always holds", "run_status is 'Completed', 'Failed' or 'Canceled'"),
    "the beginning of a status in lower case": (
        route("when: «starts_with(run_status, 'fail')", "RunStatusChanged"), Rule.NEVER_MATCHES,
        "can never be true, so the route never matches",
        "run_status is 'Completed', 'Failed' or 'Canceled'; did you mean 'Failed'?"),
    "a list of statuses in lower case, in a part of a condition": (
        route("when: «contains(['failed'], run_status) || run_id == 'x'", "RunStatusChanged"), Rule.WRONG_KIND,
        "never holds", "run_status is 'Completed', 'Failed' or 'Canceled'; did you mean 'Failed'?"),
    "a list of all statuses": (
        route("when: «contains(['Completed', 'Failed', 'Canceled'], run_status)", "RunStatusChanged"),
        Rule.ALWAYS_TRUE, "is always true", "leave 'when' out, or compare something"),
    "a number in a tag": (
        route("when: «run_id == 'x' || contains(run_tags.ids, `1`)"), Rule.WRONG_KIND,
        "always fails, so it parks the events for which it is evaluated",
        "the argument is a number, which contains() does not accept; write '1'"),
    "arithmetic with a tag": (
        route("when: «run_id == 'x' || abs(run_tags.x) > `1`"), Rule.WRONG_KIND,
        "always fails, so it parks the events for which it is evaluated",
        "run_tags.x is a string or null, which abs() does not accept; write to_number(run_tags.x)"),
    "arithmetic with several tags": (
        route("when: «sum([run_tags.a, run_tags.b]) > `1`"), Rule.ALWAYS_PARKS,
        "can never be evaluated, so the route parks every event that reaches it",
        "run_tags.a is a string or null, which sum() does not accept; write to_number(run_tags.a)"),
    "tags sorted like a list": (
        route("when: «sort_by(run_tags, &x)"), Rule.ALWAYS_PARKS,
        "can never be evaluated, so the route parks every event that reaches it",
        "run_tags is an object, which sort_by() does not accept"),
    "a key with dots": (
        route("when: «run_properties.azureml.git.branch == 'main'"), Rule.NEVER_MATCHES,
        "can never be true, so the route never matches",
        ("the values of run_properties are strings, which have no names; for a key with dots, write "
        'run_properties."azureml.git.branch"')),
    "a key with dots in a placeholder": (
        route("once_per: «'{{ run_tags.mlflow.parentRunId }}'"), Rule.ALWAYS_PARKS,
        "never finds a single value, so the route parks every event that it matches",
        ("the values of run_tags are strings, which have no names; for a key with dots, write "
        'run_tags."mlflow.parentRunId"')),
    "a tag as a number in a placeholder": (
        route("parameters: { «best: \"{{ run_tags.auc > `0.9` && 'yes' || 'no' }}\" }"), Rule.WRONG_KIND,
        "never holds", "run_tags.auc is a string, but the literal is a number; write to_number(run_tags.auc)"),
    "no route": (
        "version: 1\nroutes: «[]\n", Rule.NO_ROUTES, "there is no route, so no event queues a pipeline", "add a route"),
}
# fmt: on


def loads(text: str) -> bool:
    try:
        load_routes(text, source="routes.yaml", names=NAMES, environment=ENVIRONMENT)
    except InvalidRoutes:
        return False
    return True


def place(text: str) -> tuple[int, int]:
    before = text.partition(HERE)[0]
    return before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1


@pytest.mark.parametrize(("text", "message", "suggestion"), ERRORS.values(), ids=ERRORS)
def test_an_error(text: str, message: str, suggestion: str) -> None:
    written = text.replace(HERE, "")
    (found,) = check(written, Path("nowhere/routes.yaml"), NAMES, ENVIRONMENT)[1]
    assert (found.severity, found.message, found.suggestion) == (Severity.ERROR, message, suggestion)
    assert (found.line, found.column) == place(text)
    assert not loads(written)


def test_a_group_without_braces() -> None:
    gathers = "gather: {{ quiet: 1m, at_most: 1h, by: {} }}"
    environment = {**ENVIRONMENT, "RESUME_STORAGE": "sqlite"}
    for by, advice in [("container", ["did you mean {{ container }}?"]), ("one", []), ("'{{ container }}'", [])]:
        found = check(route(gathers.format(by), BLOB_CREATED), Path("nowhere/routes.yaml"), NAMES, environment)[1]
        assert [each.suggestion for each in found] == advice


@pytest.mark.parametrize(("text", "rule", "message", "suggestion"), WARNINGS.values(), ids=WARNINGS)
def test_a_warning(text: str, rule: Rule, message: str, suggestion: str) -> None:
    written = text.replace(HERE, "")
    (found,) = check(written, Path("nowhere/routes.yaml"), NAMES, ENVIRONMENT)[1]
    assert (found.severity, found.rule) == (Severity.WARNING, rule)
    assert (found.message, found.suggestion) == (message, suggestion)
    assert (found.line, found.column) == place(text)
    assert loads(written)


@pytest.mark.parametrize(
    "lines",
    [
        "when: run_tags.approved == 'true' && to_number(run_tags.auc) > `0.9` && run_tags.a != run_id",
        "when: experiment_name == `null` || run_tags.a == `null` || contains([run_tags.a, 'x'], run_id)",
        "when: event.time > '2026-01-01' && run_properties.\"azureml.git.branch\" == 'main' || data.x > `1`",
        "when: event.type == 'Microsoft.MachineLearningServices.RunCompleted' && run_id == 'x'",
        "when: sum([to_number(run_tags.a), `1`]) > `2` || contains(run_tags.a, '1') || data.runTags.a == `1`",
        "parameters: { a: '{ \"x\": 1 }', b: 'costs 5 $', c: '{team}', d: 'in $HOME', e: '{}', f: '{{ run_id }}$' }",
        r"pipeline: \ml\evaluate",
        "pipeline: '2024.1'",
        "allow: '[a-z]{2}$'",
    ],
)
def test_text_that_is_meant(lines: str) -> None:
    assert check(route(lines), Path("nowhere/routes.yaml"), NAMES, ENVIRONMENT)[1] == []


@pytest.mark.parametrize("event", ["com.example.landed", "Microsoft.KeyVault.SecretNearExpiry"])
@pytest.mark.parametrize(
    "lines",
    [
        "when: data.region == 'west' && data.orders > `1000` || data == 'x' || contains(data.list, data.item)",
        "when: data",
        "when: data[0].region",
        "parameters: { a: '{{ data }}', b: '{{ data.a.b }}', c: '{{ event.subject }}' }",
        "causes: [{event: com.example.done, with: {data.region: west}}, com.example.other]",
    ],
)
def test_the_data_of_any_event_may_be_anything(event: str, lines: str) -> None:
    assert check(route(lines, event), Path("nowhere/routes.yaml"), NAMES, ENVIRONMENT)[1] == []


@pytest.mark.parametrize(
    "when",
    [
        "folder == '' || extension == ''",
        "size > `0` && etag == `null`",
        "account",
        "starts_with(path, 'landing/') && contains(path, '/2026/') && ends_with(path, '/a.CSV') && path != '100%.csv'",
        "starts_with(folder, 'landing/') || ends_with(folder, '/2026') || contains(folder, '/x/') || folder == 'a/b'",
        "contains(['csv', 'parquet'], extension) && name != 'A.b.CSV' && starts_with(api, 'CreateFile')",
        "contains([extension, container], '.csv') || data.files[?extension == '.csv'] || data.extension == '.csv'",
        "account == 'contoso' && container == '$root' && event.source == '/subscriptions/0f' && event.subject == '/a/'",
    ],
)
def test_conditions_on_blobs(when: str) -> None:
    found = check(route(f"when: {when}", BLOB_CREATED), Path("nowhere/routes.yaml"), NAMES, ENVIRONMENT)[1]
    assert found == []

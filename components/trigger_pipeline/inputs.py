"""The inputs of the component: those of Microsoft's playbook, and optional ones with defaults."""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal, NoReturn
from urllib.parse import urlsplit

from shared.azure_devops.runs import API_VERSION
from shared.durations import parse_duration
from shared.http.environment import is_loopback
from shared.routing.templates import InvalidExpression, Template, parse_template

VAULT_SUFFIXES: Final = {
    "AzureCloud": "vault.azure.net",
    "AzureChinaCloud": "vault.azure.cn",
    "AzureUSGovernment": "vault.usgovcloudapi.net",
}
"""DNS suffix of Key Vault in each cloud.

Source: Azure docs, key-vault/general/about-keys-secrets-certificates, DNS suffixes.
"""

PLACEHOLDERS: Final[Mapping[str, tuple[str, ...]]] = {"model_name": (), "run_id": (), "job_run_id": ()}
"""The names that placeholders in parameters and variables may use."""

# The variables that the playbook's component sends. The default if neither parameters nor variables are given.
_PLAYBOOK_VARIABLES: Final = '{"model_name": "{{ model_name }}", "run_id": "{{ run_id }}"}'

_REQUIRED: Final = ("modelpath", "modelname", "org", "project", "pipelineid")
_OPTIONAL: Final[Mapping[str, str]] = {
    **dict.fromkeys(("kvname", "secretname", "auth", "branch", "pipelineversion", "parameters", "variables"), ""),
    **dict.fromkeys(("correlationparameter", "runurl"), ""),
    "apiversion": API_VERSION,
    "cloud": "AzureCloud",
    "lookback": "7d",
    "settle": "2m",
    "timelimit": "10m",
}


class InvalidInputs(Exception):
    """Inputs are missing or invalid. The message lists every problem."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Validated inputs.

    :param vault_url: the Key Vault that contains the PAT. None if the PAT is in the environment or is not needed.
    :param job_run_id: run id of the whole job, which is the same for each attempt of a step.
    """

    model_path: Path
    model_name: str
    organization_url: str
    project: str
    pipeline_id: int
    branch: str | None
    api_version: str
    pipeline_version: int | None
    auth: Literal["identity", "pat"]
    vault_url: str | None
    secret_name: str | None
    parameters: Mapping[str, Template]
    variables: Mapping[str, Template]
    correlation_parameter: str | None
    look_back: timedelta
    settle: timedelta
    time_limit: timedelta
    run_url_file: Path | None
    job_run_id: str


def read_inputs(arguments: Sequence[str], environment: Mapping[str, str]) -> Inputs:
    """Read the inputs from the command line and the id of the job from the environment.

    :raises InvalidInputs: if any input is missing or invalid. The message lists every problem.
    """
    return _Reader(_parser().parse_args(arguments), environment).read()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidInputs(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m components.trigger_pipeline", allow_abbrev=False)
    for name in _REQUIRED:
        parser.add_argument(f"--{name}", required=True)
    for name, default in _OPTIONAL.items():
        parser.add_argument(f"--{name}", default=default)
    return parser


class _Reader:
    def __init__(self, options: argparse.Namespace, environment: Mapping[str, str]) -> None:
        self._texts = {name: str(value).strip() for name, value in vars(options).items()}
        self._environment = environment
        self._problems: list[str] = []

    def read(self) -> Inputs:
        texts = self._texts
        variables = texts["variables"] or ("" if texts["parameters"] else _PLAYBOOK_VARIABLES)
        inputs = Inputs(
            model_path=Path(texts["modelpath"]),
            model_name=texts["modelname"],
            organization_url=self._organization_url(),
            project=self._required("project"),
            pipeline_id=self._number("pipelineid") or 0,
            branch=texts["branch"] or None,
            api_version=self._api_version(),
            pipeline_version=self._number("pipelineversion") if texts["pipelineversion"] else None,
            auth=self._auth(),
            vault_url=self._vault_url(),
            secret_name=texts["secretname"] or None,
            parameters=self._templates("parameters", texts["parameters"]),
            variables=self._templates("variables", variables),
            correlation_parameter=texts["correlationparameter"] or None,
            look_back=self._duration("lookback"),
            settle=self._duration("settle"),
            time_limit=self._duration("timelimit"),
            run_url_file=Path(texts["runurl"]) if texts["runurl"] else None,
            job_run_id=self._job_run_id(),
        )
        if inputs.settle * 2 > inputs.time_limit:
            self._problems.append("timelimit must be at least twice as long as settle; otherwise nothing is queued")
        if inputs.correlation_parameter in inputs.parameters:
            self._problems.append("correlationparameter must not be one of parameters; the step sets its value")
        if self._problems:
            raise InvalidInputs("; ".join(self._problems))
        return inputs

    def _required(self, name: str) -> str:
        if not self._texts[name]:
            self._problems.append(f"{name} must not be empty")
        return self._texts[name]

    def _organization_url(self) -> str:
        """Return the URL for an organization's name, or for the URL of Azure DevOps Server or of the emulator."""
        org = self._texts["org"].rstrip("/")
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", org):
            return f"https://dev.azure.com/{org}"
        try:
            parts = urlsplit(org)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            parts, host = urlsplit(""), ""
        # https, because a credential is sent there.
        is_local = parts.scheme == "http" and is_loopback(host)
        if set(org) & set("@?#"):  # not shown, because it may contain a credential
            self._problems.append("org must not contain a user name, password, query or fragment")
        elif not host or not (parts.scheme == "https" or is_local):
            self._problems.append(f"org must be an organization's name or an https:// URL, got '{org}'")
        return org

    def _number(self, name: str) -> int | None:
        text = self._texts[name]
        if text.isascii() and text.isdigit() and int(text) > 0:
            return int(text)
        self._problems.append(f"{name} must be a whole number greater than zero, got '{text}'")
        return None

    def _api_version(self) -> str:
        text = self._texts["apiversion"]
        if not re.fullmatch(r"\d+\.\d+(-preview(\.\d+)?)?", text):
            self._problems.append(f"apiversion must be a version such as 7.1 or 7.2-preview.1, got '{text}'")
        return text

    def _auth(self) -> Literal["identity", "pat"]:
        """Return the given value. The default is ``pat`` if a Key Vault is given, as in the playbook's component."""
        auth, has_vault = self._texts["auth"], bool(self._texts["kvname"])
        if auth not in {"", "identity", "pat"}:
            self._problems.append(f"auth must be 'identity' or 'pat', got '{auth}'")
        if has_vault != bool(self._texts["secretname"]):
            self._problems.append("kvname and secretname must be given together")
        if auth == "identity" and has_vault:
            self._problems.append(
                "auth 'identity' does not use kvname and secretname; remove them or set auth to 'pat'"
            )
        if auth == "pat" and not has_vault and not self._environment.get("AZURE_DEVOPS_EXT_PAT"):
            self._problems.append("auth 'pat' needs a PAT; give kvname and secretname")
        return "pat" if auth == "pat" or (not auth and has_vault) else "identity"

    def _vault_url(self) -> str | None:
        name, cloud = self._texts["kvname"], self._texts["cloud"]
        suffix = VAULT_SUFFIXES.get(cloud)
        if suffix is None:
            self._problems.append(f"cloud must be one of {', '.join(VAULT_SUFFIXES)}, got '{cloud}'")
        if not name:
            return None
        if not re.fullmatch(r"[A-Za-z0-9-]{3,24}", name):
            self._problems.append(f"kvname must be the name of a Key Vault without its domain, got '{name}'")
        return f"https://{name}.{suffix}"

    def _templates(self, name: str, text: str) -> dict[str, Template]:
        if not text:
            return {}
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if not isinstance(values, dict) or not all(isinstance(value, str | int | float) for value in values.values()):
            self._problems.append(f'{name} must be a JSON object of strings such as {{"runId": "{{{{ run_id }}}}"}}')
            return {}
        return {key: template for key, value in values.items() if (template := self._template(name, key, value))}

    def _template(self, name: str, key: str, value: str | float) -> Template | None:
        try:
            return parse_template(value if isinstance(value, str) else json.dumps(value), PLACEHOLDERS)
        except InvalidExpression as exc:
            self._problems.append(f"{name}.{key} {exc}")
            return None

    def _duration(self, name: str) -> timedelta:
        text = self._texts[name]
        try:
            return parse_duration(text)
        except ValueError as exc:
            self._problems.append(f"{name}: '{text}' {exc}")
            return timedelta(hours=1)

    def _job_run_id(self) -> str:
        run_id = self._environment.get("AZUREML_ROOT_RUN_ID") or self._environment.get("AZUREML_RUN_ID")
        if not run_id:
            self._problems.append(
                "neither AZUREML_ROOT_RUN_ID nor AZUREML_RUN_ID is set, so the job is unknown; run it as a step of an "
                "Azure ML job"
            )
        return run_id or ""

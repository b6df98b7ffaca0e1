"""Gives the variables of the repository and of the GitHub environment to azd, and signs in with the job's token.

VARIABLES has all of them, as a JSON object. Those of nextstage and azd become environment variables of the later steps.
Exit codes: 0 signed in, 1 a variable is missing, or azd's.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

REQUIRED = ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME", "AZURE_LOCATION")

every = json.loads(os.environ["VARIABLES"])
values = {name: " ".join(every[name].split()) for name in every if re.match(r"(AML|AZURE|NEXTSTAGE)_", name)}
if missing := [name for name in REQUIRED if not values.get(name)]:
    print(f"::error::not set: {', '.join(missing)}; run 'azd pipeline config', or set them in the GitHub environment")
    sys.exit(1)
with Path(os.environ["GITHUB_ENV"]).open("a", encoding="utf-8") as file:
    file.writelines(f"{name}={value}\n" for name, value in values.items())


def azd(*arguments: str) -> int:
    """Run azd with the values, and return its exit code."""
    return subprocess.run(["azd", *arguments], env={**os.environ, **values}, check=False).returncode  # noqa: S603, S607


identity = ("--client-id", values["AZURE_CLIENT_ID"], "--tenant-id", values["AZURE_TENANT_ID"])
if code := azd("auth", "login", *identity, "--federated-credential-provider", "github"):
    sys.exit(code)
# The outputs of the last deployment, which the next one and the hooks read.
if azd("env", "refresh", "--environment", values["AZURE_ENV_NAME"], "--no-prompt"):
    print(f"::notice::{values['AZURE_ENV_NAME']} has not been deployed yet")

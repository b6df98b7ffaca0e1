"""Handle one event in its own process: read the secret, make a credential and a session, post, end.

python one_shot.py URL BODY_FILE                    with the PAT from the environment
python one_shot.py URL BODY_FILE VAULT CERTIFICATE  with the PAT from Key Vault, read with the managed identity
"""

import os
import sys
from pathlib import Path

import requests
from requests.auth import HTTPBasicAuth


def secret() -> str:
    """Return the PAT."""
    if len(sys.argv) < 5:
        return os.environ["AZURE_DEVOPS_EXT_PAT"]
    from azure.identity import ManagedIdentityCredential  # noqa: PLC0415 - slow, and not always needed
    from azure.keyvault.secrets import SecretClient  # noqa: PLC0415

    vault, certificate = sys.argv[3:]
    identity = ManagedIdentityCredential()
    # The emulated vault is not in the domain vault.azure.net, and its certificate is from our own authority.
    with SecretClient(vault, identity, verify_challenge_resource=False, connection_verify=certificate) as client:
        return client.get_secret("azure-devops-pat").value or ""


with requests.Session() as session:
    session.auth = HTTPBasicAuth("", secret())
    session.headers["Content-Type"] = "application/json"
    answer = session.post(sys.argv[1], data=Path(sys.argv[2]).read_bytes(), timeout=15)
answer.raise_for_status()
print(answer.json()["id"], flush=True)

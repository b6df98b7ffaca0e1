"""Tests of PlanUrls: the accepted addresses, and addresses that only look similar."""

import pytest

from shared.waits.plan_url import PlanUrls

CLOUD = PlanUrls("https://dev.azure.com/contoso", [], in_azure=True)
SERVER = PlanUrls(
    "https://tfs.contoso.com:8443/tfs/DefaultCollection", ["ado.contoso.com", "10.0.0.7:8443"], in_azure=True
)
LOCAL = PlanUrls("http://127.0.0.1:7080/contoso", [], in_azure=False)
NOWHERE = PlanUrls(None, [], in_azure=True)


@pytest.mark.parametrize(
    ("urls", "url"),
    [
        (CLOUD, "https://dev.azure.com/contoso/"),
        (CLOUD, "https://dev.azure.com/contoso"),
        (CLOUD, "https://DEV.azure.com/Contoso/"),
        (CLOUD, "https://dev.azure.com:443/contoso/"),
        (CLOUD, "https://contoso.visualstudio.com/"),
        (CLOUD, "https://contoso.visualstudio.com/DefaultCollection/"),
        (CLOUD, "https://dev.azure.com/another-organization/"),
        (SERVER, "https://tfs.contoso.com:8443/tfs/DefaultCollection/"),
        (SERVER, "https://tfs.contoso.com:8443/tfs/Other%20Collection/"),
        (SERVER, "https://ado.contoso.com/tfs/DefaultCollection/"),
        (SERVER, "https://10.0.0.7:8443/tfs/"),
        (SERVER, "https://dev.azure.com/contoso/"),
        (LOCAL, "http://127.0.0.1:7080/contoso/"),
        (NOWHERE, "https://dev.azure.com/contoso/"),
    ],
)
def test_azure_devops(urls: PlanUrls, url: str) -> None:
    assert urls.problem(url) is None


NOT_THE_CLOUD = [
    # look-alike hosts
    "https://dev.azure.com.evil.example/contoso/",
    "https://evildev.azure.com/contoso/",
    "https://visualstudio.com/",
    "https://evilvisualstudio.com/",
    "https://contoso.visualstudio.com.evil.example/",
    "https://.visualstudio.com/",
    "https://dev.azure.com./contoso/",
    # user information, and what some programs read as such
    "https://dev.azure.com@evil.example/contoso/",
    "https://user:password@dev.azure.com/contoso/",
    "https://evil.example\\@dev.azure.com/contoso/",
    "https://evil.example#@dev.azure.com/contoso/",
    "https://evil.example?@dev.azure.com/contoso/",
    "https://evil.example%2f@dev.azure.com/contoso/",
    # ports
    "https://dev.azure.com:8443/contoso/",
    "https://contoso.visualstudio.com:444/",
    "https://dev.azure.com:/contoso/",
    "https://dev.azure.com:0443/contoso/",
    "https://dev.azure.com:99999999/contoso/",
    # addresses of machines
    "https://127.0.0.1/contoso/",
    "https://[::1]/contoso/",
    "https://169.254.169.254/metadata/identity/",
    # letters of other scripts
    "https://dev.azure.cоm/contoso/",  # noqa: RUF001 - a Cyrillic o is the point
    "https://ｄｅｖ.azure.com/contoso/",  # noqa: RUF001 - full-width letters are
    "https://dev。azure。com/contoso/",
    "https://dev.azure.com\u2044evil.example/",
    # other schemes, other shapes
    "http://dev.azure.com/contoso/",
    "ftp://dev.azure.com/contoso/",
    "//dev.azure.com/contoso/",
    "dev.azure.com/contoso/",
    "https:dev.azure.com/contoso/",
    "https:///dev.azure.com/contoso/",
    "javascript:alert(1)",
    "https://dev.azure.com/contoso/?x=y",
    "https://dev.azure.com/contoso/#x",
    "https://dev.azure.com/contoso/../evil/",
    "https://dev.azure.com/./",
    "https://dev.azure.com//evil/",
    "https://dev.azure.com/con%2e%2etoso/",
    "https://dev.azure.com/contoso/ ",
    "https://dev.azure.com/con\ntoso/",
    "https://dev.azure.com\x00.evil.example/",
    "https://",
    "",
    # this machine, if the organization is elsewhere
    "http://127.0.0.1:7080/contoso/",
    "http://localhost:7080/contoso/",
]


@pytest.mark.parametrize(
    ("urls", "url"),
    [
        *((CLOUD, url) for url in NOT_THE_CLOUD),
        # another port is another server
        (SERVER, "https://tfs.contoso.com/tfs/"),
        (SERVER, "https://tfs.contoso.com:8444/tfs/"),
        (SERVER, "https://ado.contoso.com:8443/tfs/"),
        (SERVER, "https://10.0.0.7/tfs/"),
        (SERVER, "https://10.0.0.8:8443/tfs/"),
        # http is accepted only for this machine, only for the organization itself, and never in Azure
        (SERVER, "http://tfs.contoso.com:8443/tfs/"),
        (LOCAL, "http://127.0.0.1:7081/contoso/"),
        (LOCAL, "http://localhost:7080/contoso/"),
        (LOCAL, "http://10.0.0.7:7080/"),
        (PlanUrls("http://127.0.0.1:7080/contoso", [], in_azure=True), "http://127.0.0.1:7080/contoso"),
        (PlanUrls("http://tfs.contoso.com:8080/tfs", [], in_azure=False), "http://tfs.contoso.com:8080/tfs"),
    ],
)
def test_not_azure_devops(urls: PlanUrls, url: str) -> None:
    assert urls.problem(url) is not None


@pytest.mark.parametrize(
    ("urls", "url", "expected"),
    [
        (CLOUD, "https://dev.azure.com/contoso/", True),
        (CLOUD, "https://dev.azure.com/Contoso", True),
        (CLOUD, "https://contoso.visualstudio.com/", True),
        (CLOUD, "https://dev.azure.com/fabrikam/", False),
        (CLOUD, "https://dev.azure.com/contoso-evil/", False),
        (CLOUD, "https://dev.azure.com/contos/", False),
        (CLOUD, "https://fabrikam.visualstudio.com/", False),
        (SERVER, "https://tfs.contoso.com:8443/tfs/DefaultCollection", True),
        (SERVER, "https://tfs.contoso.com:8443/tfs/Other", False),
        (PlanUrls("https://contoso.visualstudio.com", [], in_azure=True), "https://dev.azure.com/contoso/", True),
        (NOWHERE, "https://dev.azure.com/contoso/", False),
    ],
)
def test_the_organization_itself(urls: PlanUrls, url: str, *, expected: bool) -> None:
    assert urls.is_own_organization(url) is expected


def test_the_message_explains_what_to_do() -> None:
    assert CLOUD.problem("https://tfs.contoso.com:8443/tfs/") == (
        "has the host tfs.contoso.com:8443, which is not Azure DevOps; "
        "add it to WAIT_ALLOWED_HOSTS if it is your server"
    )

"""The version that Azure DevOps sees as our User-Agent; kept equal to pyproject.toml by a test."""

VERSION = "0.1.0"

"""The version that the app sends in its User-Agent header. A test keeps it equal to the one in pyproject.toml."""

VERSION = "0.1.0"

"""What the YAML reader refuses, because it would exhaust memory or never end."""

import pytest
import yaml

from shared.routing import yaml_documents

_REPEATED = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"a0: &a0 [x, x, x]\n{_REPEATED}", "the alias \\*a[0-9]+ stands for too many values"),
        ("default: &a [*a]", "the alias \\*a stands for too many values"),
        ("default: &a {b: {c: *a}}", "the alias \\*a stands for too many values"),
        ("[" * 101, "nested more than 100 levels deep"),
    ],
)
def test_content_without_an_end_is_refused(text: str, problem: str) -> None:
    with pytest.raises(yaml.YAMLError, match=problem):
        yaml_documents.load(text)


def test_a_few_aliases_are_read() -> None:
    text = "a: &a [1, &x 2]\nb: {c: *a, d: [*a, *a]}\ne: *x"
    assert yaml_documents.load(text) == {"a": [1, 2], "b": {"c": [1, 2], "d": [[1, 2], [1, 2]]}, "e": 2}


def test_a_file_without_aliases_may_have_many_values() -> None:
    assert len(yaml_documents.load("- x\n" * 20_000)) == 20_000

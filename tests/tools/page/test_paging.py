"""Pages of a list."""

import pytest

from tools.page.paging import SIZE, part


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, 1),
        ("", 1),
        ("0", 1),
        ("1", 1),
        ("2", 2),
        ("3", 3),
        ("4", 3),
        ("-1", 1),
        ("x", 1),
        ("²", 1),
        ("٣", 1),
        ("9" * 99, 1),
    ],
)
def test_the_nearest_page_is_shown(number: str | None, shown: int) -> None:
    assert part(range(2 * SIZE + 1), number).number == shown


def test_the_pages_have_all_items_once() -> None:
    items = range(2 * SIZE + 7)
    pages = [part(items, str(number)) for number in (1, 2, 3)]
    assert [item for one in pages for item in one.items] == list(items)
    assert [one.has_more for one in pages] == [True, True, False]
    assert [one.words for one in pages] == ["1 to 50 of 107", "51 to 100 of 107", "101 to 107 of 107"]


def test_a_list_of_one_page_needs_no_words() -> None:
    for items in ([], [1], list(range(SIZE))):
        one = part(items, "1")
        assert (one.items, one.has_more, one.words) == (items, False, "")

"""What the journal asks of a table in Azure Table storage, and the possible answers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Refused(Exception):
    """The service answered that it did not do it. ``code`` is its error code, or empty. Never leaves the store.

    Codes: https://learn.microsoft.com/rest/api/storageservices/table-service-error-codes
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class NoAnswer(Exception):
    """There is no answer that can be relied on: the service may have done it, or not. Never leaves the store."""


@dataclass(frozen=True, slots=True)
class Put:
    """One operation of a write: replace the entity if it is stored under this ETag; None: create it."""

    entity: Mapping[str, Any]
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """One operation of a write: delete the entity if it is stored under this ETag; None: in any case."""

    partition_key: str
    row_key: str
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """Which entities.

    :param filter: in OData; empty for all.
    :param columns: the properties that are wanted, separated by commas; None for all.
    :param page_size: how many in one answer at most; the service gives no more than 1,000, and fewer as it likes.
    """

    filter: str
    columns: str | None = None
    page_size: int = 1000


@dataclass(frozen=True, slots=True)
class Stored:
    """An entity as it is stored now."""

    entity: Mapping[str, Any]
    etag: str


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a query's answer.

    :param next_page: what to ask for the next one with; None where this is the last.
    """

    entities: Sequence[Stored]
    next_page: object = None


class Table(Protocol):
    """One table. Each method sends a request once, within so many seconds.

    :raises Refused: with the codes that are named.
    :raises NoAnswer: see there.
    """

    @property
    def endpoint(self) -> str:
        """Where it is, for messages."""

    def write(self, operations: Sequence[Put | Drop], seconds: float) -> str:
        """Do all of them or none, in one transaction of one partition. Returns the first one's new ETag, if it has one.

        EntityAlreadyExists, UpdateConditionNotSatisfied, ResourceNotFound, TableNotFound.
        Source: https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions
        """

    def read(self, partition_key: str, row_key: str, seconds: float) -> Stored:
        """One entity. ResourceNotFound, TableNotFound."""

    def page(self, query: Query, page: object, seconds: float) -> Page:
        """The entities that a query finds, from this page on; None for the first. TableNotFound."""

    def create(self, seconds: float) -> None:
        """Make the table. TableAlreadyExists, TableBeingDeleted."""

    def close(self) -> None:
        """Close the connections."""

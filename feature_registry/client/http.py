"""The service over HTTP. Problems become the errors that they were; links and tokens are never logged."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import SecretStr, TypeAdapter, ValidationError
from pydantic_core import to_json

from feature_registry import errors
from feature_registry.client.secrets import keep_out_of_logs
from feature_registry.model import (
    Changes,
    Datastack,
    Dependents,
    Difference,
    Direction,
    Entry,
    Event,
    Exported,
    Facets,
    Found,
    Grant,
    Lineage,
    MaterializationVersion,
    Plan,
    PlanRequest,
    Registration,
    Report,
    RuleReport,
    Search,
    Stale,
    Suggestions,
    Violation,
)

if TYPE_CHECKING:
    from feature_registry.registry import Registry

T = TypeVar("T")
Service: TypeAlias = "HttpService | Registry"  # what a client speaks to; their methods are the same use cases

PATIENCE = 10.0  # seconds within which a call is tried again: its server may be starting
FIRST_PAUSE = 0.1  # seconds, doubled each time
LONGEST_PAUSE = 1.0
TIMEOUT = httpx.Timeout(60, connect=10)  # seconds; a registration inspects the table before it answers
REGISTRATION_TIMEOUT = httpx.Timeout(3600, connect=10)
CHECKED_AT_ONCE = 10  # table versions whose files are looked at before an answer comes
_KIND_OF_STATUS = {
    400: errors.Invalid,
    401: errors.Denied,
    403: errors.Denied,
    404: errors.NotFound,
    409: errors.Conflict,
    422: errors.Invalid,
    429: errors.Exhausted,
}


class HttpService:
    """A registry's API at `address`. Answers that grew new fields are read all the same."""

    def __init__(self, address: str, token: SecretStr | None = None) -> None:
        if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
            raise errors.Invalid("is no address", field="server", value=address, expected="http(s)://host[:port]")
        self.address = address.rstrip("/")
        keep_out_of_logs()
        headers = {"User-Agent": f"feature-registry/{version('feature-registry')}"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        self._http = httpx.Client(base_url=self.address, headers=headers, timeout=TIMEOUT)

    def register(self, registration: Registration) -> Report:
        return self._registered(Report, "/v1/tables", registration)

    def preview(self, registration: Registration) -> Report:
        return self._registered(Report, "/v1/tables/preview", registration)

    def suggest(self, registration: Registration) -> Suggestions:
        return self._registered(Suggestions, "/v1/suggestions", registration)

    def lint(self, datastack: str | None = None) -> tuple[Violation, ...]:
        query = {} if datastack is None else {"datastack": datastack}
        return self._get(tuple[Violation, ...], "/v1/lint", query)

    def describe(self, table: str, as_of: datetime | None = None, nearest: bool = False) -> Entry:
        return self._get(Entry, _path("tables", table), _at(as_of, nearest))

    def search(self, search: Search) -> Found:
        return self._get(Found, "/v1/tables", search.model_dump(mode="json", exclude_defaults=True))

    def facets(self, search: Search, most: int = 20) -> Facets:
        wanted = search.model_dump(mode="json", exclude_defaults=True)
        return self._get(Facets, "/v1/facets", wanted | {"most": most})

    def rename_tag(self, old: str, new: str, datastack: str | None = None) -> tuple[str, ...]:
        said = to_json({"old": old, "new": new, "datastack": datastack})
        return self._read(tuple[str, ...], self._ask("POST", "/v1/tags/rename", content=said))

    def history(self, table: str, as_of: datetime | None = None) -> tuple[Event, ...]:
        return self._get(tuple[Event, ...], _path("history", table), _at(as_of))

    def lineage(
        self,
        table: str,
        as_of: datetime | None = None,
        direction: Direction = "both",
        depth: int | None = None,
        *,
        columns: bool = False,
        column: str | None = None,
    ) -> Lineage:
        said = {"direction": direction, "depth": depth, "columns": columns, "column": column}
        query = {name: value for name, value in said.items() if value is not None}
        return self._get(Lineage, _path("lineage", table), query | (_at(as_of) or {}))

    def stale(self, datastack: str | None = None) -> tuple[Stale, ...]:
        return self._get(tuple[Stale, ...], "/v1/stale", {"datastack": datastack} if datastack else None)

    def changes(
        self, after: int = 0, limit: int = 1000, datastack: str | None = None, kind: str | None = None, wait: float = 0
    ) -> Changes:
        said = {"after": after, "limit": limit, "datastack": datastack, "kind": kind, "wait": wait}
        return self._get(Changes, "/v1/changes", {name: value for name, value in said.items() if value is not None})

    def difference(self, old: str, new: str) -> Difference:
        return self._get(Difference, "/v1/differences", {"old": old, "new": new})

    def rules(self, datastack: str | None = None) -> tuple[RuleReport, ...]:
        return self._get(tuple[RuleReport, ...], "/v1/rules", None if datastack is None else {"datastack": datastack})

    def resolve(self, table: str, as_of: datetime | None = None, nearest: bool = False) -> Entry:
        return self._get(Entry, _path("resolve", table), _at(as_of, nearest))

    def edit(self, table: str, changes: dict[str, Any], based_on: str | None = None) -> Entry:
        headers = {} if based_on is None else {"If-Match": f'"{based_on}"'}
        return self._read(Entry, self._ask("PATCH", _path("tables", table), content=_json(changes), headers=headers))

    def transfer(self, table: str, team: str | None = None, person: str | None = None) -> Entry:
        body = {"team": team, "person": person}
        return self._read(Entry, self._ask("POST", _path("transfer", table), content=_json(body)))

    def dependents(self, table: str) -> Dependents:
        return self._get(Dependents, _path("dependents", table))

    def publish(self, table: str) -> Entry:
        return self._read(Entry, self._ask("POST", _path("publish", table)))

    def deprecate(self, table: str, reason: str = "", superseded_by: str | None = None) -> Entry:
        body = {"reason": reason, "superseded_by": superseded_by}
        return self._read(Entry, self._ask("POST", _path("deprecate", table), content=_json(body)))

    def unregister(self, table: str, force: bool = False) -> Entry:
        return self._read(Entry, self._ask("DELETE", _path("tables", table), query={"force": force}))

    def unregister_run(self, run_id: str) -> tuple[Entry, ...]:
        return self._read(tuple[Entry, ...], self._ask("DELETE", f"/v1/runs/{quote(run_id, safe='')}"))

    def check(self, table: str) -> Entry:
        return self._read(Entry, self._ask("POST", _path("checks", table), repeat=True, timeout=REGISTRATION_TIMEOUT))

    def check_all(self, datastack: str | None = None, limit: int | None = None) -> Iterator[Entry]:
        """Some at a time, until the one comes again that came first."""
        seen: set[str] = set()
        while limit is None or len(seen) < limit:
            asked = CHECKED_AT_ONCE if limit is None else min(CHECKED_AT_ONCE, limit - len(seen))
            query = {"limit": asked} | ({} if datastack is None else {"datastack": datastack})
            answer = self._ask("POST", "/v1/checks", query=query, timeout=REGISTRATION_TIMEOUT)
            page = [each for each in self._read(tuple[Entry, ...], answer) if each.version.id not in seen]
            yield from page
            seen |= {each.version.id for each in page}
            if len(page) < asked:
                return

    def plan(self, request: PlanRequest) -> Plan:
        # Named by us, so that a plan whose answer was lost is asked for again, and reserves its bytes once.
        named = request if request.dry_run else request.model_copy(update={"grant": secrets.token_hex(10)})
        return self._read(Plan, self._ask("POST", "/v1/plans", content=named.model_dump_json().encode(), repeat=True))

    def grant(self, id: str) -> Grant:
        return self._get(Grant, _path("grants", id))

    def mat_versions(self, datastack: str) -> tuple[MaterializationVersion, ...]:
        return self._get(tuple[MaterializationVersion, ...], f"{_path('datastacks', datastack)}/versions")

    def datastacks(self) -> tuple[Datastack, ...]:
        return self._get(tuple[Datastack, ...], "/v1/datastacks")

    def cite(self, tables: Sequence[str], style: str = "bibtex", lineage: bool = True) -> str:
        query = {"table": list(tables), "style": style, "lineage": lineage}
        return self._ask("GET", "/v1/citations", query=query, repeat=True).text

    def export(self, name: str, public: bool = False) -> Exported:
        answer = self._ask("GET", _path("exports", name), query={"public": public}, repeat=True)
        return Exported(answer.text, int(answer.headers.get("X-Withheld", 0)))

    def close(self) -> None:
        self._http.close()

    def _registered(self, kind: type[T], path: str, registration: Registration) -> T:
        said = registration.model_fields_set  # what was not said stays as it was
        body = registration.model_dump_json(include=said).encode()
        # Safe to repeat: the same location and snapshot is the same revision.
        return self._read(kind, self._ask("POST", path, content=body, repeat=True, timeout=REGISTRATION_TIMEOUT))

    def _get(self, kind: type[T], path: str, query: dict[str, Any] | None = None) -> T:
        return self._read(kind, self._ask("GET", path, query=query, repeat=True))

    def _read(self, kind: type[T], answer: httpx.Response) -> T:
        try:
            return TypeAdapter(kind).validate_json(answer.content, extra="ignore")
        except ValidationError as wrong:
            raise self._no_registry(f"its answer is no {getattr(kind, '__name__', kind)}") from wrong

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = False,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> httpx.Response:
        """The answer of a call that succeeded. Any call is tried again while the server cannot be reached, because it
        was not asked yet; one that may be repeated also when no answer came.
        """
        typed = {} if content is None else {"Content-Type": "application/json"}
        request = self._http.build_request(
            method, path, params=query, content=content, headers={**typed, **(headers or {})}, timeout=timeout
        )
        until, pause = time.monotonic() + PATIENCE, FIRST_PAUSE
        while True:
            try:
                answer = self._http.send(request)
            except httpx.TransportError as failure:
                problem: errors.RegistryError = self._silent(failure)
                again = repeat or isinstance(failure, (httpx.ConnectError, httpx.ConnectTimeout))
            else:
                if answer.is_success:
                    return answer
                problem = self._problem(answer)
                again = repeat and isinstance(problem, errors.Unavailable)
            if not again or time.monotonic() + pause > until:
                raise problem
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _silent(self, failure: httpx.TransportError) -> errors.Unavailable:
        return errors.Unavailable(
            f"does not answer ({type(failure).__name__}: {failure})",
            field="server",
            value=self.address,
            expected="a running registry; `feature-registry up` starts one",
        )

    def _no_registry(self, why: str) -> errors.Unavailable:
        return errors.Unavailable(
            f"does not answer as a registry: {why}", field="server", value=self.address, expected="a registry's API"
        )

    def _problem(self, answer: httpx.Response) -> errors.RegistryError:
        if answer.headers.get("content-type", "").startswith("application/problem+json"):
            try:
                return errors.from_problem(answer.json())
            except (ValueError, AttributeError):
                pass
        if answer.status_code >= 500:
            return self._no_registry(f"status {answer.status_code}")
        kind = _KIND_OF_STATUS.get(answer.status_code, errors.RegistryError)
        return kind(f"the server answered {answer.status_code}: {answer.text[:200]}")


def _path(room: str, name: str) -> str:
    return f"/v1/{room}/{quote(name, safe='/@.')}"


def _at(as_of: datetime | None, nearest: bool = False) -> dict[str, str]:
    return ({} if as_of is None else {"as_of": as_of.isoformat()}) | ({"nearest": "true"} if nearest else {})


def _json(body: Any) -> bytes:
    return bytes(TypeAdapter(Any).dump_json(body))

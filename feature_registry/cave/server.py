"""CAVE over REST: datastacks, materialization versions, tables and views, asked anew each time.

`caveclient` says where things are and which token is meant: `cave_token`, or else the one that it keeps below
`~/.cloudvolume/secrets`. Its own calls are not used here: it keeps what it heard of versions and tables for 12 hours,
waits without end, writes down which server a datastack has, and opens a browser where terms of service are to be
accepted. As CAVE's server has it (`blueprints/client/api2.py` of CAVEconnectome/MaterializationEngine): a version
without tables answers 404 to a question for them, a frozen database that is older than views answers 500 to one for
these, and a view has no count.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, BeforeValidator, HttpUrl, TypeAdapter, ValidationError

from feature_registry.cave import Rows, SourceTable
from feature_registry.errors import Denied, Invalid, NotFound, RegistryError, Unavailable, needed
from feature_registry.model import Datastack, Instant, MaterializationVersion, Resolution
from feature_registry.model.noun import MAX_TEXT, MatVersion
from feature_registry.settings import Settings

if TYPE_CHECKING:
    from feature_registry.cave.database import FrozenDatabases

T = TypeVar("T")
SECONDS = 15.0  # for which CAVE may say nothing; a sensor's tick has 60
_log = logging.getLogger(__name__)


def _in_utc(at: Any) -> Any:
    """CAVE writes UTC without saying so."""
    at = datetime.fromisoformat(at) if isinstance(at, str) else at
    return at.replace(tzinfo=UTC) if isinstance(at, datetime) and at.tzinfo is None else at


Stamp = Annotated[Instant, BeforeValidator(_in_utc)]


class _AlignedVolume(BaseModel):
    name: str


class _Info(BaseModel):
    aligned_volume: _AlignedVolume
    segmentation_source: str | None = None
    local_server: HttpUrl
    viewer_resolution_x: float | None = None
    viewer_resolution_y: float | None = None
    viewer_resolution_z: float | None = None


class _Version(BaseModel):
    version: MatVersion
    time_stamp: Stamp
    expires_on: Stamp | None = None
    valid: bool | None = None
    status: Literal["AVAILABLE", "RUNNING", "FAILED", "EXPIRED"]


class _Described(BaseModel):
    """A view, or a table, which has a schema type and the rest of it."""

    description: str | None = None
    notice_text: str | None = None
    schema_type: str | None = None
    user_id: str | None = None
    read_permission: Literal["PRIVATE", "GROUP", "PUBLIC"] | None = None
    reference_table: str | None = None
    pcg_table_name: str | None = None
    voxel_resolution_x: float | None = None
    voxel_resolution_y: float | None = None
    voxel_resolution_z: float | None = None


class Cave:
    """What CAVE's servers say. Raises `Unavailable` for what may be answered later, `Denied` where the token does not
    do, `NotFound` for what CAVE does not know; each names the address that was asked.
    """

    def __init__(self, settings: Settings | None = None, seconds: float = SECONDS) -> None:
        self._settings, self._seconds = settings or Settings(), seconds

    def datastacks(self) -> list[Datastack]:
        names = self._settings.cave_datastacks
        if not names:
            raise NotFound("names no datastack to follow", field="cave_datastacks")
        return [self._datastack(name, self._info(name)) for name in names]

    def versions(self, datastack: str) -> list[MaterializationVersion]:
        info = self._info(datastack)
        said = self._get(list[_Version], self._url("versions_metadata", info, datastack), expired="true")
        return [self._version(info, datastack, each) for each in said]

    def table(self, datastack: str, mat_version: int, name: str) -> SourceTable:
        info = self._info(datastack)
        said = self._views(info, datastack, mat_version).get(name)
        view = said is not None
        place = {"view_name": name} if view else {"table_name": name}
        if said is None:
            said = self._get(_Described, self._url("metadata", info, datastack, mat_version, **place))
            count = self._url("table_count", info, datastack, mat_version, **place)
            rows, key = self._get_if(int, count, 404, 500), ["id"]
        else:
            schema = self._url("view_schema", info, datastack, mat_version, **place)
            columns = self._get_if(dict[str, Any], schema, 404, 500)
            rows, key = None, ["id"] if "id" in (columns or ()) else []
        bound = said.pcg_table_name and (info.segmentation_source or said.pcg_table_name).rstrip("/").split("/")[-1]
        return SourceTable(
            datastack=datastack,
            mat_version=mat_version,
            name=name,
            metadata=_metadata(said, view) | {"key": key},
            schema_type=said.schema_type,
            segmentation=bound or None,
            resolution=_resolution(said.voxel_resolution_x, said.voxel_resolution_y, said.voxel_resolution_z),
            reference_table=said.reference_table or None,
            view=view,
            rows=rows,
        )

    def rows(self, table: SourceTable, share: str | None = None) -> Rows:
        if self._databases is None:
            expected = "postgresql:// URL of the server of CAVE's frozen databases"
            raise Unavailable("is not set: no rows without it", field="cave_database", expected=expected)
        parent = self._parent(self._info(table.datastack), table.datastack, table.mat_version)
        return self._databases.rows(table, datastack=parent, keep_invalid=self._settings.dump_invalid, share=share)

    def server(self, datastack: str) -> str:
        """The address of the server that has the datastack."""
        return str(self._info(datastack).local_server).rstrip("/")

    @cached_property
    def _databases(self) -> FrozenDatabases | None:
        url = self._settings.cave_database
        if url is None:
            return None
        databases: FrozenDatabases = needed("feature_registry.cave.database", "cave").FrozenDatabases(url)
        return databases

    def _version(self, info: _Info, datastack: str, said: _Version) -> MaterializationVersion:
        """Of one that is not there, or not yet, nobody knows the tables."""
        there = bool(said.valid) and said.status == "AVAILABLE"
        return MaterializationVersion(
            datastack=datastack,
            mat_version=said.version,
            time_stamp=said.time_stamp,
            expires_on=said.expires_on,
            valid=bool(said.valid),
            status=said.status.lower(),
            parent=self._parent(info, datastack, said.version) if there else None,
            tables=self._listed(info, datastack, said.version) if there else None,
        )

    def _parent(self, info: _Info, datastack: str, mat_version: int) -> str | None:
        """The datastack of which the version is a view: only the database says it, REST leaves it out."""
        if self._databases is None:
            return None
        return self._databases.parent(datastack, mat_version, info.aligned_volume.name)

    def _info(self, datastack: str) -> _Info:
        endpoint = needed("caveclient.endpoints", "cave").infoservice_endpoints_v2["datastack_info"]
        where = {"i_server_address": self._global_server, "datastack_name": quote(datastack, "")}
        return self._get(_Info, endpoint.format_map(where))

    def _datastack(self, name: str, info: _Info) -> Datastack:
        return Datastack(
            name=name,
            aligned_volume=info.aligned_volume.name,
            segmentation_source=info.segmentation_source,
            voxel_resolution=_resolution(info.viewer_resolution_x, info.viewer_resolution_y, info.viewer_resolution_z),
        )

    def _listed(self, info: _Info, datastack: str, mat_version: int) -> tuple[str, ...] | None:
        url = self._url("tables", info, datastack, mat_version)
        tables = self._get_if(list[str], url, 404)
        return None if tables is None else (*tables, *self._views(info, datastack, mat_version))

    def _views(self, info: _Info, datastack: str, mat_version: int) -> dict[str, _Described]:
        url = self._url("get_views", info, datastack, mat_version)
        return self._get_if(dict[str, _Described], url, 404, 500) or {}

    @property
    def _global_server(self) -> str:
        if self._settings.cave_server is None:
            raise Invalid("is not set", field="cave_server", expected="such as https://global.daf-apis.com")
        return self._settings.cave_server.rstrip("/")

    def _url(self, endpoint: str, info: _Info, datastack: str, mat_version: int | None = None, **names: str) -> str:
        endpoints = needed("caveclient.endpoints", "cave").materialization_endpoints_v3
        where = {"datastack_name": datastack, "version": str(mat_version), **names}
        quoted = {name: quote(value, "") for name, value in where.items()}
        return str(endpoints[endpoint].format_map({"me_server_address": str(info.local_server).rstrip("/"), **quoted}))

    @cached_property
    def _client(self) -> httpx.Client:
        token = self._settings.cave_token and self._settings.cave_token.get_secret_value()
        auth = needed("caveclient.auth", "cave").AuthClient(token=token, server_address=self._global_server)
        return httpx.Client(headers=auth.request_header, timeout=self._seconds)

    def _get(self, kind: type[T], url: str, **params: str) -> T:
        found = self._get_if(kind, url, **params)
        if found is None:
            raise Unavailable("answers nonsense: null", **_place(url))
        return found

    def _get_if(self, kind: type[T], url: str, *nothing: int, **params: str) -> T | None:
        """None where CAVE answers null, or with a status that means that there is nothing."""
        answer = self._answer(url, params)
        if answer.status_code in nothing:
            if answer.status_code != 404:
                _log.warning("%s answers %d, and is taken for nothing", _place(url)["value"], answer.status_code)
            return None
        if answer.status_code != 200:
            raise _refusal(answer)
        found: TypeAdapter[T | None] = TypeAdapter(cast(Any, kind | None))
        try:
            return found.validate_json(answer.content)
        except ValidationError as wrong:
            first = wrong.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the answer"
            raise Unavailable(f"answers nonsense: {where}: {first['msg']}", **_place(url)) from None

    def _answer(self, url: str, params: dict[str, str]) -> httpx.Response:
        try:
            return self._client.get(url, params=params)
        except httpx.TimeoutException:
            raise Unavailable(f"does not answer within {self._seconds:g} s", **_place(url)) from None
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            raise Unavailable(f"does not answer: {type(failure).__name__}", **_place(url)) from None


def _metadata(said: _Described, view: bool) -> dict[str, Any]:
    """As fields of `model.Metadata`; an owner is a number among CAVE's users."""
    found = {
        "description": (said.description or "").strip()[:MAX_TEXT],
        "usage_constraints": (said.notice_text or "").strip()[:MAX_TEXT],
        "tags": ["view" if view else "annotation", *([said.schema_type] if said.schema_type else [])],
        "owner": {"person": said.user_id} if said.user_id else None,
        "read_permission": said.read_permission and said.read_permission.lower(),
    }
    return {name: value for name, value in found.items() if value}


def _resolution(*axes: float | None) -> Resolution | None:
    x, y, z = axes
    return (x, y, z) if x and y and z and min(x, y, z) > 0 else None


def _place(url: str) -> dict[str, Any]:
    """Without what may be secret: a user, a query."""
    parts = urlsplit(url)
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    return {"field": "cave_server", "value": shown.geturl()}


def _refusal(answer: httpx.Response) -> RegistryError:
    status, place = answer.status_code, _place(str(answer.url))
    if answer.is_redirect:
        to = _place(answer.headers["location"])["value"]
        return Denied(f"redirects to {to}: to log in, or to another address of CAVE", **place)
    if status in (401, 403):
        return Denied(f"refuses the token with status {status}", **place, expected="a cave_token that may read this")
    if status == 404:
        return NotFound("CAVE does not know it: status 404", **place)
    return Unavailable(f"answers with status {status}", **place)

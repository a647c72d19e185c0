from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import pytest

from feature_registry.cave import SourceTable
from feature_registry.cave.exporter import OUTAGE, STANDSTILL, Exporter, Progress
from feature_registry.errors import Denied, Invalid, NotFound, RegistryError, Unavailable
from feature_registry.model import HashBuckets, Layout
from feature_registry.settings import Settings

TOKEN = "cave-token-of-a-test"
SYNAPSES = SourceTable("minnie65", 1507, "synapses", segmentation="minnie3_v1")
BUCKETS = HashBuckets(column="post_pt_root_id", partition_column="bucket", transform="bucket", buckets=16)
LAYOUTS = (
    Layout(name="by_pre", sort_by=("pre_pt_root_id", "id")),
    Layout(name="by_post", sort_by=("post_pt_root_id",), hash_buckets=(BUCKETS,)),
    Layout(name="by_place", sort_by=("ctr_pt_position_x", "ctr_pt_position_y", "ctr_pt_position_z"), curve="morton"),
    Layout(name="as_it_came"),
)
RUN = "/materialize/api/v2/materialize/run/write_deltalake/datastack/minnie65/version/1507/table_name/synapses/"


class Cave:
    """Answers one thing after the other, the last one for ever, and notes what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.waited = 0.0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return httpx.Response(status, text=body if isinstance(body, str) else json.dumps(body))

    def wait(self, seconds: float) -> None:
        self.waited += seconds

    def exporter(self, **said: Any) -> Exporter:
        settings = Settings(**{"cave_token": TOKEN, "cave_exports": "gs://mat/deltalake_exports", **said})
        return Exporter(settings, "https://cave.test/", pause=self.wait, transport=httpx.MockTransport(self))


def at(status: str, rows: int | None = None, **more: Any) -> dict[str, Any]:
    return {"status": status, "rows_processed": rows, "total_rows": 100, "percent_complete": rows, **more}


def followed(cave: Cave) -> tuple[Progress, list[Progress]]:
    told: list[Progress] = []
    return cave.exporter().follow(SYNAPSES, "ab12", told.append), told


def refused(call: Callable[[], Any], kind: type[RegistryError]) -> str:
    with pytest.raises(kind) as wrong:
        call()
    assert TOKEN not in str(wrong.value)
    return str(wrong.value)


def test_a_job_is_asked_for_with_a_spec_a_layout() -> None:
    cave = Cave({"is_merged": False}, {"message": "enqueued", "job_id": "ab12"})
    assert cave.exporter().start(SYNAPSES, LAYOUTS) == "ab12"
    looked, posted = cave.asked
    assert looked.url.path == "/materialize/api/v3/datastack/minnie65/version/1507"
    assert (posted.method, posted.url.path) == ("POST", RUN)
    assert posted.headers["Authorization"] == f"Bearer {TOKEN}"
    assert json.loads(posted.content)["output_specs"] == [
        {
            "name": "by_pre",
            "partition_by": "pre_pt_root_id",
            "partition_strategy": "percentile_range",
            "n_partitions": "auto",
            "zorder_columns": ["pre_pt_root_id"],
            "source_geometry_column": "pre_pt_position",
            "source_table": "synapses__minnie3_v1",
        },
        {
            "name": "by_post",
            "partition_by": "post_pt_root_id",
            "partition_strategy": "hash",
            "n_partitions": 16,
            "zorder_columns": ["post_pt_root_id"],
            "source_geometry_column": "post_pt_position",
            "source_table": "synapses__minnie3_v1",
        },
        {
            "name": "by_place",
            "partition_by": "ctr_pt_position_morton",
            "partition_strategy": "uniform_range",
            "n_partitions": "auto",
            "zorder_columns": ["ctr_pt_position_x", "ctr_pt_position_y", "ctr_pt_position_z"],
            "source_geometry_column": "ctr_pt_position",
        },
        {"name": "as_it_came", "n_partitions": "auto", "zorder_columns": []},
    ]


@pytest.mark.parametrize(
    ("table", "merged", "expected"),
    [
        (SYNAPSES, True, {"source_geometry_column": "pre_pt_position"}),
        (SourceTable("minnie65", 1507, "edges"), False, {}),
        (SourceTable("minnie65", 1507, "edges", segmentation="minnie3_v1", view=True), True, {}),
    ],
)
def test_only_a_split_table_is_looked_up_in_its_segmentation(
    table: SourceTable, merged: bool, expected: dict[str, Any]
) -> None:
    answers = [{"is_merged": merged}] * (table.segmentation is not None) + [{"job_id": "ab12"}]
    cave = Cave(*answers)
    cave.exporter().start(table, LAYOUTS[:1])
    (spec,) = json.loads(cave.asked[-1].content)["output_specs"]
    assert {name: spec[name] for name in spec if name.startswith("source")} == expected


def test_the_output_lies_below_the_exports() -> None:
    assert Cave({}).exporter().location(SYNAPSES) == "gs://mat/deltalake_exports/minnie65/v1507/synapses"
    assert "cave_exports: is not set" in refused(
        lambda: Cave({}).exporter(cave_exports=None).location(SYNAPSES), Invalid
    )


def test_a_job_is_followed_through_its_queue_to_its_end() -> None:
    steps = [at("exporting", 0), at("exporting", 40, phase="streaming"), at("exporting", 100, phase="z_order by_pre")]
    cave = Cave((404, {"message": "No export"}), *steps, steps[-1], at("complete", 100))
    last, told = followed(cave)
    assert last == Progress("complete", rows=100, total=100)
    assert [(each.status, each.rows) for each in told[1:-1]] == [("exporting", 40), ("exporting", 100)]
    assert {request.url.params["job_id"] for request in cave.asked} == {"ab12"}


def test_a_failed_job_says_why_without_secrets() -> None:
    error = f"could not connect to postgresql://cave:hunter2@10.0.0.1/x with {TOKEN}"
    text = refused(lambda: followed(Cave(at("exporting", 7), at("failed", 7, error=error))), Unavailable)
    assert "could not connect to postgresql://***@10.0.0.1/x" in text
    assert "minnie65/synapses@1507, job ab12" in text
    assert "hunter2" not in text


def test_what_nobody_begins_or_goes_on_with_is_given_up() -> None:
    unknown = Cave((404, {"message": "No export progress found"}))
    assert "No export progress found" in refused(lambda: followed(unknown), NotFound)
    standing = Cave(at("exporting", 7, phase="streaming"))
    assert "stands still in the phase streaming" in refused(lambda: followed(standing), Unavailable)
    assert min(unknown.waited, standing.waited) > STANDSTILL
    assert len(standing.asked) < 500


def test_an_outage_is_waited_out_and_a_long_one_is_not() -> None:
    outage = [httpx.ConnectError("no route"), (502, "bad gateway"), (200, "<html>"), httpx.ReadTimeout("slow")]
    assert followed(Cave(at("exporting", 7), *outage, at("complete", 100)))[0].status == "complete"
    down = Cave(httpx.ConnectError("no route"))
    assert "does not answer: ConnectError" in refused(lambda: followed(down), Unavailable)
    assert OUTAGE < down.waited < STANDSTILL


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        ((401, "no"), Denied, "refuses the token with status 401"),
        ((403, "no"), Denied, "an admin's cave_token"),
        ((302, ""), Denied, "302"),
        ((404, "no such table"), NotFound, "no such table"),
        ((400, "invalid output_specs entry: name"), Invalid, "invalid output_specs entry: name"),
        ((500, f"Traceback: {TOKEN}"), Unavailable, "answers 500: Traceback: ***"),
        ("<html>login</html>", Unavailable, "nonsense"),
        (["job"], Unavailable, "nonsense"),
        ({"message": "enqueued"}, Unavailable, "job_id is None"),
        ({"job_id": 7}, Unavailable, "job_id is 7"),
        (httpx.ReadTimeout("slow"), Unavailable, "does not answer: ReadTimeout"),
    ],
)
def test_a_refusal_to_begin_says_what_is_wrong(answer: Any, kind: type[RegistryError], text: str) -> None:
    cave = Cave(answer)
    table = SourceTable("minnie65", 1507, "edges")
    assert text in refused(lambda: cave.exporter().start(table, LAYOUTS[:1]), kind)
    assert len(cave.asked) == 1  # a second job would append to the first one's output


@pytest.mark.parametrize(
    "answer",
    [{"status": 3}, {"rows_processed": 1}, at("exporting", rows="7"), at("exporting", rows=True)],  # type: ignore[arg-type]
)
def test_nonsense_about_a_job_is_refused(answer: dict[str, Any]) -> None:
    assert "nonsense" in refused(lambda: Cave(answer).exporter().progress(SYNAPSES, "ab12"), Unavailable)


def test_names_are_quoted() -> None:
    cave = Cave({"job_id": "ab12"})
    cave.exporter().start(SourceTable("a/b", 7, "t?x"), LAYOUTS[3:])
    assert b"/datastack/a%2Fb/version/7/table_name/t%3Fx/" in cave.asked[0].url.raw_path


def test_without_layouts_cave_chooses() -> None:
    cave = Cave({"job_id": "ab12"})
    cave.exporter().start(SYNAPSES, ())
    (asked,) = cave.asked
    assert json.loads(asked.content) == {}


def params(request: Iterable[httpx.Request]) -> list[str | None]:
    return [each.url.params.get("job_id") for each in request]


def test_the_last_job_is_asked_for_where_none_is_known() -> None:
    cave = Cave(at("complete", 100))
    assert cave.exporter().progress(SYNAPSES, None).status == "complete"
    assert params(cave.asked) == [None]

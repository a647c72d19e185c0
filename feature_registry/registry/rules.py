# ruff: noqa: S608 - the names in the queries are our own
"""Named rules, declared in the policies of a datastack: which features lack which keys, and at which versions.

They are the operator's choice like all policies, so they are settings, and need no use case to be edited. What was
found of a table version is recorded as a check of it, which says the rule as it was then; so a version and a parent
that nobody made anew are not read again, and a backfill, which is a new revision, is. Whether versions are there at
all, the catalog tells each time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feature_registry.errors import NotFound
from feature_registry.model import CheckResult, Entry, MaterializationVersion, Rule, RuleReport, TableVersion
from feature_registry.registry import following

if TYPE_CHECKING:
    import duckdb
    import polars as pl

    from feature_registry.registry import Registry

MEMORY = "1GB"
RANGES = 20  # that are said
ROWS_PER_BATCH = 100_000


def check(
    registry: Registry,
    datastack: str | None = None,
    names: Sequence[str] | None = None,
    mat_versions: Sequence[int] | None = None,
) -> tuple[RuleReport, ...]:
    """Reads what was made anew since it was checked last, and records what it finds as checks of the table versions."""
    declared = _declared(registry, datastack)
    for name in names or ():
        if all(name != each for _, each in declared):
            expected = sorted({each for _, each in declared})
            raise NotFound("is no rule here", field="names", value=name, expected=expected)
    chosen = [(stack, name) for stack, name in declared if names is None or name in names]
    return tuple(
        report for stack, name in chosen for report in _of_rule(registry, stack, name, mat_versions, look=True)
    )


def last(registry: Registry, datastack: str | None = None) -> tuple[RuleReport, ...]:
    """What was found last; reads no data."""
    chosen = _declared(registry, datastack)
    return tuple(report for stack, name in chosen for report in _of_rule(registry, stack, name, None, look=False))


def _declared(registry: Registry, datastack: str | None) -> list[tuple[str, str]]:
    """The rules of all datastacks, or of one."""
    stacks = [each.name for each in registry.datastacks()] if datastack is None else [datastack]
    return [(stack, name) for stack in stacks for name in registry.settings.policies_of(stack).rules]


def _of_rule(
    registry: Registry, datastack: str, name: str, mat_versions: Sequence[int] | None, *, look: bool
) -> Iterator[RuleReport]:
    rule = registry.settings.policies_of(datastack).rules[name]
    known = {each.mat_version: each for each in _frame(registry, datastack)}
    entries = following.of_table(registry, datastack, rule.table)
    references = rule.references or (entries[-1].table.references if entries else {})
    said: dict[str, Any] = {"rule": name, "kind": rule.kind, "table": f"{datastack}/{rule.table}"}
    if not references:
        why = "declares no reference" if entries else "is not registered"
        yield RuleReport(**said, outcome="skipped", message=f"{rule.table} {why}", at=registry.clock())
    for column, named in references.items():
        target = named if "/" in named else f"{datastack}/{named}"
        parent = target.rpartition(".")[0]
        if rule.kind == "complete":
            yield _complete(registry, said | {"parent": parent}, rule, known, mat_versions)
            continue
        for number in _numbers(entries, rule, known, mat_versions):
            version = registry.find(datastack, rule.table, number)
            if version is not None:
                said_of = said | {"table": str(version.ref), "mat_version": number}
                asked = Asked(registry, rule, version, column, target)
                yield from asked.report(said_of, look=look)


def _frame(registry: Registry, datastack: str) -> tuple[MaterializationVersion, ...]:
    try:
        return registry.mat_versions(datastack)
    except NotFound:
        return ()


def _numbers(
    entries: Iterable[Entry],
    rule: Rule,
    known: dict[int, MaterializationVersion],
    mat_versions: Sequence[int] | None,
) -> list[int | None]:
    """The materialization versions of a table at which a rule should hold; one that nobody announced may be valid."""
    numbers = dict.fromkeys(entry.version.mat_version for entry in entries)
    asked = [each for each in numbers if mat_versions is None or each in mat_versions]
    found = [each for each in asked if each not in known or _holds(rule, known[each])]
    return sorted(found, key=lambda each: -1 if each is None else each)


def _holds(rule: Rule, announced: MaterializationVersion) -> bool:
    return announced.valid and (rule.mat_versions == "valid" or announced.long_term)


def _complete(
    registry: Registry,
    said: dict[str, Any],
    rule: Rule,
    known: dict[int, MaterializationVersion],
    mat_versions: Sequence[int] | None,
) -> RuleReport:
    datastack, _, name = said["parent"].partition("/")
    theirs = following.of_table(registry, datastack, name)
    numbers = [each for each in _numbers(theirs, rule, known, mat_versions) if each is not None]
    numbers = [each for each in numbers if registry.find(datastack, name, each) is not None]
    ours = said["table"].partition("/")[0]
    missing = [each for each in numbers if registry.find(ours, rule.table, each) is None]
    return RuleReport(
        **said,
        outcome="failed" if missing else "passed",
        violations=len(missing),
        share=len(missing) / len(numbers) if numbers else 0.0,
        missing=ranges(numbers, missing),
        message=f"not there at {len(missing):,} of {len(numbers):,} versions at which {name} is",
        at=registry.clock(),
    )


def ranges(everything: Sequence[int], found: Iterable[int]) -> str:
    """The found ones of an ordered whole: 3-7 are all of the whole from 3 to 7."""
    places = {each: place for place, each in enumerate(everything)}
    runs: list[list[int]] = []
    for each in found:
        if runs and places[each] == places[runs[-1][1]] + 1:
            runs[-1][1] = each
        else:
            runs.append([each, each])
    return _spelled(runs)


def _spelled(runs: Sequence[Sequence[Any]]) -> str:
    text = ", ".join(f"{first}" if first == end else f"{first}-{end}" for first, end in runs[:RANGES])
    return f"{text}, ..." if len(runs) > RANGES else text


class Asked:
    """One rule of one table version and one of its references."""

    def __init__(self, registry: Registry, rule: Rule, version: TableVersion, column: str, target: str) -> None:
        self.registry, self.rule, self.version, self.column = registry, rule, version, column
        parent, _, self.wanted = target.rpartition(".")
        datastack, _, name = parent.partition("/")
        found = registry.find(datastack, name, version.mat_version) or registry.find(datastack, name, None)
        self.parent, self.parent_name = found, parent

    def report(self, said: dict[str, Any], *, look: bool) -> Iterator[RuleReport]:
        """What is known already, if it is of this rule and this parent; else, where one may look, what is found."""
        name = f"rule_{said['rule']}_{self.column}"
        basis = {"rule": self.rule.model_dump(mode="json"), "parent": str(self.parent.ref) if self.parent else None}
        known = next((check for check in self.version.checks if check.name == name), None)
        if known is not None and (not look or (known.details["basis"] == basis and known.outcome != "skipped")):
            yield RuleReport.model_validate(known.details["report"])
        elif look:
            found = self._looked(said)
            result = CheckResult(
                name=name,
                outcome="warned" if found.outcome == "failed" else found.outcome,
                message=found.message,
                details={"basis": basis, "report": found.model_dump(mode="json", exclude_defaults=True)},
                at=found.at,
            )
            self.registry.record_checks(self.version.id, [result], publish=False)
            yield found

    def _looked(self, said: dict[str, Any]) -> RuleReport:
        import duckdb  # here: a registry that checks no rule needs none

        said = said | {"parent": str(self.parent.ref) if self.parent else self.parent_name, "at": self.registry.clock()}
        lacking = self._lacking()
        if self.parent is None or lacking:
            why = lacking or f"{self.parent_name} is not registered there"
            return RuleReport(**said, outcome="skipped", message=f"{why}; nothing was looked at")
        with (
            tempfile.TemporaryDirectory(prefix="feature-registry-rules-") as folder,
            duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": folder}) as connection,
        ):
            count, bad, keys = self._compared(connection, self.parent)
        verb = "lack a row" if self.rule.kind == "coverage" else "have rows that say something else"
        return RuleReport(
            **said,
            outcome="failed" if bad else "passed",
            violations=bad,
            share=bad / count if count else 0.0,
            keys=keys,
            message=f"{bad:,} of {count:,} keys of {self.parent.ref} {verb}" + (f": {keys}" if bad else ""),
        )

    def _lacking(self) -> str:
        sides = [(self.version, [self.column, *self.rule.equal])]
        if self.parent is not None:
            sides.append((self.parent, [self.wanted, *self.rule.equal.values()]))
        for version, names in sides:
            stored = {field.name for field in version.inspection.fields}
            for name in names:
                if name not in stored:
                    return f"{version.ref} has no column {name}"
        return ""

    def _compared(self, connection: duckdb.DuckDBPyConnection, parent: TableVersion) -> tuple[int, int, str]:
        """How many keys there are, how many violate the rule, and which."""
        equal = self.rule.equal if self.rule.kind == "consistent" else {}
        ours, theirs = (
            self.registry.scan(version).select(names)
            for version, names in ((self.version, [self.column, *equal]), (parent, [self.wanted, *equal.values()]))
        )
        names = ["key", *(f"e{number}" for number in range(len(equal)))]
        for name, frame in zip(("ours", "theirs"), _met(ours, theirs, names), strict=True):
            source = _stream(frame)  # noqa: F841  DuckDB finds it by its name
            distinct = "DISTINCT " if not equal else ""
            connection.execute(f"CREATE TABLE {name} AS SELECT {distinct}* FROM source WHERE key IS NOT NULL")
        if equal:
            differs = " OR ".join(f"ours.{name} IS DISTINCT FROM theirs.{name}" for name in names[1:])
            bad = f"SELECT DISTINCT theirs.key FROM theirs JOIN ours ON ours.key = theirs.key WHERE {differs}"
        else:
            bad = "SELECT theirs.key FROM theirs ANTI JOIN ours ON ours.key = theirs.key"
        connection.execute(f"CREATE TABLE bad AS {bad}")
        keys = f"SELECT {'DISTINCT ' if equal else ''}key FROM theirs"
        count, violations = _one(connection, f"SELECT (SELECT count(*) FROM ({keys})), (SELECT count(*) FROM bad)")
        return count, violations, _ranges(connection, keys) if violations else ""


def _ranges(connection: duckdb.DuckDBPyConnection, keys: str) -> str:
    """The bad keys as runs of all keys: a row's number among all, less that among the bad ones, names its run."""
    connection.execute(
        "CREATE TABLE ordered AS SELECT all_keys.key, bad.key IS NOT NULL AS is_bad "
        f"FROM ({keys}) all_keys LEFT JOIN bad ON bad.key = all_keys.key ORDER BY all_keys.key"
    )
    runs = connection.execute(
        "SELECT min(key), max(key) FROM "
        "(SELECT key, rowid - row_number() OVER (ORDER BY rowid) AS run FROM ordered WHERE is_bad) "
        f"GROUP BY run ORDER BY 1 LIMIT {RANGES + 1}"
    ).fetchall()
    return _spelled(runs)


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return connection.execute(query).fetchone()


def _met(ours: pl.LazyFrame, theirs: pl.LazyFrame, names: list[str]) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Under the same names, and in types that DuckDB compares exactly: integers of any two widths are."""
    sides = [frame.rename(dict(zip(frame.collect_schema().names(), names, strict=True))) for frame in (ours, theirs)]
    one, other = (side.collect_schema() for side in sides)
    texts = [
        name
        for name in names
        if one[name] != other[name]
        and not (one[name].is_integer() and other[name].is_integer())
        and not (one[name].is_float() and other[name].is_float())
    ]
    return _as_text(sides[0], texts), _as_text(sides[1], texts)


def _as_text(frame: pl.LazyFrame, names: list[str]) -> pl.LazyFrame:
    import polars as pl

    return frame.with_columns(pl.col(names).cast(pl.String)) if names else frame


def _stream(frame: pl.LazyFrame) -> Any:
    """Arrow batches that DuckDB asks for as it needs them."""
    schema = frame.collect_schema().to_frame().to_arrow().schema
    batches = (
        batch
        for part in frame.collect_batches(chunk_size=ROWS_PER_BATCH, lazy=True)
        for batch in _batches(part, schema)
    )
    return pa.RecordBatchReader.from_batches(schema, batches).__arrow_c_stream__()


def _batches(part: pl.DataFrame, schema: pa.Schema) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = part.to_arrow().cast(schema).to_batches()
    return batches

"""How the client's answers look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from feature_registry.model import Column, Entry

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def amount(count: int) -> str:
    """Bytes, with a decimal unit."""
    size = float(count)
    for unit in UNITS:
        if abs(size) < 1000 or unit == UNITS[-1]:
            return f"{size:.3g} {unit}" if unit != "B" else f"{count} B"
        size /= 1000
    raise AssertionError("unreachable")


def counted(rows: int | None) -> str:
    return "?" if rows is None else f"{rows:,}"


def owner(entry: Entry) -> str:
    who = entry.table.owner
    return "" if who is None else ", ".join(part for part in (who.team, who.person) if part)


def grid(header: Sequence[str], lines: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Aligned columns; those whose numbers are in `right` are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    rows = [header, ["-" * width for width in widths], *lines]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def card(entry: Entry) -> str:
    """What one should know of a table version, in some lines."""
    table, version, seen = entry.table, entry.version, entry.version.inspection
    facts = [
        ("status", version.status),
        ("size", f"{counted(seen.rows)} rows, {amount(seen.bytes)} in {seen.files:,} files of {seen.format}"),
        ("owner", owner(entry)),
        ("licence", table.license or ""),
        ("citation", table.citation),
        ("tags", ", ".join(table.tags)),
        ("key", ", ".join(table.key)),
        ("derived from", ", ".join(version.derived_from)),
        ("snapshot", "" if version.snapshot_time is None else version.snapshot_time.isoformat()),
        ("superseded by", table.superseded_by or ""),
        *(("warning", warning) for warning in entry.warnings),
    ]
    lines = [str(entry.ref)]
    lines += [f"  {table.description}"] if table.description else []
    lines += [f"  {name}: {value}" for name, value in facts if value]
    described = [_column(table.columns.get(field.name, Column()), field.name, field.type) for field in seen.fields]
    columns = grid(("column", "type", "unit", "meaning"), described) if described else ""
    return "\n".join(lines) + "\n" + columns


def _column(said: Column, name: str, kind: str) -> tuple[str, str, str, str]:
    return name, kind, said.unit or "", said.description

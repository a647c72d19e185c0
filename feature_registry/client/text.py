"""How the client's answers look in a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from feature_registry.model import Column, Cost, Entry, Layout, StoredLayout

# What moves the cursor, colours, or turns the writing around would let a text pass for another one.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str, indent: str | None = None) -> str:
    """Without what a terminal obeys, in one line, or in lines that are indented."""
    shown = _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)
    return " ".join(shown.splitlines()) if indent is None else shown.replace("\n", f"\n{indent}")


def amount(count: int) -> str:
    """Bytes, with a decimal unit."""
    from rich.filesize import decimal

    return decimal(count)


def counted(rows: int | None) -> str:
    return "?" if rows is None else f"{rows:,}"


def owner(entry: Entry) -> str:
    who = entry.table.owner
    return "" if who is None else ", ".join(part for part in (who.team, who.person) if part)


def grid(header: Sequence[str], lines: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Aligned columns; those whose numbers are in `right` are aligned to the right."""
    lines = [[plain(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    aligned = [f"{{:{'>' if number in right else '<'}{width}}}" for number, width in enumerate(widths)]
    rows = [header, ["-" * width for width in widths], *lines]
    return "\n".join("  ".join(aligned).format(*row).rstrip() for row in rows)


def summary(cost: Cost) -> str:
    """The cost in one line."""
    parts = [f"{cost.files:,} of {cost.files_total:,} files", f"{amount(cost.bytes)} of {amount(cost.bytes_total)}"]
    if cost.rows is not None:
        parts.append(f"at most {cost.rows:,} rows" if cost.files else "no rows")
    if cost.price is not None:
        parts.append(f"price {cost.price:.4g}")
    if cost.budget_left is not None:
        parts.append(f"{amount(cost.budget_left)} of the budget left")
    return ", ".join(parts)


def card(entry: Entry) -> str:
    """What one should know of a table version, in some lines."""
    table, version, seen = entry.table, entry.version, entry.version.inspection
    several = f", all {len(seen.layouts)} layouts together" if seen.layouts else ""
    facts = [
        ("status", version.status if entry.existence == "verified" else f"{version.status}, {entry.existence}"),
        ("size", f"{counted(seen.rows)} rows, {amount(seen.bytes)} in {seen.files:,} files of {seen.format}{several}"),
        *(("layout", arrangement(layout)) for layout in seen.layouts or version.layouts),
        ("owner", owner(entry)),
        ("licence", table.license),
        ("citation", table.citation),
        ("tags", ", ".join(table.tags)),
        ("key", ", ".join(table.key)),
        ("derived from", ", ".join(version.derived_from)),
        ("snapshot", version.snapshot_time and version.snapshot_time.isoformat()),
        ("corrects", version.corrects),
        ("superseded by", table.superseded_by),
        *(("warning", warning) for warning in entry.warnings),
    ]
    said = ((field, table.columns.get(field.name, Column())) for field in seen.fields)
    columns = [(field.name, field.type, column.unit or "", column.description) for field, column in said]
    lines = [str(entry.ref), f"  {plain(table.description, '  ')}" * bool(table.description)]
    lines += [f"  {name}: {plain(value, '    ')}" for name, value in facts if value]
    return "\n".join([*filter(None, lines), grid(("column", "type", "unit", "meaning"), columns)])


def arrangement(layout: Layout) -> str:
    """How a layout orders the rows, and its size where it is one of several."""
    curve = f"the {layout.curve.capitalize()} code of " if layout.curve else ""
    said = [f"sorted by {curve}{', '.join(layout.sort_by)}"] * bool(layout.sort_by)
    said += [f"{each.buckets:,} buckets of {each.column} ({each.transform})" for each in layout.hash_buckets]
    if isinstance(layout, StoredLayout):
        said.append(f"{amount(layout.bytes)} in {layout.files:,} files")
    return f"{layout.name}: {'; '.join(said)}" if said else layout.name

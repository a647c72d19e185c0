"""Which table version an input is loaded from."""

from __future__ import annotations

from dataclasses import dataclass

from feature_registry.errors import Invalid, NotFound
from feature_registry.model import TableRef, TableVersion
from feature_registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Upstream:
    """A table that is wanted by an asset of `datastack` at `mat_version` (None: the asset is unversioned)."""

    ref: TableRef
    pinned: bool
    datastack: str
    mat_version: int | None
    run_id: str

    @classmethod
    def parse(cls, text: str, datastack: str, mat_version: int | None, run_id: str) -> Upstream:
        ref = TableRef.parse(text)
        if ref.revision is not None:
            raise Invalid("pins a revision", field="ins", value=text, expected="datastack/name@mat_version")
        return cls(ref, "@" in text, datastack, mat_version, run_id)

    def find(self, registry: Registry) -> TableVersion:
        """The revision that this run made, else the newest published one.

        A pinned reference is exact. Otherwise a table of the same datastack is wanted at the asset's own version, and
        unversioned where it has no versions; another datastack counts its versions by itself, so its latest is taken.
        Raises `NotFound` with what exists.
        """
        ref = self.ref
        if isinstance(ref.mat_version, int):
            wanted: list[int | None] = [ref.mat_version]
        elif ref.mat_version == "unversioned":
            wanted = [None]
        elif self.pinned or self.mat_version is None or ref.datastack != self.datastack:
            wanted = [*_latest(registry, ref), *([] if self.pinned else [None])]
        else:
            wanted = [self.mat_version, None]
        for mat_version in wanted:
            found = registry.find(ref.datastack, ref.name, mat_version, self.run_id)
            if found is not None:
                return found
        at = "latest" if not wanted else "unversioned" if wanted[0] is None else wanted[0]
        draft = registry.describe(f"{ref.datastack}/{ref.name}@{at}")  # else it raises, and says what exists
        raise NotFound("is a draft only", field="table", value=str(draft.ref), expected="a published table version")


def _latest(registry: Registry, ref: TableRef) -> list[int | None]:
    try:
        return [registry.describe(f"{ref.datastack}/{ref.name}@latest").version.mat_version]
    except NotFound:
        return []

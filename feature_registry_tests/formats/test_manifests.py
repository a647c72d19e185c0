from __future__ import annotations

import pyarrow as pa
import pytest

from feature_registry.formats._manifests import file_fingerprint, fingerprint


@pytest.mark.parametrize("name", ["plain", "it's", 'a "b"', "back\\slash", "é", "tab\t", "line\n", "\u200b", "", None])
def test_a_fingerprint_is_the_same_however_it_is_spelled(name: str | None) -> None:
    """It is the identity of what is registered already."""
    paths = [] if name is None else sorted(["a/b=1/0.parquet", "z", name])
    sizes = [2**40, 7, 0][: len(paths)]
    manifest = pa.table({"path": pa.array(paths, pa.string()), "size": pa.array(sizes, pa.int64())})
    assert file_fingerprint(manifest) == fingerprint(paths, sizes)


def test_a_fingerprint_is_what_it_was() -> None:
    manifest = pa.table({"path": ["0.parquet", "1.parquet"], "size": [3, 4]})
    assert file_fingerprint(manifest) == "sha256:5dc3a14db6e27dc4b5ab7a6567f102bdd6db27287b1a89d4e83b87f750bd9712"

"""Which files can hold rows that match a predicate: pure, over a manifest, vectorised over its files.

A file is kept unless its statistics, its partition values or a declared hash prove that no row of it matches. Null
matches nothing, neither `!=` nor `not in`, as in Polars and SQL; files with nulls are nevertheless kept for `not in`,
because pyarrow's filters differ there. NaN is larger than every number, as in Polars; a float column is pruned only
where the manifest has bounds for it, and those then say that there is no NaN.
"""

from feature_registry.pruning.files import Pruned, prune
from feature_registry.pruning.layouts import Arranged, choose
from feature_registry.pruning.values import coerce

__all__ = ["Arranged", "Pruned", "choose", "coerce", "prune"]

"""Licences: SPDX's names of them, and where their texts are."""

from __future__ import annotations

import re
from functools import lru_cache

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from feature_registry.model import CheckResult

PAGE = "https://spdx.org/licenses/{}.html"
_ADDRESS = re.compile(r"https?://[!#-;=?-~]+")
_OPERATORS = {"AND", "OR", "WITH"}


@lru_cache(maxsize=1_000)
def canonical(license: str) -> str | None:
    """The identifier as SPDX spells it, or the expression of several; None: SPDX knows no such licence."""
    try:
        return str(canonicalize_license_expression(license))
    except (InvalidLicenseExpression, RecursionError, MemoryError):  # the last two for a hundred parentheses
        return None


@lru_cache(maxsize=1_000)
def links(license: str | None) -> dict[str, str]:
    """The HTTP header that says the licence of what is vended; none where it has no address."""
    if license is None:
        return {}
    addresses = [license] if _ADDRESS.fullmatch(license) else []
    words = re.findall(r"[\w.-]+", canonical(license) or "")
    for before, name in zip(["", *words], words, strict=False):
        if name not in _OPERATORS and before != "WITH" and not name.startswith("LicenseRef-"):
            addresses.append(PAGE.format(name))
    return {"Link": ", ".join(f'<{each}>; rel="license"' for each in addresses)} if addresses else {}


def check(license: str) -> CheckResult:
    """Whether it is a name by which programs, too, know the licence."""
    spelled = canonical(license)
    if spelled is None:
        message = f"{license!r} is no identifier of SPDX, such as CC-BY-4.0: its terms are known to people only"
        return CheckResult(name="license", outcome="failed", message=message)
    return CheckResult(name="license", outcome="passed", message=spelled)

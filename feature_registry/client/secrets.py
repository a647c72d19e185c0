"""Links and signed URLs are secrets: kept out of logs and of messages."""

from __future__ import annotations

import logging
import re

_SECRET = re.compile(
    r"(/v1/links/)[^/\s'\"]+|([?&](?:x-[a-z-]+|signature|sig|mac|token|expires)=)[^&\s'\"]+", re.IGNORECASE
)


def redacted(text: str) -> str:
    """The text without the secret part of each link or signed URL in it."""
    return _SECRET.sub(r"\1\2...", text)


class _Redaction(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage()), ()
        return True


def keep_out_of_logs() -> None:
    """httpx logs every address that it asks for."""
    logger = logging.getLogger("httpx")
    if not any(isinstance(each, _Redaction) for each in logger.filters):
        logger.addFilter(_Redaction())

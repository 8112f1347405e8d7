"""The two forms of a packument, and the media types that name them.

Source: npm's package-metadata document.
"""

from __future__ import annotations

from enum import Enum


class Form(Enum):
    """FULL carries everything that is known; ABBREVIATED ("corgi") only what an installer needs."""

    FULL = "full"
    ABBREVIATED = "abbreviated"


ABBREVIATED_TYPE = "application/vnd.npm.install-v1+json"
JSON_TYPE = "application/json"
CONTENT_TYPES = {Form.FULL: JSON_TYPE, Form.ABBREVIATED: ABBREVIATED_TYPE}

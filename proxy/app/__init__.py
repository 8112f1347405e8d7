"""The composition root: Config in, web.Application out.

Every concrete class is named here, once: in `storage` where things are kept, in `stories` what is
done with them, in `building` the application around both.
"""

from __future__ import annotations

from proxy.app.building import VERSION, build
from proxy.app.storage import Storage, utcnow

__all__ = ["VERSION", "Storage", "build", "utcnow"]

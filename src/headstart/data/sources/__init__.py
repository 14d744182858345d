"""Where images can come from; a new source is one file and one line here.

A location is read by the first source that accepts it.
"""

from __future__ import annotations

from headstart.data.sources.base import Source
from headstart.registry import Registry

SOURCES: Registry[type[Source]] = Registry(
    "source",
    {
        "folder": "headstart.data.sources.folder:Folder",
        "manifest": "headstart.data.sources.manifest:Manifest",
    },
)

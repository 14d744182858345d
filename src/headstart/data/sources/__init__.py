"""Where images can come from; a new source is one file and one line here.

The last source that accepts a location reads it, so a special kind of folder, or a source of a
user's own, comes before the plain folder.
"""

from __future__ import annotations

from headstart.data.sources.base import Source
from headstart.extensions import Group
from headstart.registry import Registry

SOURCES: Registry[type[Source]] = Registry(
    "source",
    {
        "folder": "headstart.data.sources.folder:Folder",
        "archive": "headstart.data.sources.archive:Archive",
        "manifest": "headstart.data.sources.manifest:Manifest",
        "parquet": "headstart.data.sources.parquet:Parquet",
        "saved": "headstart.data.sources.saved:Saved",
        "shards": "headstart.data.sources.shards:Shards",
        "remote": "headstart.data.sources.remote:Remote",
        "hub": "headstart.data.sources.hub:Hub",
        "torchvision": "headstart.data.sources.torch_vision:TorchVision",
    },
    Group("headstart.sources", needs=("about", "accepts", "images")),
)

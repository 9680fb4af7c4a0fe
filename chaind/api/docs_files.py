"""The page at /docs: files of the wheel, read once, under a policy without exceptions.

It shows what /openapi.json says and sends what its reader fills in; nothing comes from elsewhere.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

from aiohttp import web

from chaind.primitives.errors import Unknown

INDEX = "index.html"
HTML_MEDIA = "text/html"
CSS_MEDIA = "text/css"
SCRIPT_MEDIA = "text/javascript"
ICON_MEDIA = "image/svg+xml"
_MEDIA = {"html": HTML_MEDIA, "css": CSS_MEDIA, "js": SCRIPT_MEDIA, "svg": ICON_MEDIA}
HEADERS = {
    "Cache-Control": "no-cache",  # a node that was upgraded shows its own page
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class DocsFileUnknown(Unknown):
    code = "docs-file-unknown"
    text = "the API's documentation has no file {name}"
    advice = "It begins at /docs; after an upgrade of the node, load it again."


class DocsFile(NamedTuple):
    """A file as it is answered."""

    body: bytes
    media: str


def read_docs() -> Mapping[str, DocsFile]:
    """All files of the page, by name."""
    return {
        file.name: DocsFile(file.read_bytes(), _MEDIA[file.name.rpartition(".")[2]])
        for file in files("chaind.api").joinpath("docs").iterdir()
    }


def respond_file(docs: Mapping[str, DocsFile], name: str) -> web.Response:
    """A file of the page. Raises `DocsFileUnknown`."""
    file = docs.get(name)
    if file is None:
        raise DocsFileUnknown(name=name[:80])
    return web.Response(body=file.body, content_type=file.media, charset="utf-8", headers=HEADERS)

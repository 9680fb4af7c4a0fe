"""The files of the dashboard and of the API's page, under a policy without exceptions.

They are read once and served from memory. Whatever a page shows comes from this node alone: no
script, style, font, picture or connection from anywhere else, no inline script or style, no frame
around it.
"""

import hashlib
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
MEDIA = {".html": HTML_MEDIA, ".css": CSS_MEDIA, ".js": SCRIPT_MEDIA, ".svg": ICON_MEDIA}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # asked again each time, answered 304 until an upgrade
}


class PageUnknown(Unknown):
    code = "page-unknown"
    text = "no page here has a file {name}"
    advice = "The dashboard begins at /, the API's page at /docs; load it again after an upgrade."


class Page(NamedTuple):
    """A file as it is answered."""

    body: bytes
    media: str
    etag: str


def read_pages(folder: str) -> dict[str, Page]:
    """All files of a page, by name."""
    found: dict[str, Page] = {}
    for file in files("chaind.api").joinpath(folder).iterdir():
        media = MEDIA.get(f".{file.name.rpartition('.')[2]}")
        if media is not None:
            body = file.read_bytes()
            found[file.name] = Page(body, media, f'"{hashlib.sha256(body).hexdigest()[:20]}"')
    return found


def wants_page(request: web.Request) -> bool:
    """Whether a browser asks: it names HTML, which curl and other programs do not."""
    return HTML_MEDIA in request.headers.get("Accept", "")


def respond_page(pages: Mapping[str, Page], request: web.Request, name: str) -> web.Response:
    """A file of a page. Raises `PageUnknown`."""
    page = pages.get(name)
    if page is None:
        raise PageUnknown(name=name[:80])
    headers = {**HEADERS, "ETag": page.etag, "Vary": "Accept"}
    if page.etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    return web.Response(body=page.body, headers=headers, content_type=page.media, charset="utf-8")

"""The page at /docs is whole, comes from this node alone, and holds nothing inline."""

import re
from html.parser import HTMLParser

import pytest
from api_kit import Door

from chaind.api.pages import INDEX, read_pages

FILES = read_pages("docs")
MODULES = [name for name in FILES if name.endswith(".js")]


class Reader(HTMLParser):
    """What a document refers to, and what stands in it that no policy would let run."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inline: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.append(value or "")
            if name == "style" or name.startswith("on"):
                self.inline.append(name)
        self._script = tag == "script"
        if tag == "style":
            self.inline.append(tag)

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._script = False


async def test_the_page_is_served_under_its_policy(door: Door) -> None:
    async with door.session.get("/docs") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert await response.read() == FILES[INDEX].body
        policy = response.headers["Content-Security-Policy"].split("; ")
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in response.headers["Content-Security-Policy"]


async def test_every_file_that_the_page_asks_for_is_there(door: Door) -> None:
    reader = Reader()
    reader.feed(FILES[INDEX].body.decode())
    asked = {link.partition("#")[0] for link in reader.links}
    for name in MODULES:
        found = re.findall(r'from "\./([\w.]+)"', FILES[name].body.decode())
        asked |= {f"/docs/{each}" for each in found}
    asked -= {"", "/openapi.json"}
    assert asked == {f"/docs/{name}" for name in FILES if name != INDEX}
    for path in asked:
        async with door.session.get(path) as response:
            assert response.status == 200, path
            assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["nothing.js", "%2e%2e%2fapp.py", "docs.py"])
async def test_nothing_else_is_served(door: Door, name: str) -> None:
    async with door.session.get(f"/docs/{name}") as response:
        assert response.status == 404


def test_nothing_is_inline_and_nobody_else_is_asked() -> None:
    reader = Reader()
    reader.feed(FILES[INDEX].body.decode())
    assert reader.inline == []
    for name, file in FILES.items():
        text = file.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.findall(r"https?://[\w.]|url\(|@import|innerHTML|eval\(", text), name


def test_the_page_is_light() -> None:
    assert sum(len(file.body) for file in FILES.values()) < 64 << 10

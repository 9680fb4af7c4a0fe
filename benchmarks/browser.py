"""Headless Chromium over the DevTools protocol, with nothing but aiohttp.

Law: whatever the page writes to the console, whatever it fails with and whatever it asks the
network for is kept, so that a test can say that there was nothing wrong.
"""

import asyncio
import base64
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # containers give it 64 MiB
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
PATIENCE_S = 30.0  # a bound on hangs, not a speed that is tested
LOOK_S = 0.05
DESKTOP = (1280, 900)
PHONE = (390, 844)
MESSAGE_BYTES_MAX = 64 << 20  # a screenshot, a heap profile


def find_chromium() -> str | None:
    """Where Chromium is: CHAIND_CHROMIUM, else on the path."""
    named = os.environ.get("CHAIND_CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser")


class PageFailed(AssertionError):
    """What was waited for did not come, or a script on the page threw."""


class Page:
    """One tab. `evaluate` runs JavaScript in it, `until` waits for an expression to be true."""

    def __init__(self, browser: "Browser", session: str, context: str) -> None:
        self._browser = browser
        self._session = session
        self._context = context
        self.complaints: list[str] = []  # console warnings and errors, exceptions
        self.requests: list[str] = []  # every URL that was asked for
        self.failures: list[str] = []  # requests without an answer

    async def send(self, method: str, **params: Any) -> Any:
        """A command of the protocol, and its result."""
        return await self._browser.send(method, params, self._session)

    async def open(self) -> None:
        """Begin to listen."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")

    async def close(self) -> None:
        """The tab and its storage go."""
        await self._browser.send(
            "Target.disposeBrowserContext", {"browserContextId": self._context}
        )

    def forgive(self, *parts: str) -> None:
        """Drop complaints that hold one of these: what a test provoked itself."""
        self.complaints = [
            each for each in self.complaints if not any(part in each for part in parts)
        ]

    def hear(self, method: str, params: dict[str, Any]) -> None:
        """An event of this tab."""
        match method:
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                thrown = details.get("exception", {}).get("description", details["text"])
                self.complaints.append(thrown)
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                words = [str(each.get("value", each.get("description"))) for each in params["args"]]
                self.complaints.append(" ".join(words))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                entry = params["entry"]
                self.complaints.append(f"{entry['text']} {entry.get('url', '')}")
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(params["url"])
            case "Network.loadingFailed" if not params.get("canceled"):
                self.failures.append(params["errorText"])

    async def go(self, url: str) -> None:
        """Load a page from nothing."""
        await self.send("Page.navigate", url="about:blank")
        await self.send("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression; promises are awaited."""
        answer = await self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageFailed(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    async def until(self, expression: str, patience_s: float = PATIENCE_S) -> Any:
        """The first true value of an expression; an element is true. Raises `PageFailed`, with
        what is shown instead."""
        asked = f"(async () => {{ const found = await ({expression});"
        asked += " return found instanceof Node ? true : found; })()"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while loop.time() < deadline:
            value = await self.evaluate(asked)
            if value:
                return value
            await asyncio.sleep(LOOK_S)
        shown = await self.evaluate("document.body.innerText.slice(0, 3000)")
        raise PageFailed(f"not within {patience_s:.0f} s: {expression}\n{self.complaints}\n{shown}")

    async def click(self, selector: str) -> None:
        """A press of the mouse in the middle of the first element found."""
        box = await self.until(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            " if (!found) return null; found.scrollIntoView({block: 'center'});"
            " const {x, y, width, height} = found.getBoundingClientRect();"
            " return width ? {x: x + width / 2, y: y + height / 2} : null; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send(
                "Input.dispatchMouseEvent", type=kind, **box, button="left", clickCount=1
            )

    async def type(self, selector: str, words: str) -> None:
        """Replace the text of a field, by the keyboard."""
        await self.click(selector)
        await self.evaluate("document.activeElement.select?.()")
        await self.send("Input.insertText", text=words)

    async def press(self, key: str, *, text: str = "", modifiers: int = 0) -> None:
        """A key, down and up."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, "/": 191}
        typed = {"text": text} if text else {}
        common = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0), "modifiers": modifiers}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **common, **typed)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    async def text(self, selector: str) -> str:
        """The text of an element that is there."""
        found = await self.until(f"document.querySelector({json.dumps(selector)})?.innerText")
        return str(found)

    async def resize(self, size: tuple[int, int], scale: float = 1.0) -> None:
        """The size of the window; narrow ones are phones."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=scale,
            mobile=size[0] < 600,
        )

    async def colours(self, scheme: str) -> None:
        """What the system prefers: "light" or "dark"."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.send("Emulation.setEmulatedMedia", features=[feature])

    async def picture(self, selector: str | None = None, *, whole: bool = False) -> bytes:
        """A PNG of the window, of the whole page, or of one element."""
        clip: dict[str, Any] = {}
        if selector is not None:
            box = await self.evaluate(
                f"(() => {{ const b = document.querySelector({json.dumps(selector)})"
                ".getBoundingClientRect(); return {x: b.x + scrollX, y: b.y + scrollY,"
                " width: b.width, height: b.height, scale: 2}; })()"
            )
            clip = {"clip": box}
        answer = await self.send(
            "Page.captureScreenshot",
            format="png",
            captureBeyondViewport=whole or bool(clip),
            **clip,
        )
        return base64.b64decode(answer["data"])


class Browser:
    """A running Chromium."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._next = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._pages: dict[str, Page] = {}

    async def listen(self) -> None:
        """Deliver what the browser says, until it is closed."""
        async for message in self._socket:
            told = json.loads(message.data)
            future = self._waiting.pop(told.get("id"), None)
            if future is None:
                page = self._pages.get(told.get("sessionId", ""))
                if page is not None and "method" in told:
                    page.hear(told["method"], told["params"])
            elif not future.done():
                if "error" in told:
                    future.set_exception(PageFailed(told["error"]["message"]))
                else:
                    future.set_result(told["result"])
        for future in self._waiting.values():
            future.set_exception(PageFailed("the browser has ended"))

    async def send(self, method: str, params: dict[str, Any], session: str | None = None) -> Any:
        """A command, and its result."""
        self._next += 1
        number = self._next
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": params}
        if session is not None:
            command["sessionId"] = session
        await self._socket.send_json(command)
        async with asyncio.timeout(PATIENCE_S * 2):
            return await future

    async def page(self, size: tuple[int, int] = DESKTOP, scale: float = 1.0) -> Page:
        """A new tab with storage of its own."""
        context = (await self.send("Target.createBrowserContext", {}))["browserContextId"]
        made = await self.send(
            "Target.createTarget", {"url": "about:blank", "browserContextId": context}
        )
        attached = await self.send(
            "Target.attachToTarget", {"targetId": made["targetId"], "flatten": True}
        )
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"], context)
        await page.open()
        await page.resize(size, scale)
        return page


async def _address(directory: Path, process: asyncio.subprocess.Process) -> str:
    """Where the browser listens, as it notes in its directory."""
    file = directory / "DevToolsActivePort"
    async with asyncio.timeout(PATIENCE_S * 2):
        while True:
            lines = file.read_text().splitlines() if file.exists() else []
            if len(lines) >= 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            if process.returncode is not None:
                raise PageFailed(f"chromium ended with status {process.returncode}")
            await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def chromium(executable: str) -> AsyncIterator[Browser]:
    """A browser with an empty profile, which goes with it."""
    with TemporaryDirectory(prefix="chaind-chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            executable,
            *FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            url = await _address(Path(profile), process)
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(url, max_msg_size=MESSAGE_BYTES_MAX) as socket,
            ):
                browser = Browser(socket)
                listening = asyncio.create_task(browser.listen())
                try:
                    yield browser
                finally:
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    async with asyncio.timeout(5):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()

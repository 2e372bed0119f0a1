# docs/guides/images.md: a picture from the web (IMG-09). The web is a server in this program.

import io
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import httpx
import PIL.Image

from trio_agents import Image

LARGEST = 10_000_000  # bytes: a server may send any number


class OnePicture(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        buffer = io.BytesIO()
        PIL.Image.new("RGB", (4, 3), "blue").save(buffer, format="PNG")
        self.send_response(200)
        self.send_header("Content-Length", str(buffer.tell()))
        self.end_headers()
        self.wfile.write(buffer.getvalue())

    def log_message(self, format: str, *args: object) -> None:
        pass


# [fetch]
async def fetch_image(url: str) -> Image:
    content = bytearray()
    async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
        response.raise_for_status()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > LARGEST:
                raise ValueError(f"{url} is larger than {LARGEST} bytes")
    with PIL.Image.open(io.BytesIO(content)) as picture:
        return Image.from_pil(picture)


# [/fetch]


def main() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), OnePicture) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="web")
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/blue.png"
            for backend in ("trio", "asyncio"):
                print(backend, anyio.run(partial(fetch_image, url), backend=backend))
        finally:
            server.shutdown()
            thread.join()


main()

# Prints:
# trio <Image 4x3>
# asyncio <Image 4x3>

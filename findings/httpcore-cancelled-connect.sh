# On trio, httpcore's pool loses a place for good when a request is cancelled just as its new connection is ready.
#
# A good guess: a cancelled request gives its place back, whenever the cancellation comes.
# Seen: the connection stays in the pool as NEW, belongs to no request and is never used
# again; after max_connections of them every request ends in PoolTimeout, although the
# server is there and nothing is under way.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet httpcore==1.0.9 h11==0.16.0 trio==0.35.0
cat > "$folder/look.py" <<'PYTHON'
import httpcore
import trio

PLACES = 2


class CancellingNetwork(httpcore.AsyncNetworkBackend):
    """The real network; the scope is cancelled once the connection is made."""

    def __init__(self):
        self.network = httpcore.TrioBackend()
        self.scope = None

    async def connect_tcp(self, *arguments, **options):
        stream = await self.network.connect_tcp(*arguments, **options)
        if self.scope is not None:
            self.scope.cancel()
        return stream


async def serve(stream):
    async with stream:
        while await stream.receive_some():
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


async def main():
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        network = CancellingNetwork()
        async with httpcore.AsyncConnectionPool(
            max_connections=PLACES, network_backend=network
        ) as pool:
            ask = {"url": f"http://127.0.0.1:{port}/", "extensions": {"timeout": {"pool": 2.0}}}
            for number in range(1, PLACES + 1):
                with trio.CancelScope() as network.scope:
                    await pool.request("GET", **ask)
                print(f"cancelled request {number}: {len(pool.connections)} connections in the pool")
            network.scope = None
            try:
                await pool.request("GET", **ask)
            except httpcore.PoolTimeout:
                print("a request afterwards: PoolTimeout, with", *pool.connections)
                lost = True
            else:
                print("a request afterwards: answered")
                lost = False
        nursery.cancel_scope.cancel()
    return lost


print(f"httpcore {httpcore.__version__}, trio {trio.__version__}")
raise SystemExit(not trio.run(main))
PYTHON
"$folder/venv/bin/python" "$folder/look.py" || { echo "it has changed: places are given back"; exit 1; }

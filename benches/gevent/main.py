"""The servers in gevent: prints the address, then serves until it is killed.

    main.py serve|http WORKERS    one process has one worker, whatever is asked for
"""

import sys

from gevent.pywsgi import WSGIServer
from gevent.server import StreamServer


def echo(stream, _address):
    while data := stream.recv(512):
        stream.sendall(data)


def plain(_environ, start_response):
    body = b"Hello, World!"
    start_response(
        "200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    )
    return [body]


def main():
    if sys.argv[1] == "serve":
        server = StreamServer(("127.0.0.1", 0), echo, backlog=1024)
    else:
        server = WSGIServer(("127.0.0.1", 0), plain, backlog=1024, log=None)
    server.start()
    print(f"127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


main()

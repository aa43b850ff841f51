"""moto's S3, answering one request at a time; prints its address.

moto looks whether a key exists and writes it in two steps, and nothing keeps another thread out between
them: of 32 writers with `If-None-Match: *` two won in 7 of 200 rounds, once threads took turns often
enough (`sys.setswitchinterval(1e-6)`). S3 itself decides, and a ledger relies on that. So requests queue
here, and threads take turns as often as that: a race that the lock does not stop would show.
"""

import sys
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

sys.setswitchinterval(1e-6)
moto = DomainDispatcherApplication(create_backend_app)
turn = threading.Lock()


def one_by_one(environ, start_response):
    with turn:
        # A list, so that all of the answer is made before the next request has its turn.
        return list(moto(environ, start_response))


server = make_server("127.0.0.1", 0, one_by_one, threaded=True)
print(f"Running on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()

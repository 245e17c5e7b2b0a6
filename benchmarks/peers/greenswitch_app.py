"""The hand-off as greenswitch's README builds an outbound application: one argument, the port to listen on."""

import logging
import sys

import greenswitch


class Application:
    """One call: read what was dialled, bridge."""

    def __init__(self, session):
        self.session = session

    def run(self):
        """Serve the call as the README does, errors included."""
        try:
            self.handle_call()
        except greenswitch.esl.OutboundSessionHasGoneAway:
            pass
        except Exception:
            logging.exception("a call failed")
            self.session.stop()

    def handle_call(self):
        """Take the call over and bridge it."""
        self.session.connect()
        self.session.myevents()
        self.session.linger()
        dialled = self.session.session_data.get("Caller-Destination-Number")
        self.session.bridge(f"sofia/gateway/carrier/{dialled}")


logging.basicConfig(level=logging.WARNING)
server = greenswitch.OutboundESLServer(
    bind_address="127.0.0.1", bind_port=int(sys.argv[1]), application=Application, max_connections=20000
)
server.listen()

"""A shop whose factory takes the engine that it schedules on."""

from datetime import UTC, datetime, timedelta

from flask import Flask, request
from tasks import ask_for_review, send_receipt

from spinach import Engine


def create_app(spin: Engine) -> Flask:
    app = Flask(__name__)

    @app.post("/orders")
    def order() -> tuple[dict[str, str], int]:
        sent = request.get_json()
        if "@" not in sent.get("email", ""):
            return {"error": "An order needs an e-mail address."}, 400
        spin.schedule(send_receipt, sent["email"], item=sent["item"])
        week = datetime.now(UTC) + timedelta(days=7)
        spin.schedule_at(ask_for_review, week, sent["email"], item=sent["item"])
        return {"ordered": sent["item"]}, 202

    return app

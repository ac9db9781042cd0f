"""The shop's web application: counts visits in Redis, keeps orders in PostgreSQL.

    GET  /          a page with both numbers
    GET  /health    200 when both stores answer
    POST /orders    one more order

`app.py check` asks the running one for its health, and exits with 1 when it is ill.
"""

import json
import os
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2
import redis


def database():
    with open(os.environ["DATABASE_PASSWORD_FILE"]) as file:
        password = file.read().strip()
    return psycopg2.connect(host="db", user="shop", dbname="shop", password=password, connect_timeout=3)


def cache():
    return redis.Redis(host="cache", socket_timeout=3)


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            if self.path == "/health":
                cache().ping()
                database().close()
                return self.answer(200, {"status": "ok"})
            with database() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM orders")
                orders = cursor.fetchone()[0]
            self.answer(200, {"visits": cache().incr("visits"), "orders": orders, "served_by": os.uname().nodename})
        except Exception as error:
            self.answer(503, {"error": str(error)})

    def do_POST(self):
        if self.path != "/orders":
            return self.answer(404, {"error": "there is only /orders"})
        with database() as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders DEFAULT VALUES RETURNING id")
            self.answer(201, {"order": cursor.fetchone()[0]})

    def answer(self, status, body):
        text = (json.dumps(body) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, form, *values):
        print(form % values, flush=True)


if sys.argv[1:] == ["check"]:
    try:
        urllib.request.urlopen("http://127.0.0.1:8000/health", timeout=5)
    except OSError as error:
        sys.exit(f"{error}")
    sys.exit(0)

with database() as connection, connection.cursor() as cursor:
    # Two replicas may start at once, and CREATE TABLE IF NOT EXISTS alone is not safe then.
    cursor.execute("SELECT pg_advisory_xact_lock(1)")
    cursor.execute("CREATE TABLE IF NOT EXISTS orders (id serial PRIMARY KEY, at timestamptz DEFAULT now())")
ThreadingHTTPServer(("", 8000), Shop).serve_forever()

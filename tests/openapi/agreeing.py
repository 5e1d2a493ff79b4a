"""A hook of schemathesis: makes settings agree with each other, which no schema can say."""

import itertools

import schemathesis

AWAY = "rtmp://127.0.0.1:1/live"
NUMBERS = itertools.count()

# A first wait is not above the longest one, and only sources wait for players. The form of the last two, and what may
# be a url, is described in words.
LEFT_OUT = ["retry_min_ms", "retry_max_ms", "on_demand", "cpus", "pin_sha256"]

# With these a target whose server does not exist is given up soon.
ENDING = ["bind_addr", "retry_count", "retry_total_ms"]


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    if not isinstance(body, dict):
        return
    for name in LEFT_OUT + (ENDING if case.operation.method == "patch" else []):
        body.pop(name, None)
    if "url" in body:
        body["url"] = AWAY
    if body.get("backup_urls"):
        body["backup_urls"] = [AWAY for _ in body["backup_urls"]]
    if case.operation.method == "put":
        number = next(NUMBERS)
        if number % 2:
            case.path_parameters["key"] = f"fresh-{number}"
        else:
            # A stream that runs keeps these.
            for name in ("clock", "nice"):
                body.pop(name, None)

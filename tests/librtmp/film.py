# Plays, publishes and calls by python-librtmp, as its manual shows it. Says first which librtmp it runs on.
# film.py play|live|publish|call URL [FILE]
import sys

import librtmp


def whole_tags(data, at_least):
    """An FLV file in pieces that end with a tag, as RTMPStream.write wants them."""
    begin, at = 0, 13
    while at < len(data):
        at += 15 + int.from_bytes(data[at + 1:at + 4], "big")
        if at - begin >= at_least:
            yield data[begin:at]
            begin = at
    yield data[begin:]


def save(stream, path):
    with open(path, "wb") as file:
        while True:
            data = stream.read(10000)
            if not data:
                return
            file.write(data)


def play(url, path, **options):
    conn = librtmp.RTMP(url, timeout=10, **options)
    conn.connect()
    save(conn.create_stream(), path)
    conn.close()
    assert not conn.connected


def publish(url, path):
    conn = librtmp.RTMP(url, live=True, timeout=10)
    conn.connect()
    stream = conn.create_stream(writeable=True)
    with open(path, "rb") as file:
        for piece in whole_tags(file.read(), 20000):
            assert stream.write(piece) == len(piece)
    stream.close()


def refused():
    """What the library logs when nobody listens: it reaches Python through a C callback."""
    logged = []
    librtmp.add_log_callback(lambda level, text: logged.append((level, text)))
    try:
        librtmp.RTMP("rtmp://127.0.0.1:1/app/film").connect()
    except librtmp.RTMPError as error:
        print("refused", error, logged)


def call(url, path):
    """Calls a method of the server, lets it call one of ours, and then plays on the same connection."""
    refused()
    conn = librtmp.RTMP(url, timeout=10, connect_data=["text", True, {"name": "value"}])
    welcome = conn.connect()

    @conn.invoke_handler
    def double(number):
        return 2 * number

    print("welcome", welcome.result(timeout=10)["code"])
    length = conn.remote_method("getStreamLength", block=True)
    print("length", length("film"))
    print("asked", conn.process_packets(invoked_method="double", timeout=10))
    save(conn.create_stream(), path)


def main(what, url, path):
    with open("/proc/self/maps") as maps:
        print("library", next(line.split()[-1] for line in maps if "librtmp.so" in line))
    try:
        if what == "publish":
            publish(url, path)
        elif what == "call":
            call(url, path)
        else:
            play(url, path, live=True if what == "live" else None)
    except librtmp.RTMPError as error:
        sys.exit("librtmp: %s" % error)


main(*sys.argv[1:])

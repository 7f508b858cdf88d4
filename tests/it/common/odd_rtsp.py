"""An RTSP camera for the tests that is slow or has oddities. Plays an H.264 or H.265 elementary stream with delimiters.

usage: odd_rtsp.py PORT CLIP [KEY=VALUE...]

fps      frames a second, also below 1
frames   sends this number of frames, then nothing
waits    sends each frame when a line arrives on standard input, whatever the time
delay    seconds before the answer to DESCRIBE
refuses  `tcp` or `udp`: refuses this transport
silent   `tcp` or `udp`: accepts this transport and sends nothing over it
user, password, challenge
         requires basic authentication; `challenge` is the header

Prints `ready` when it listens, and then `sent TIME` for each frame.
"""

import base64
import re
import socket
import struct
import sys
import threading
import time

PORT, CLIP = int(sys.argv[1]), sys.argv[2]
OPTIONS = dict(word.split("=", 1) for word in sys.argv[3:])
HEVC = CLIP.endswith("h265")


def units(data):
    """The units of each frame, without delimiters."""
    delimiter = rb"\x00\x00\x00\x01\x46" if HEVC else rb"\x00\x00\x00\x01\x09"
    starts = [match.start() for match in re.finditer(delimiter, data)]
    frames = []
    for start, end in zip(starts, starts[1:] + [len(data)]):
        parts = [part for part in re.split(rb"\x00\x00\x00\x01|\x00\x00\x01", data[start:end]) if part]
        frames.append([part for part in parts if kind(part) != (35 if HEVC else 9)])
    return frames


def kind(unit):
    return (unit[0] >> 1) & 63 if HEVC else unit[0] & 31


FRAMES = units(open(CLIP, "rb").read())


def sdp():
    return (
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n"
        f"a=rtpmap:96 {'H265' if HEVC else 'H264'}/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
    )


def payloads(unit, most=1300):
    if len(unit) <= most:
        return [unit]
    head = 2 if HEVC else 1
    body, parts = unit[head:], []
    for at in range(0, len(body), most):
        mark = (0x80 if at == 0 else 0) | (0x40 if at + most >= len(body) else 0) | kind(unit)
        if HEVC:
            start = bytes([(unit[0] & 0x81) | (49 << 1), unit[1], mark])
        else:
            start = bytes([(unit[0] & 0xE0) | 28, mark])
        parts.append(start + body[at : at + most])
    return parts


def play(send):
    fps, sequence, began = float(OPTIONS.get("fps", 10)), 0, time.time()
    number = 0
    while number < int(OPTIONS.get("frames", 1 << 60)):
        if "waits" in OPTIONS and not sys.stdin.readline():
            return
        print(f"sent {time.time()}", flush=True)
        parts = [part for unit in FRAMES[number % len(FRAMES)] for part in payloads(unit)]
        for at, part in enumerate(parts):
            last, stamp = at == len(parts) - 1, int(number * 90000 / fps) & 0xFFFFFFFF
            send(struct.pack("!BBHII", 0x80, (0x80 if last else 0) | 96, sequence & 0xFFFF, stamp, 7) + part)
            sequence += 1
        number += 1
        if "waits" not in OPTIONS:
            time.sleep(max(0, began + number / fps - time.time()))


def is_allowed(head):
    if "user" not in OPTIONS:
        return True
    login = f"{OPTIONS['user']}:{OPTIONS['password']}".encode()
    return f"Authorization: Basic {base64.b64encode(login).decode()}" in head


def serve(connection):
    lines, lock, send = connection.makefile("rb"), threading.Lock(), None

    def over_tcp(packet):
        with lock:
            connection.sendall(b"$\x00" + struct.pack("!H", len(packet)) + packet)

    while True:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = lines.read(1)
            if not byte:
                return
            if byte == b"$" and not head:
                lines.read(struct.unpack("!BH", lines.read(3))[1])
                continue
            head += byte
        head = head.decode()
        method, number = head.split()[0], re.search(r"CSeq: (\d+)", head)[1]

        def answer(status, headers="", body=""):
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            with lock:
                connection.sendall(f"RTSP/1.0 {status}\r\nCSeq: {number}\r\n{headers}{length}\r\n{body}".encode())

        if method != "OPTIONS" and not is_allowed(head):
            answer("401 Unauthorized", f"WWW-Authenticate: {OPTIONS.get('challenge', 'Basic realm=x')}\r\n")
        elif method == "DESCRIBE":
            time.sleep(float(OPTIONS.get("delay", 0)))
            address = head.split()[1]
            answer("200 OK", f"Content-Type: application/sdp\r\nContent-Base: {address}/\r\n", sdp())
        elif method == "SETUP":
            transport = "tcp" if "TCP" in head else "udp"
            if OPTIONS.get("refuses") == transport:
                answer("461 Unsupported Transport")
                continue
            if transport == "tcp":
                send, chosen = over_tcp, "RTP/AVP/TCP;unicast;interleaved=0-1"
            else:
                port = int(re.search(r"client_port=(\d+)", head)[1])
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sender.bind(("127.0.0.1", 0))
                send = lambda packet: sender.sendto(packet, ("127.0.0.1", port))  # noqa: E731
                own = sender.getsockname()[1]
                chosen = f"RTP/AVP;unicast;client_port={port}-{port + 1};server_port={own}-{own + 1}"
            if OPTIONS.get("silent") == transport:
                send = lambda packet: None  # noqa: E731
            answer("200 OK", f"Transport: {chosen}\r\nSession: 7;timeout=60\r\n")
        elif method == "PLAY":
            answer("200 OK", "Session: 7\r\n")
            threading.Thread(target=keep_playing, args=(send,), daemon=True).start()
        else:
            answer("200 OK", "Session: 7\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER\r\n")


def keep_playing(send):
    try:
        play(send)
    except OSError:
        pass  # the client left


def until_it_leaves(connection):
    try:
        serve(connection)
    except OSError:
        pass
    connection.close()


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", PORT))
listener.listen(16)
print("ready", flush=True)
while True:
    threading.Thread(target=until_it_leaves, args=(listener.accept()[0],), daemon=True).start()

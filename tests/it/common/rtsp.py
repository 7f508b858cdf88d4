"""An RTSP camera for the tests: plays H.264, H.265 or JPEG pictures (an elementary stream) in a loop, in real time.

usage: [LOSS=0.02] rtsp.py PORT CODEC FPS CLIP[,CLIP...] [USER PASSWORD]

Several clips are one stream, which changes in the middle. LOSS is the share of packets to drop. Prints `ready` when it
listens.
"""

import os
import re
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402


def access_units(data, codec):
    """The stream, cut at its access unit delimiters. The encoder must write them."""
    delimiters = {"h264": rb"\x00\x00\x00\x01\x09", "h265": rb"\x00\x00\x00\x01\x46", "jpeg": rb"\xff\xd8\xff"}
    delimiter = delimiters[codec]
    starts = [match.start() for match in re.finditer(delimiter, data)]
    return [data[start:end] for start, end in zip(starts, starts[1:] + [len(data)])]


class Camera(GstRtspServer.RTSPMediaFactory):
    def __init__(self, codec, fps, units):
        super().__init__()
        self.codec, self.step, self.units = codec, Gst.SECOND // fps, units
        self.set_shared(False)

    def do_create_element(self, url):
        caps = f"video/x-{self.codec},stream-format=byte-stream,alignment=au"
        way = f"{self.codec}parse ! rtp{self.codec}pay pt=96 config-interval=-1"
        if self.codec == "jpeg":
            caps, way = "image/jpeg,framerate=10/1", "jpegparse ! rtpjpegpay pt=26"
        if "LOSS" in os.environ:
            way += f" ! identity drop-probability={os.environ['LOSS']}"
        return Gst.parse_launch(
            f"( appsrc name=source is-live=true format=time block=false caps={caps} ! {way} name=pay0 )"
        )

    def do_configure(self, media):
        source = media.get_element().get_by_name_recurse_up("source")
        state = {"number": 0}

        def push():
            number = state["number"]
            buffer = Gst.Buffer.new_wrapped(self.units[number % len(self.units)])
            buffer.pts = buffer.dts = number * self.step
            buffer.duration = self.step
            state["number"] = number + 1
            # Without a client the source refuses the buffer, and that ends the timer.
            return source.emit("push-buffer", buffer) == Gst.FlowReturn.OK

        push()
        GLib.timeout_add(self.step // Gst.MSECOND, push)


def main():
    port, codec, fps, clips = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4].split(",")
    login = sys.argv[5:]
    Gst.init(None)
    units = []
    for clip in clips:
        with open(clip, "rb") as file:
            units += access_units(file.read(), codec)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = Camera(codec, fps, units)
    if login:
        auth = GstRtspServer.RTSPAuth.new()
        token = GstRtspServer.RTSPToken()
        token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*login), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", "media.factory.access", True)
        permissions.add_permission_for_role("viewer", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/stream", factory)
    if not server.attach(None):
        sys.exit("the port is taken")
    print("ready", flush=True)
    GLib.MainLoop().run()


main()

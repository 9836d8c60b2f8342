"""A network camera: GStreamer's RTSP server on loopback, which plays a file. Run by the system's Python (make system).

Arguments: a port (0 for any) and an MP4 file of H.264. Prints the port once it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the versions come first

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
camera = GstRtspServer.RTSPMediaFactory()
camera.set_launch(
    f'( filesrc location="{sys.argv[2]}" ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 )'
)
server.get_mount_points().add_factory("/line", camera)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()

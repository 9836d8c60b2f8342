"""What can end the runtime besides the errors of `lineact.errors`."""

from lineact.errors import LineactError


class CameraError(LineactError):
    """A camera gives no picture any more."""

    exit_code = 69  # EX_UNAVAILABLE of sysexits.h


class RegistryError(LineactError):
    """The registry of released bundles does not answer."""

    exit_code = 69


class BusyError(LineactError):
    """Another process has the camera, or writes into the same folder."""

    exit_code = 16  # EBUSY

"""What a file can be refused for. Each is a ValueError whose text says what to do."""


class ConversionError(ValueError):
    """A checkpoint could not be converted."""


class UnsafeFileError(ConversionError):
    """The file asks for something that weights do not need: code, or more memory than it holds."""


class DamagedFileError(ConversionError):
    """The file ends too early, or contradicts itself."""


class UnknownLayoutError(ConversionError):
    """The file is readable but holds no network that is known here."""


class WrongKeysError(ConversionError):
    """A network's tensors are not exactly those its architecture has."""


def shown(value, limit=80):
    """A short, printable form of something a file holds, however large or strange it is."""
    if isinstance(value, (str, bytes, int, float, bool, type(None))):
        if isinstance(value, int) and value.bit_length() > 200:
            return f"an integer of {value.bit_length()} bits"
        text = ascii(value[: limit + 1] if isinstance(value, (str, bytes)) else value)
        return text if len(text) <= limit else f"{text[:limit]}..."
    return f"a {type(value).__name__}"

"""Images and sounds of rows: found, opened once to see that they can be read, then read as needed.

A cell is a path, the bytes of a file, or what the hub's Image and Audio features hold of both.
"""

import hashlib
import io
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from tunesmith.errors import MachineError

Media = dict[str, Any]  # {"bytes": of a file, or None; "path": of one, absolute, or None}

WIDTHS: dict[int, np.dtype[Any]] = {
    1: np.dtype("u1"),
    2: np.dtype("<i2"),
    4: np.dtype("<i4"),
}  # bytes a sample


def image_of(cell: Any, folder: Path) -> Media | None:
    """Say where the image of a cell is, and open it; None where there is none.

    A path is below `folder` unless it is absolute. Raises ValueError for what is no image.
    """
    media = media_of(cell, folder)
    if media is not None:
        read_image(media)
    return media


def sound_of(cell: Any, folder: Path) -> Media | None:
    """Say where the sound of a cell is, and open it, as `image_of` does."""
    media = media_of(cell, folder)
    if media is not None:
        read_sound(media)
    return media


def media_of(cell: Any, folder: Path) -> Media | None:
    """Return the bytes of a cell's file, or its path. Raises ValueError."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if cell is None or cell in ("", b""):
        return None
    if isinstance(cell, bytes):
        return {"bytes": cell, "path": None}
    if not isinstance(cell, str):
        raise ValueError(f"is a {type(cell).__name__}, not a path or the bytes of a file")
    if "://" in cell:
        raise ValueError(f"{cell!r} is an address, not a file: download it first")
    path = Path(folder, Path(cell).expanduser()).absolute()
    if not path.is_file():
        raise ValueError(f"{cell!r}: no such file in {folder}")
    return {"bytes": None, "path": str(path)}


def read_image(media: Media) -> Any:
    """Return an image as Pillow's, in RGB. Raises ValueError where it is none."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        fix = "pip install 'tunesmith[multimodal]'"
        raise MachineError("ENV-PACKAGE", "images", "package pillow is missing", fix) from None
    try:
        with Image.open(_opened(media)) as image:
            return _of_8_bits(ImageOps.exif_transpose(image)).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{_name(media)}cannot be read as an image ({_short(error)})") from None


def read_sound(media: Media, rate: int | None = None) -> np.ndarray:
    """Return a sound (S,), float32 from -1 to 1, its channels averaged, at `rate` samples a second.

    Raises ValueError for all but wav files of whole numbers (PCM).
    """
    try:
        with wave.open(_opened(media), "rb") as file:
            width, channels, own_rate = (
                file.getsampwidth(),
                file.getnchannels(),
                file.getframerate(),
            )
            data = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        what = f"{_name(media)}is no PCM wav file ({_short(error)}); convert it to one"
        raise ValueError(what) from None
    samples = _numbers(data, width).reshape(-1, channels).mean(axis=1)
    if not len(samples):
        raise ValueError(f"{_name(media)}holds no sound")
    return _resampled(samples, own_rate, rate or own_rate).astype(np.float32)


def without_files(rows: Any) -> Any:
    """Leave out of a split the columns of files: what is scored need not hold them in memory."""
    return rows.remove_columns([name for name in ("image", "audio") if name in rows.column_names])


def _of_8_bits(image: Any) -> Any:
    """Keep the upper 8 of 16 bits a pixel: Pillow makes white of all that is more than 255."""
    if not image.mode.startswith("I;16"):
        return image
    from PIL import Image

    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _numbers(data: bytes, width: int) -> np.ndarray:
    if width == 3:  # no such type: each is put into the upper bytes of four
        wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8)[: len(wide) * 3].reshape(-1, 3)
        data, width = wide.tobytes(), 4
    numbers = np.frombuffer(data[: len(data) // width * width], WIDTHS[width]).astype(np.float64)
    return numbers / 128 - 1 if width == 1 else numbers / 2 ** (8 * width - 1)


def _resampled(samples: np.ndarray, own: int, mode: int) -> np.ndarray:
    if own == mode:
        return samples
    from scipy.signal import resample_poly

    common = np.gcd(own, mode)
    return resample_poly(samples, mode // common, own // common)


def _opened(media: Media) -> IO[bytes]:
    return io.BytesIO(media["bytes"] if media["path"] is None else Path(media["path"]).read_bytes())


def _name(media: Media) -> str:
    return "" if media["path"] is None else f"{Path(media['path']).name!r} "


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:60] or type(error).__name__


def digest_of(media: Media | None) -> str:
    """Return what tells one file from another, whatever it is called."""
    if media is None:
        return ""
    data = media["bytes"] if media["path"] is None else Path(media["path"]).read_bytes()
    return hashlib.blake2b(data, digest_size=16).hexdigest()

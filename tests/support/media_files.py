"""Small images and sounds, made."""

import io
import wave
from pathlib import Path

import numpy as np
from PIL import Image


def png(colour: tuple[int, int, int], size: tuple[int, int] = (12, 10)) -> bytes:
    """Return a png file of one colour, (width, height)."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def wav(samples: np.ndarray, rate: int = 16_000, width: int = 2, channels: int = 1) -> bytes:
    """Return a wav file of samples (S,) or (S, channels) from -1 to 1."""
    whole = np.round(np.clip(samples, -1, 1) * (2 ** (8 * width - 1) - 1)).astype("<i4")
    if width == 1:
        data = (whole + 128).astype("u1").tobytes()
    else:
        data = whole.reshape(-1, 1).view("u1").reshape(-1, 4)[:, :width].tobytes()
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(data)
    return out.getvalue()


def tone(hertz: float, seconds: float = 0.1, rate: int = 16_000) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def write_media(folder: Path, count: int = 5) -> None:
    """Write 0.png, 0.wav, ... of different colours and pitches."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i}.png").write_bytes(png((50 * i, 20, 255 - 50 * i), (9 + i, 12)))
        (folder / f"{i}.wav").write_bytes(wav(tone(200 * (i + 1), 0.05 + 0.02 * i)))

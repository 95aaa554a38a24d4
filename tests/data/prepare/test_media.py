"""Images and sounds of cells: where they are, what they hold, what is refused."""

import numpy as np
import pytest
from datasets import Dataset, Image
from PIL import Image as Pixels

from support.media_files import png, tone, wav, write_media
from tunesmith.data.prepare.media import (
    digest_of,
    image_of,
    media_of,
    read_image,
    read_sound,
    sound_of,
    without_files,
)
from tunesmith.data.sources.files import stream
from tunesmith.data.sources.hub import with_files


def test_a_path_is_below_its_folder_and_bytes_are_bytes(tmp_path):
    write_media(tmp_path / "pictures", 1)
    by_path = image_of("pictures/0.png", tmp_path)
    assert by_path == {"bytes": None, "path": str(tmp_path / "pictures/0.png")}
    data = (tmp_path / "pictures/0.png").read_bytes()
    for cell in (data, {"bytes": data, "path": "elsewhere.png"}):
        assert image_of(cell, tmp_path) == {"bytes": data, "path": None}
        assert digest_of(image_of(cell, tmp_path)) == digest_of(by_path)
    assert image_of({"bytes": None, "path": "pictures/0.png"}, tmp_path) == by_path


@pytest.mark.parametrize("cell", [None, "", b"", {"bytes": None, "path": None}])
def test_an_empty_cell_is_none(cell, tmp_path):
    assert image_of(cell, tmp_path) is None
    assert sound_of(cell, tmp_path) is None
    assert digest_of(None) == ""


BAD = {
    "no file": ("0.png", "'0.png': no such file in "),
    "an address": ("https://a.example/0.png", "is an address, not a file: download it first"),
    "a number": (3, "is a int, not a path or the bytes of a file"),
    "no image": (b"GIF89a-but-cut", "cannot be read as an image ("),
    "a cut image": (png((1, 2, 3), (64, 64))[:60], "cannot be read as an image ("),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_image_is_refused(name, tmp_path):
    cell, message = BAD[name]
    with pytest.raises(ValueError) as caught:
        image_of(cell, tmp_path)
    assert message in str(caught.value)


def test_an_image_comes_in_three_colours():
    image = read_image(media_of(png((10, 20, 30), (3, 2)), "."))
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (3, 2), (10, 20, 30))


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_an_image_of_16_bits_keeps_its_greys(kind, tmp_path):
    greys = np.linspace(0, 65_535, 12).astype(np.uint16).reshape(3, 4)
    Pixels.fromarray(greys).save(tmp_path / f"0.{kind}")
    found = np.asarray(read_image(image_of(f"0.{kind}", tmp_path)))
    assert (found == (greys // 256)[..., None]).all()


@pytest.mark.parametrize(("width", "error"), [(1, 2e-2), (2, 1e-4), (3, 1e-6), (4, 1e-6)])
def test_a_wav_file_is_read_at_any_width(width, error):
    samples = tone(440)
    found = read_sound(media_of(wav(samples, width=width), "."))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, samples, atol=error)


def test_channels_are_averaged():
    both = np.stack([tone(440), np.zeros(1600)], axis=1)
    found = read_sound(media_of(wav(both, channels=2), "."))
    np.testing.assert_allclose(found, tone(440) / 2, atol=1e-4)


def test_a_sound_is_resampled_without_changing_its_pitch():
    found = read_sound(media_of(wav(tone(440, 1.0, 44_100), rate=44_100), "."), 16_000)
    assert len(found) == 16_000
    assert np.abs(np.fft.rfft(found)).argmax() == 440
    np.testing.assert_allclose(found[200:-200], tone(440, 1.0)[200:-200], atol=5e-3)


@pytest.mark.parametrize("data", [b"ID3-an-mp3", b"fLaC....", wav(tone(440))[:20]])
def test_other_sounds_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match="is no PCM wav file"):
        sound_of(data, tmp_path)


def test_a_sound_of_no_length_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no sound"):
        sound_of(wav(np.zeros(0)), tmp_path)


def test_what_is_scored_holds_no_files():
    rows = Dataset.from_list([{"text": "a", "image": {"bytes": png((1, 2, 3)), "path": None}}])
    assert without_files(rows).to_list() == [{"text": "a"}]


def test_the_image_feature_of_the_hub_is_a_file(tmp_path):
    data = png((9, 8, 7))
    rows = Dataset.from_list([{"image": {"bytes": data, "path": "a.png"}}, {"image": None}])
    rows = rows.cast_column("image", Image())
    rows.to_parquet(tmp_path / "rows.parquet")
    from_parquet = [row for _, row in stream(tmp_path / "rows.parquet")]
    for found in (list(with_files(rows)), from_parquet):
        assert image_of(found[0]["image"], tmp_path) == {"bytes": data, "path": None}
        assert image_of(found[1]["image"], tmp_path) is None

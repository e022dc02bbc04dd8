"""The one reader of pictures: depth, transparency, frames, orientation, hidden files, damaged files, big files."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.diffusion import load_images
from voltaspin.diffusion.pictures import MAX_PIXELS, SUFFIXES, decode, picture_files
from voltaspin.metrics import read_images

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 5)).astype(np.uint8)
RGB = RNG.integers(0, 256, (6, 5, 3)).astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(array, *, depth, kind, size=None):
    """A PNG from its standard (ISO 15948), of depths that Pillow does not write."""
    h, w = array.shape[:2] if size is None else size
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else np.uint8).tobytes() for row in array)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(array, *, kind=1):
    """An uncompressed TIFF 6.0 of one strip; ``kind`` 1 unsigned, 2 signed, 3 float."""
    h, w = array.shape[:2]
    n = 1 if array.ndim == 2 else array.shape[2]
    bits, data = 8 * array.itemsize, array.astype(array.dtype.newbyteorder("<")).tobytes()
    wide = struct.pack(f"<{n}H", *[bits] * n), struct.pack(f"<{n}H", *[kind] * n)
    begin = 8 + len(data)
    tags = [(256, 3, 1, w), (257, 3, 1, h), (258, 3, n, bits if n == 1 else begin), (259, 3, 1, 1),
            (262, 3, 1, 1 if n == 1 else 2), (273, 4, 1, 8), (277, 3, 1, n), (278, 3, 1, h), (279, 4, 1, len(data)),
            (339, 3, n, kind if n == 1 else begin + len(wide[0]))]  # fmt: skip
    body = data + wide[0] + wide[1]
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *t) for t in tags) + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + ifd


def saved(array, kind, mode=None, **options):
    out = io.BytesIO()
    (Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)).save(out, kind, **options)
    return out.getvalue()


def read(data, **options):
    return decode(io.BytesIO(data), "it", **options)


DEEP = [
    png(RNG.integers(0, 4096, (4, 4)), depth=16, kind=0),
    png(RNG.integers(0, 4096, (4, 4, 3)), depth=16, kind=2),
    png(RNG.integers(0, 4096, (4, 4, 2)), depth=16, kind=4),
    png(RNG.integers(0, 4096, (4, 4, 4)), depth=16, kind=6),
    tiff(RNG.integers(0, 4096, (4, 4)).astype(np.uint16)),
    tiff(RNG.integers(0, 4096, (4, 4, 3)).astype(np.uint16)),
    tiff(RNG.integers(0, 99, (4, 4)).astype(np.uint32)),
    tiff(RNG.random((4, 4), np.float32), kind=3),
    tiff(RNG.integers(-9, 9, (4, 4)).astype(np.int16), kind=2),
    tiff(RNG.integers(-9, 9, (4, 4)).astype(np.int8), kind=2),
]


@pytest.mark.parametrize("data", DEEP)
def test_more_than_8_bit_is_refused_with_a_remedy(data, tmp_path):
    """Pillow opens 16-bit colour as RGB and keeps the high byte: 12-bit data would come out as 0 to 15."""
    with pytest.raises(InputError, match=r"more than 8 bit per pixel and channel.*which level became white"):
        read(data)
    (tmp_path / ("a.png" if data[:1] == b"\x89" else "a.tif")).write_bytes(data)
    for reader in (load_images, read_images):
        with pytest.raises(InputError, match=r"a\.(png|tif) has more than 8 bit"):
            reader(str(tmp_path))


def test_the_remedy_for_deep_grey_pictures_works():
    levels = np.array([[0, 2048, 4095]], np.uint16)
    with Image.open(io.BytesIO(png(levels, depth=16, kind=0))) as picture:
        eight = Image.fromarray((np.asarray(picture) / 4095 * 255).round().astype("uint8"))
    assert np.asarray(eight).tolist() == [[0, 128, 255]]


def test_8_bit_and_fewer_are_read_exactly():
    for kind in ("PNG", "BMP", "GIF", "TIFF"):
        assert np.array_equal(read(saved(GREY, kind)), GREY), kind
    for kind in ("PNG", "BMP", "TIFF"):
        assert np.array_equal(read(saved(RGB, kind)), RGB), kind
    assert np.array_equal(read(saved(RGB, "WEBP", lossless=True)), RGB)
    assert np.array_equal(read(tiff(RGB)), RGB)
    assert np.array_equal(read(png(RGB, depth=8, kind=2)), RGB)
    for depth in (1, 2, 4):  # levels of a PNG are spread over 0 to 255 (ISO 15948, 13.12)
        row = np.packbits(np.arange(8, dtype=np.uint8) % 2**depth * 0 + 1)[None, :1]
        found = read(png(row, depth=depth, kind=0, size=(1, 8 // depth)))
        values = np.frombuffer(np.unpackbits(row)[: 8 // depth * depth].tobytes(), np.uint8).reshape(-1, depth)
        levels = values @ (1 << np.arange(depth)[::-1])
        assert found.tolist() == [(levels * 255 // (2**depth - 1)).tolist()]


def test_a_grey_palette_stays_grey_and_a_coloured_one_is_colour():
    palette = Image.fromarray(GREY).quantize(16)
    assert palette.mode == "P"
    out = io.BytesIO()
    palette.save(out, "PNG")
    assert np.array_equal(read(out.getvalue()), np.asarray(palette.convert("L")))
    colour = Image.fromarray(RGB).quantize(16)
    out = io.BytesIO()
    colour.save(out, "PNG")
    assert np.array_equal(read(out.getvalue()), np.asarray(colour.convert("RGB")))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_refused_unless_a_background_is_given(mode):
    alpha = RNG.integers(0, 255, (6, 5)).astype(np.uint8)
    colours = GREY[..., None] if mode == "LA" else RGB
    data = saved(np.concatenate([colours, alpha[..., None]], 2), "PNG")
    with pytest.raises(
        InputError, match=r"it is transparent in 100% of its pixels; say what lies behind with background="
    ):
        read(data)
    share = alpha[..., None] / 255
    for background, level in (("black", 0), ("white", 255), ("#808080", 128)):
        found = read(data, background=background)
        exact = share * colours + (1 - share) * level
        assert np.abs(found.reshape(exact.shape) - exact).max() <= 0.5 + 1e-9
    if mode == "LA":
        assert read(data, background="red").shape == (6, 5, 3)
    opaque = saved(np.concatenate([colours, np.full((6, 5, 1), 255, np.uint8)], 2), "PNG")
    assert np.array_equal(read(opaque), colours[..., 0] if mode == "LA" else colours)
    for wrong in ("nothing", "#12", "#ffffff80"):
        with pytest.raises(InputError, match="is no opaque colour"):
            read(data, background=wrong)


def test_transparent_levels_of_palettes_grey_and_colour_are_transparency():
    holes = GREY.copy()
    holes[0, 0], holes[GREY == 7] = 7, 8
    holes[0, 0] = 7
    for data in (
        saved(holes, "PNG", transparency=7),
        saved(holes, "GIF", transparency=7),
        saved(holes, "PNG", mode="P", transparency=7),
    ):
        with pytest.raises(InputError, match="transparent in 3%"):  # one of thirty
            read(data)
        over = read(data, background="#c8c8c8")
        assert over.reshape(6, 5, -1)[0, 0].tolist() == [200] * over.reshape(6, 5, -1).shape[2]
        assert np.array_equal(over.reshape(6, 5, -1)[1:, :, 0], holes[1:])
    data = saved(RGB, "PNG", transparency=tuple(int(v) for v in RGB[2, 3]))
    with pytest.raises(InputError, match="transparent in 3%"):
        read(data)
    assert read(data, background="blue")[2, 3].tolist() == [0, 0, 255]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_animations_and_pages_are_refused(kind):
    frames = [Image.fromarray(np.full((6, 5), v, np.uint8)) for v in (0, 99, 200)]
    out = io.BytesIO()
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="several frames or pages; save each"):
        read(out.getvalue())
    single = io.BytesIO()
    frames[1].save(single, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.unique(read(single.getvalue())).tolist() == [99]


@pytest.mark.parametrize(("kind", "tolerance"), [("PNG", 0), ("TIFF", 0), ("WEBP", 0), ("JPEG", 3)])
def test_the_orientation_is_applied(kind, tolerance):
    # EXIF 2.3, tag 0x0112: what has to be done to the stored rows and columns to see the picture upright
    turns = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose,
             6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).T, 8: np.rot90}  # fmt: skip
    stored = np.repeat(np.repeat(np.arange(6).reshape(2, 3) * 40, 8, 0), 8, 1).astype(np.uint8)
    for orientation, turn in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
        found = read(saved(stored, kind, exif=exif, **options))
        grey = found if found.ndim == 2 else found[..., 0]
        assert grey.shape == turn(stored).shape
        assert np.abs(grey.astype(int) - turn(stored)).max() <= tolerance, orientation


def test_colours_that_need_a_profile_are_refused():
    for data in (saved(RGB, "TIFF", "CMYK"), saved(RGB, "JPEG", "CMYK"), saved(RGB, "TIFF", "LAB")):
        with pytest.raises(InputError, match="depend on a profile; convert it to RGB"):
            read(data)


def bomb(side):
    """A PNG that says it is ``side`` wide and high, and holds next to nothing."""
    return png(np.zeros((1, 1), np.uint8), depth=8, kind=0, size=(side, side))


@pytest.mark.parametrize("side", [8193, 12_000, 30_000, 2**30])
def test_decompression_bombs_are_one_line_with_file_and_size(side, tmp_path, capsys):
    assert MAX_PIXELS < 8193**2
    (tmp_path / "bomb.png").write_bytes(bomb(side))
    out = tmp_path / "out"
    for command in (["evaluate", tmp_path], ["train", "--data", tmp_path, "--out", out]):
        with pytest.raises(SystemExit) as exit_:
            main([str(c) for c in command])
        said = capsys.readouterr().err
        assert exit_.value.code == 2
        assert said.count("\n") == 1
        assert "bomb.png has" in said
        assert str(side) in said or str(side**2) in said


def test_a_bomb_in_a_text_of_a_png_is_refused():
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20), 9))
    whole = saved(GREY, "PNG")
    with pytest.raises(InputError, match="cannot be read as an image"):
        read(whole[:33] + text + whole[33:])


def test_hidden_files_are_no_images_and_one_list_of_suffixes_serves_all(tmp_path):
    for i, suffix in enumerate(sorted(SUFFIXES)):
        Image.fromarray(GREY).save(tmp_path / f"{i}{suffix.upper() if i % 2 else suffix}")
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"\0\5\26\7 no picture")
    for folder in ("__MACOSX", ".ipynb_checkpoints", ".git"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(b"no picture")
    (tmp_path / "folder.png").mkdir()
    assert len(picture_files(tmp_path)) == len(SUFFIXES)
    assert len(load_images(str(tmp_path)).images) == len(read_images(tmp_path)) == len(SUFFIXES)


@pytest.mark.parametrize("name", ["b.heic", "B.AVIF", "b.jp2", "b.dng", "b.pgm"])
def test_no_picture_of_a_kind_that_is_not_read_is_silently_left_out(tmp_path, name):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic")
    for read_folder in (read_images, lambda folder: load_images(str(folder))):
        with pytest.raises(InputError, match=f"{name} is a picture of a kind that is not read"):
            read_folder(tmp_path)
    (tmp_path / name).rename(tmp_path / f".{name}")
    assert len(read_images(tmp_path)) == 1


def test_a_link_to_a_picture_that_is_gone_is_named(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"b\.png cannot be read as an image"):
        read_images(tmp_path)


def test_a_folder_of_samples_is_read_as_its_record_says(tmp_path):
    def save(name, value, side=8):
        Image.fromarray(np.full((side, side), value, np.uint8)).save(tmp_path / name)

    def values():
        found = load_images(str(tmp_path)).images
        assert np.array_equal(found, read_images(tmp_path))
        return found[:, 0, 0, 0].tolist()

    for i in range(3):
        save(f"image-{i:06d}.png", i)
    save("grid.png", 9, side=30)
    assert values() == [0, 1, 2]  # without a record
    save("my-own.png", 7)
    (tmp_path / "run.json").write_text('{"kind": "sample", "schema_version": 1, "images": 3}')
    assert values() == [0, 1, 2]  # version 0.1.0 lists no files
    listed = {"command": "sample", "files": ["grid.png", "image-000000.png", "image-000002.png"]}
    (tmp_path / "run.json").write_text(json.dumps({**listed, "finished": True}))
    assert values() == [0, 2]
    (tmp_path / "image-000002.png").unlink()
    for reader in (load_images, read_images):
        with pytest.raises(InputError, match=r"run\.json lists image-000002\.png, which is not there"):
            reader(str(tmp_path))
    (tmp_path / "run.json").write_text(json.dumps({**listed, "finished": False}))
    assert values() == [0]  # stopped on the way
    hostile = {**listed, "files": ["../image-1.png", 3, "/image-2.png", None]}
    for text in (json.dumps(hostile), "[]", "no json", "[" * 99_999):
        (tmp_path / "run.json").write_text(text)
        assert values() == [0, 1, 7]  # somebody else's record


def test_a_grid_is_an_image_where_no_samples_are(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "grid.png")
    assert picture_files(tmp_path) == [tmp_path / "grid.png"]


@pytest.mark.parametrize("spoil", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"RIFF" + d, lambda d: d[:33]])
def test_one_corrupt_file_is_named(spoil, tmp_path):
    for i in range(5):
        Image.fromarray(GREY).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_bytes(spoil((tmp_path / "3.png").read_bytes()))
    for reader in (load_images, read_images):
        with pytest.raises(InputError, match=r"3\.png cannot be read as an image"):
            reader(str(tmp_path))


WHOLE = [
    saved(RGB, "PNG"), saved(GREY, "PNG", mode="P"), saved(RGB, "JPEG"), saved(RGB, "WEBP"), saved(GREY, "GIF"),
    saved(RGB, "TIFF", compression="tiff_lzw"), saved(GREY, "TIFF"), saved(RGB, "BMP"), *DEEP[:2],
]  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(WHOLE), st.data())
def test_damaged_pictures_end_in_pixels_or_in_one_sentence(data, draw):
    """Bits flipped, cut, spliced: never another error, and no warning (which pytest takes for an error)."""
    spoilt = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        spoilt[draw.draw(st.integers(0, len(spoilt) - 1))] ^= draw.draw(st.integers(1, 255))
    cut = draw.draw(st.integers(0, len(spoilt)) | st.just(len(spoilt)))
    found, said = None, ""
    try:
        found = read(bytes(spoilt[:cut]))
    except InputError as error:
        said = str(error)
    if found is None:
        assert said.startswith("it ")
        assert "\n" not in said
    else:
        assert found.dtype == np.uint8
        assert found.ndim == 2 or found.shape[2] == 3


def test_pictures_that_a_camera_appends_to_a_jpeg_are_not_read():
    out = io.BytesIO()
    first, preview = (Image.fromarray(np.full((16, 16), v, np.uint8)) for v in (200, 0))
    first.save(out, "MPO", save_all=True, append_images=[preview])
    assert np.unique(read(out.getvalue())).tolist() == [200]

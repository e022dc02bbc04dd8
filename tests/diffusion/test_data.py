"""Loading of images, good and bad."""

import gzip
import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from voltaspin.core.errors import InputError
from voltaspin.diffusion import data
from voltaspin.diffusion.data import IdxDataset, load_images, parse_idx


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A data set of five images under the name ``tiny``, with its files in ``tmp_path / tiny``."""
    images = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4)
    labels = np.arange(5, dtype=np.uint8)
    files = {"t10k-images-idx3-ubyte": idx(images), "t10k-labels-idx1-ubyte": idx(labels)}
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name, raw in files.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
    hashes = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    monkeypatch.setitem(data.DATASETS, "tiny", IdxDataset("tiny", ("http://127.0.0.1:9/",), "none", hashes))
    monkeypatch.delenv("VOLTASPIN_DATA", raising=False)
    monkeypatch.setenv("VOLTASPIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "SYSTEM_FOLDER", tmp_path / "nowhere")
    return folder, images, labels


def test_search_order_explicit_path_environment_system_cache(tiny, tmp_path, monkeypatch):
    folder, images, labels = tiny
    found = load_images("tiny", split="test", path=folder)
    assert np.array_equal(found.images[:, 0], images)
    assert np.array_equal(found.labels, labels)
    for place in ("environment", "system", "cache"):
        home = tmp_path / place
        home.mkdir()
        folder = folder.rename(home / "tiny")
        if place == "environment":
            monkeypatch.setenv("VOLTASPIN_DATA", str(home))
        elif place == "system":
            monkeypatch.setattr(data, "SYSTEM_FOLDER", home)
        else:
            monkeypatch.setenv("VOLTASPIN_CACHE", str(home))
        assert np.array_equal(load_images("tiny", split="test").images[:, 0], images)
        monkeypatch.delenv("VOLTASPIN_DATA", raising=False)


def test_absent_everywhere_and_no_network_names_the_remedy(tiny):
    folder, *_ = tiny
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(InputError, match=r"cannot be fetched.*VOLTASPIN_DATA"):
        load_images("tiny", split="test")


def test_addresses_begin_with_https_and_are_tried_in_turn(tiny, tmp_path, monkeypatch):
    for known in data.DATASETS.values():
        if known.name != "tiny":
            plain = [a.startswith("https://") for a in known.addresses]
            assert plain[0]
            assert plain == sorted(plain, reverse=True)
            assert len(known.addresses) >= 2
    folder, images, _ = tiny
    served = folder.rename(tmp_path / "elsewhere")
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for file in served.iterdir():  # whole and readable, but other data
        (wrong / file.name).write_bytes(gzip.compress(gzip.decompress(file.read_bytes())[:-1] + b"\x63"))
    import pooch

    asked = []

    def retrieve(url, known_hash, fname, path, progressbar):
        asked.append(url)
        place = {"https://no/": None, "https://wrong/": wrong, "http://right/": served}[url.removesuffix(fname)]
        if place is None:
            raise ConnectionError
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes((place / fname).read_bytes())
        return str(path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    addresses = ("https://no/", "https://wrong/", "http://right/")
    monkeypatch.setitem(data.DATASETS, "tiny", replace(data.DATASETS["tiny"], addresses=addresses))
    assert np.array_equal(load_images("tiny", split="test").images[:, 0], images)
    assert [a.split("/")[2] for a in asked] == ["no", "wrong", "right"] * 2
    for file in (tmp_path / "cache" / "tiny").iterdir():
        file.unlink()
    monkeypatch.setitem(data.DATASETS, "tiny", replace(data.DATASETS["tiny"], addresses=addresses[:2]))
    with pytest.raises(InputError, match=r"https://no/\S+ \(ConnectionError\), https://wrong/\S+ \(another file\)"):
        load_images("tiny", split="test")
    assert not list((tmp_path / "cache" / "tiny").iterdir())


def test_a_gzip_bomb_is_not_expanded(tmp_path):
    import tracemalloc

    honest = bytes([0, 0, 8, 1]) + struct.pack(">I", 10)
    (tmp_path / "x-idx1-ubyte.gz").write_bytes(gzip.compress(honest + bytes(64 << 20)))
    (tmp_path / "y-idx3-ubyte.gz").write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12))
    tracemalloc.start()
    with pytest.raises(InputError, match="more than 10 bytes of data where the header says"):
        parse_idx(tmp_path / "x-idx1-ubyte.gz", "x-idx1-ubyte")
    with pytest.raises(InputError, match="more than 2147483648 bytes"):
        parse_idx(tmp_path / "y-idx3-ubyte.gz", "y-idx3-ubyte")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda raw: b"\x00\x00\x0d\x03" + raw[4:], "magic number 00000d03"),
        (lambda raw: raw[:-7], "73 bytes of data where the header says"),
        (lambda raw: raw[:-1] + b"\x63", "is not the official"),
        (lambda raw: b"", "magic number missing"),
    ],
)
def test_spoiled_idx_files_are_refused(tiny, spoil, says):
    folder, *_ = tiny
    file = folder / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(spoil(gzip.decompress(file.read_bytes()))))
    with pytest.raises(InputError, match=says):
        load_images("tiny", split="test", path=folder)


def test_truncated_gzip_is_refused(tiny):
    folder, *_ = tiny
    file = folder / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-12])
    with pytest.raises(InputError, match="gzip data break off"):
        load_images("tiny", split="test", path=folder)


def test_uncompressed_idx_is_read(tmp_path):
    array = np.arange(6, dtype=np.uint8)
    (tmp_path / "x-idx1-ubyte").write_bytes(idx(array))
    assert np.array_equal(parse_idx(tmp_path / "x-idx1-ubyte", "x-idx1-ubyte"), array)


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="unknown: use fashion-mnist, mnist"):
        load_images("cifar")
    with pytest.raises(InputError, match="background 'red' is for pictures with transparency"):
        load_images("mnist", background="red")
    with pytest.raises(InputError, match="split 'valid'"):
        load_images("mnist", split="valid")


def save(path, array):
    Image.fromarray(array).save(path)


def test_folder_of_grey_and_colour_pictures(tmp_path):
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    save(tmp_path / "a.png", grey)
    save(tmp_path / "b.png", grey + 100)
    found = load_images(str(tmp_path))
    assert found.images.shape == (2, 1, 4, 4)
    assert np.array_equal(found.images[1, 0], grey + 100)
    save(tmp_path / "c.png", np.zeros((4, 4, 3), np.uint8))
    assert load_images(str(tmp_path)).images.shape == (3, 3, 4, 4)


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="has no images"):
        load_images(str(tmp_path))
    save(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    save(tmp_path / "b.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(InputError, match=r"mixes sizes: a\.png is 4x4 and b\.png is 5x4"):
        load_images(str(tmp_path))
    (tmp_path / "b.png").write_bytes(b"\x89PNG but not really")
    with pytest.raises(InputError, match="cannot be read as an image"):
        load_images(str(tmp_path))

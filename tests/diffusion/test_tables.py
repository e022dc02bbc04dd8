"""Images in colour: Parquet files in the hub's layout, and CIFAR-10's archive and names."""

import contextlib
import hashlib
import io
import tarfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from voltaspin.core.errors import InputError
from voltaspin.diffusion import cifar10, data, hub, load_images, parquet

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'voltaspin[hub]'")
pq = pytest.importorskip("pyarrow.parquet")


def encoded(array, kind="PNG"):
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind)
    return out.getvalue()


def colours(n, side=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3)).astype(np.uint8)


def write(path, pictures, *, column="img", labels=None, kind="PNG"):
    cells = [{"bytes": None if a is None else encoded(a, kind), "path": f"{i}.png"} for i, a in enumerate(pictures)]
    cell = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = {column: pa.array(cells, cell)} | ({} if labels is None else {"label": labels})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize("column", ["img", "image"])
def test_a_file_gives_its_pictures_and_labels_in_order(tmp_path, column, monkeypatch):
    pictures, reports = colours(5), []
    file = write(tmp_path / "a.parquet", pictures, column=column, labels=[3, 1, 4, 1, 5])
    monkeypatch.setattr(parquet, "_ROWS", 2)
    found = load_images(str(file), progress=lambda *done: reports.append(done))
    assert np.array_equal(found.images, pictures.transpose(0, 3, 1, 2))
    assert found.labels.tolist() == [3, 1, 4, 1, 5]
    assert found.sha256 == hashlib.sha256(found.images.tobytes()).hexdigest()
    assert found.name == str(file)
    assert reports == [(2, 5), (4, 5), (5, 5)]


def test_a_folder_of_files_has_splits_by_their_names_and_jpeg_is_said(tmp_path):
    train, test = colours(3), colours(2, seed=1)
    write(tmp_path / "plain" / "train-00000-of-00002.parquet", train[:2], kind="JPEG")
    write(tmp_path / "plain" / "train-00001-of-00002.parquet", train[2:])
    write(tmp_path / "plain" / "test-00000-of-00001.parquet", test)
    found = load_images(str(tmp_path), split="train")
    assert (len(found), found.labels, found.name) == (3, None, f"{tmp_path} (JPEG)")
    assert np.array_equal(found.images[2], train[2].transpose(2, 0, 1))
    assert np.array_equal(load_images(str(tmp_path), split="test").images, test.transpose(0, 3, 1, 2))
    (tmp_path / "plain" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"no Parquet file of the test split, only plain/train-00000"):
        load_images(str(tmp_path), split="test")
    Image.fromarray(train[0]).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="holds pictures and Parquet files"):
        load_images(str(tmp_path))


def test_names_of_files_say_splits_only_as_words():
    assert parquet.of_split(["a.parquet", "latest.parquet"], "test", where="x") == ["a.parquet", "latest.parquet"]
    assert parquet.of_split(["test/0.parquet", "train/0.parquet"], "test", where="x") == ["test/0.parquet"]
    with pytest.raises(InputError, match="x has no Parquet file of the train split"):
        parquet.of_split(["validation.parquet"], "train", where="x")


def test_files_that_cannot_be_used(tmp_path):
    file = tmp_path / "a.parquet"

    def refused(says):
        with pytest.raises(InputError, match=says):
            load_images(str(file))

    refused("does not exist")
    write(file, colours(200, side=16))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    refused("no whole Parquet file")
    spoilt = bytearray(whole)
    spoilt[len(whole) // 4 : len(whole) // 2] = bytes(len(whole) // 2 - len(whole) // 4)
    file.write_bytes(spoilt)
    refused("is damaged|cannot be read as an image|holds no bytes")
    file.write_bytes(b"")
    refused("no whole Parquet file")
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), file)
    refused("no column img or image, only text, label")
    pq.write_table(pa.table({"img": [b"\x89PNG"]}), file)
    refused("column img is binary, not struct<bytes: binary, path: string>")
    write(file, colours(2), labels=["cat", "dog"])
    refused("column label is string, not whole numbers")
    write(file, colours(2), labels=pa.array([1, None]))
    refused("row 1 of .* has no label")
    write(file, [*colours(1), None])
    refused("row 1 of .* holds no bytes")
    write(file, [colours(1)[0], colours(1, side=4)[0]])
    refused(r"mixes sizes: row 0 of a.parquet is 8x8 and row 1 of .*a.parquet is 4x4")
    write(file, [])
    refused("has no rows")
    cell = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"img": pa.array([{"bytes": b"no picture", "path": ""}], cell)}), file)
    refused("row 0 of .*a.parquet cannot be read as an image")


def odd_tables():
    """(table, what is said of it), or None where it is read."""
    cell = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    good = pa.array([{"bytes": encoded(a), "path": ""} for a in colours(2)], cell)

    def cells(kind, values):
        return pa.array([{"bytes": v} for v in values], pa.struct([("bytes", kind)]))

    small, large = (pa.array(v, pa.uint64()) for v in ([1, 2], [1, 2**64 - 1]))
    names = pa.array(["a", "b"]).dictionary_encode()
    numbers = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array([7, 9]))
    wrong_path = pa.StructArray.from_arrays(
        [good.field("bytes"), pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 2], np.int32)),
                                                          pa.py_buffer(b"\xff\xfe"))], ["bytes", "path"]
    )  # fmt: skip
    no_struct = pa.StructArray.from_arrays(good.flatten(), ["bytes", "path"], mask=pa.array([False, True]))
    return [
        (pa.table({"img": good, "label": large}), "beyond 64 bits"),
        (pa.table({"img": good, "label": small}), None),
        (pa.table({"img": good, "label": names}), "column label is dictionary"),
        (pa.table({"img": good, "label": numbers}), None),
        (pa.table({"img": good, "label": pa.array([True, False])}), "column label is bool"),
        (pa.table({"img": good, "label": pa.array([[1], [2]])}), "column label is list"),
        (pa.table({"img": good, "label": pa.array([1.0, float("nan")])}), "column label is double"),
        (pa.table({"img": good, "label": pa.nulls(2)}), "column label is null"),
        (pa.table([good, good], ["img", "img"]), "several columns img"),
        (pa.table([good, small, small], ["img", "label", "label"]), "several columns label"),
        (pa.table({"img": wrong_path}), None),
        (pa.table({"img": no_struct}), "row 1 of .* holds no bytes"),
        (pa.table({"img": cells(pa.large_binary(), [encoded(a) for a in colours(2)])}), None),
        (pa.table({"img": cells(pa.string(), ["a", "b"])}), "column img is struct<bytes: string>"),
        (pa.table({"img": cells(pa.list_(pa.uint8()), [[1], [2]])}), "column img is struct<bytes: list"),
        (pa.table({"img": pa.array([[1, 2]])}), "column img is list"),
        (pa.table({"img": pa.nulls(2)}), "column img is null"),
        (pa.table({"Image": good}), "no column img or image, only Image"),
        (pa.table({}), "no column img or image, only nothing|has no rows"),
        (pa.table({"img": cells(pa.binary(), [b"", b""])}), "row 0 of .* holds no bytes"),
    ]


@pytest.mark.parametrize(("table", "says"), odd_tables())
def test_odd_columns_are_read_or_refused(table, says, tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(table, file)
    if says is None:
        assert np.array_equal(load_images(str(file)).images, colours(2).transpose(0, 3, 1, 2))
    else:
        with pytest.raises(InputError, match=says):
            load_images(str(file))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_tables_end_in_images_or_in_one_sentence(data, tmp_path):
    file = write(tmp_path / "a.parquet", colours(3), labels=[1, 2, 3])
    spoilt = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(spoilt)
    with contextlib.suppress(InputError):
        assert load_images(str(file)).images.dtype == np.uint8


def test_transparent_cells_need_a_background(tmp_path):
    clear = np.zeros((4, 4, 4), np.uint8)
    file = write(tmp_path / "a.parquet", [clear, clear])
    with pytest.raises(InputError, match=r"row 0 of .*a\.parquet is transparent in 100% of its pixels"):
        load_images(str(file))
    assert (load_images(str(file), background="white").images == 255).all()


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    file = write(tmp_path / "a.parquet", colours(1))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"needs pyarrow: pip install 'voltaspin\[hub\]'"):
        load_images(str(file))


@pytest.fixture
def records(monkeypatch):
    """Six parts of two images as the official archive has them of ten thousand: uint8 (6, 2, 3073)."""
    monkeypatch.setattr(cifar10, "_RECORDS", 2)
    rng = np.random.default_rng(1)
    parts = rng.integers(0, 256, (6, 2, 3073)).astype(np.uint8)
    parts[..., 0] %= 10
    return parts


def archive(path, parts, names=None):
    names = names or [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    with tarfile.open(path, "w:gz") as out:
        for name, part in zip(names, parts, strict=True):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = part.nbytes
            out.addfile(info, io.BytesIO(part.tobytes()))
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_the_official_archive_is_read_record_by_record(tmp_path, records, monkeypatch):
    md5 = archive(tmp_path / cifar10.ARCHIVE, records)
    images, labels = cifar10.read_archive(tmp_path / cifar10.ARCHIVE, "train", md5=md5)
    assert images.shape == (10, 3, 32, 32)
    assert labels.tolist() == records[:5, :, 0].ravel().tolist()
    # After the label come 1024 red bytes row by row, then 1024 green and 1024 blue ones.
    assert images[3, 1, 2, 5] == records[1, 1, 1 + 1024 + 2 * 32 + 5]
    images, _ = cifar10.read_archive(tmp_path / cifar10.ARCHIVE, "test", md5=md5)
    assert np.array_equal(images.reshape(2, 3072), records[5, :, 1:])
    monkeypatch.setattr(cifar10.read_archive, "__kwdefaults__", {"md5": md5})
    monkeypatch.setenv("VOLTASPIN_DATA", str(tmp_path))
    found = load_images("cifar10", split="test")
    assert (found.name, len(found), found.labels.tolist()) == ("cifar10", 2, records[5, :, 0].tolist())


def test_other_archives_are_refused(tmp_path, records):
    file = tmp_path / cifar10.ARCHIVE
    archive(file, records)
    with pytest.raises(InputError, match=r"MD5 \w{32} is not the official c32a1d4ab5d0"):
        cifar10.read_archive(file, "train")
    file.write_bytes(file.read_bytes()[:-3000])
    with pytest.raises(InputError, match="not the binary archive of CIFAR-10, or breaks off"):
        cifar10.read_archive(file, "test", md5=None)
    archive(file, records, [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"])  # as in the archive for Python
    with pytest.raises(InputError, match="not the binary archive"):
        cifar10.read_archive(file, "train", md5=None)
    archive(file, records[:, :1])
    with pytest.raises(InputError, match="a part is not 2 records of 3073 bytes"):
        cifar10.read_archive(file, "train", md5=None)


def test_cifar10_is_searched_as_the_others_and_its_tables_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "SYSTEM_FOLDER", tmp_path / "nowhere")
    monkeypatch.setenv("VOLTASPIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cifar10, "ADDRESS", "http://127.0.0.1:9/")
    monkeypatch.delenv("VOLTASPIN_DATA", raising=False)
    with pytest.raises(InputError, match=r"cifar10 is on none of the search paths.*VOLTASPIN_DATA.*pickle"):
        load_images("cifar10")
    with pytest.raises(InputError, match=r"has neither cifar-10-binary.tar.gz nor cifar10\*.parquet"):
        load_images("cifar10", path=tmp_path)
    write(tmp_path / "mine" / "cifar10-jpeg-train.parquet", colours(2, side=32), labels=[1, 2], kind="JPEG")
    monkeypatch.setenv("VOLTASPIN_DATA", str(tmp_path / "mine"))
    assert load_images("cifar10").name == "cifar10 of cifar10-jpeg-train.parquet (JPEG)"
    with pytest.raises(InputError, match="no Parquet file of the test split"):
        load_images("cifar10", split="test")


class Hub:
    """Stands for the hub: what it holds, and which files it was asked for."""

    def __init__(self, monkeypatch, home, kind, names=None):
        import huggingface_hub

        self.home, self.asked = home, []
        held = [str(f.relative_to(home)) for f in sorted(home.rglob("*")) if f.is_file()] if names is None else names

        def repo_info(api, name, *, repo_type, revision, timeout):
            siblings = [type("Sibling", (), {"rfilename": f})() for f in held if (revision is None) == (kind == "main")]
            return type("Info", (), {"siblings": siblings})()

        def snapshot_download(name, **options):
            self.asked.append(options)
            return str(home)

        monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", repo_info)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)


@pytest.mark.parametrize("branch", ["main", "converted"])
def test_a_data_set_of_the_hub_is_fetched_by_its_parquet_files_only(tmp_path, monkeypatch, branch):
    pictures = colours(2)
    write(tmp_path / "plain_text" / "train-00000-of-00001.parquet", pictures, labels=[0, 1])
    write(tmp_path / "plain_text" / "test-00000-of-00001.parquet", colours(1))
    (tmp_path / "loader.py").write_text("raise SystemExit")
    asked = Hub(monkeypatch, tmp_path, branch).asked
    found = load_images("somebody/pictures")
    assert np.array_equal(found.images, pictures.transpose(0, 3, 1, 2))
    assert [(a["repo_type"], a["allow_patterns"]) for a in asked] == [
        ("dataset", ["plain_text/train-00000-of-00001.parquet"])
    ]
    assert asked[0]["revision"] == (None if branch == "main" else "refs/convert/parquet")


def test_data_sets_of_the_hub_that_cannot_be_used(tmp_path, monkeypatch):
    Hub(monkeypatch, tmp_path, "main", ["a/train.parquet", "b/train.parquet"])
    with pytest.raises(InputError, match=r"several configurations \(a, b\)"):
        load_images("somebody/pictures")
    Hub(monkeypatch, tmp_path, "main", ["a.zip"])
    with pytest.raises(InputError, match="has no Parquet files"):
        load_images("somebody/pictures")
    assert not hub.is_name("a/b/c")
    assert not hub.is_name("../data")
    with pytest.raises(InputError, match="unknown: use fashion-mnist, mnist, cifar10, the path"):
        load_images("nothing")


def test_a_data_set_out_of_reach_says_so(tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        InputError, match=r"'somebody/pictures' is no path here.*out of reach \(HF_HUB_OFFLINE is set\)"
    ):
        load_images("somebody/pictures")

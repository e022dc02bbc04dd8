"""Scores in torch-fidelity's extractors: against its own results, and what is refused without it."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.core.files import sha256_of
from voltaspin.metrics import FidelityExtractor, evaluate_fidelity, fidelity
from voltaspin.metrics.distance import fd, kid

#: FID and KID need two sets of images; with 64 features a covariance needs 128 of each.
IMAGES, REAL = 150, 140


def pictures(n, seed):
    """Smooth colour pictures of 32x32: uint8 (n, 3, 32, 32)."""
    coarse = torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * (1.0 if seed == 1 else 0.6)
    fine = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")
    return (fine * 255).to(torch.uint8).numpy()


@pytest.fixture
def installed():
    return pytest.importorskip("torch_fidelity", reason="needs torch-fidelity: pip install 'voltaspin[fid]'")


@pytest.fixture
def inception(installed, tmp_path, monkeypatch):
    """Inception with random weights where torch-fidelity keeps its own; quick, as it sees 75 pixels and stops early."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    monkeypatch.setattr(module.FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", 75)

    home = tmp_path / "hub" / "checkpoints"
    home.mkdir(parents=True)
    with monkeypatch.context() as without_weights:
        without_weights.setattr(module, "load_state_dict_from_url", lambda *a, **k: {})
        without_weights.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        with torch.random.fork_rng():
            torch.manual_seed(3)
            network = module.FeatureExtractorInceptionV3("inception-v3-compat", ["64"], verbose=False)
    for layer in (network.Conv2d_1a_3x3, network.Conv2d_2a_3x3, network.Conv2d_2b_3x3):
        layer.bn.weight.mul_(3.0)  # else the features of untrained layers hardly differ from picture to picture
    weights = home / fidelity.WEIGHTS
    torch.save(network.state_dict(), weights)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(fidelity, "WEIGHTS_SHA256", sha256_of(weights))
    monkeypatch.setattr(fidelity, "EXTRACTORS", {"inception": ("inception-v3-compat", "64")})
    return weights


class Stack(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = torch.from_numpy(images)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i]


def theirs(images, real, **options):
    """torch-fidelity's own result by its public function; one subset of all images makes its KID no lottery."""
    import torch_fidelity

    return torch_fidelity.calculate_metrics(
        input1=Stack(images), input2=Stack(real), fid=True, kid=True, kid_subsets=1, kid_subset_size=len(images),
        cuda=torch.cuda.is_available(), save_cpu_ram=True, cache=False, verbose=False, **options,
    )  # fmt: skip


def kernel_tolerance(features):
    """Bound on what float32 does to a mean of kernels (x.y/d + 1)^3 of d terms, four of which make a KID."""
    d = features.shape[1]
    largest = ((features.astype(float) ** 2).sum(1).max() / d + 1) ** 3
    return 4 * 3 * (d + 3) * 2**-24 * largest


@pytest.mark.slow
def test_fid_and_kid_are_torch_fidelitys_own_with_inception_of_random_weights(inception):
    images, real = pictures(REAL, 1), pictures(REAL, 2)
    ours = evaluate_fidelity(images, real, reference="pictures", noise="none")
    known = theirs(
        images, real, feature_extractor="inception-v3-compat", feature_extractor_weights_path=str(inception),
        feature_layer_fid="64", feature_layer_kid="64",
    )  # fmt: skip
    assert (ours.images.fd.name, ours.images.fd.n) == ("FID", REAL)
    assert ours.images.fd.extractor_sha256 == sha256_of(inception)
    # The same features and the same formula; they take means in float32, we in float64.
    assert ours.images.fd.value == pytest.approx(known["frechet_inception_distance"], rel=1e-3)
    assert ours.images.fd.low < ours.images.fd.value < ours.images.fd.high
    x, y = (FidelityExtractor.load("inception").features(stack) for stack in (images, real))
    assert x.shape == (REAL, 64)
    tolerance = kernel_tolerance(np.concatenate([x, y]))
    assert ours.images.kid.value == pytest.approx(known["kernel_inception_distance_mean"], abs=tolerance)
    assert known["kernel_inception_distance_mean"] > 100 * tolerance  # so that the comparison says something
    # And our own Frechet distance, whose interval theirs is given: they take means in float32.
    assert fd(x, y).value == pytest.approx(known["frechet_inception_distance"], rel=1e-3)


@pytest.fixture
def custom(installed, monkeypatch):
    """An extractor of sixteen features that is registered with torch-fidelity, under the name dinov2."""
    from torch_fidelity import FeatureExtractorBase, registry

    class Tiny(FeatureExtractorBase):
        def __init__(self, name, features_list, **options):
            super().__init__(name, features_list)
            with torch.random.fork_rng():
                torch.manual_seed(4)
                self.net = torch.nn.Conv2d(3, 16, 5, 3)

        def forward(self, x):
            assert x.dtype == torch.uint8
            return (self.net(x.float() / 255).relu().mean((2, 3)),)

        @staticmethod
        def get_provided_features_list():
            return ("sixteen",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "sixteen"

        @staticmethod
        def can_be_compiled():
            return False

    monkeypatch.setitem(registry.FEATURE_EXTRACTORS_REGISTRY, "tiny", Tiny)
    monkeypatch.setattr(fidelity, "EXTRACTORS", {"dinov2": ("tiny", "sixteen")})
    return "tiny"


def test_another_extractors_distance_is_an_fd_and_equal_to_torch_fidelitys(custom):
    images, real = pictures(IMAGES, 1), pictures(IMAGES, 2)
    reports = []
    ours = evaluate_fidelity(
        images, real, reference="pictures", extractor="dinov2", progress=lambda *done: reports.append(done)
    )
    known = theirs(images, real, feature_extractor=custom)
    assert ours.images.fd.name == "FD"
    assert "FID" not in str(ours)
    assert ours.images.fd.value == pytest.approx(known["frechet_inception_distance"], rel=1e-3)
    x, y = (FidelityExtractor.load("dinov2").features(stack) for stack in (images, real))
    tolerance = kernel_tolerance(np.concatenate([x, y]))
    assert ours.images.kid.value == pytest.approx(known["kernel_inception_distance_mean"], abs=tolerance)
    assert ours.images.kid.value == kid(x, y).value
    assert reports[-1] == (2 * IMAGES, 2 * IMAGES)
    # A half of the reference against the other is no distance: 3.5 standard errors.
    assert abs(ours.floor.kid.value) < 3.5 * ours.floor.kid.std


def test_grey_images_are_three_equal_channels_and_few_images_have_no_fd(custom):
    grey = pictures(20, 1)[:, :1]
    extractor = FidelityExtractor.load("dinov2")
    assert np.array_equal(extractor.features(grey), extractor.features(np.repeat(grey, 3, axis=1)))
    scored = evaluate_fidelity(grey, pictures(40, 2)[..., :16, :16], reference="pictures", extractor=extractor)
    assert scored.images.fd is None
    assert "No FD: 20 images" in scored.images.reason
    assert "reference is 16x16 pixels, the images 32x32" in str(scored)
    assert scored.to_json()["reference_size"] == "16x16"
    with pytest.raises(InputError, match="3 images against 40"):
        evaluate_fidelity(grey[:3], grey.repeat(2, axis=0), reference="pictures", extractor=extractor)
    with pytest.raises(InputError, match="4 channels"):
        extractor.features(np.zeros((2, 4, 8, 8), np.uint8))


def folder_of(home, images):
    home.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(home / f"image-{i:03d}.png")
    Image.fromarray(np.zeros((90, 60, 3), np.uint8)).save(home / "grid.png")
    return home


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return caught.value.code, out, err


def test_the_command_line_scores_a_folder_in_colour(custom, tmp_path, capsys):
    images, real = folder_of(tmp_path / "images", pictures(40, 1)), folder_of(tmp_path / "real", pictures(40, 2))
    (real / "grid.png").unlink()
    status, out, err = run(capsys, "evaluate", images, "--extractor", "dinov2", "--reference-images", real)
    assert (status, err) == (0, "")
    for words in ("KID x1e3", "FD", "Against 40 images of", "tiny of torch-fidelity", "resizes 32x32"):
        assert words in out


def test_weights_out_of_reach_and_other_weights_are_refused(installed, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("VOLTASPIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fidelity, "WEIGHTS_ADDRESS", "http://127.0.0.1:9/")
    says = r"weights of Inception are not in the cache.*cannot be fetched \(\w+\).*SHA-256 6726825d"
    with pytest.raises(InputError, match=says):
        FidelityExtractor.load("inception")
    home = tmp_path / "hub" / "checkpoints"
    home.mkdir(parents=True)
    (home / fidelity.WEIGHTS).write_bytes(b"other weights, which would be unpickled")
    with pytest.raises(InputError, match=says):
        FidelityExtractor.load("inception")


def test_without_torch_fidelity_the_extra_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    images = folder_of(tmp_path / "images", pictures(4, 1))
    status, out, err = run(capsys, "evaluate", images, "--extractor", "inception", "--reference-images", images)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "pip install 'voltaspin[fid]'" in err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--extractor", "vgg", "--reference-images", "."],
            "extractor 'vgg' is unknown; use shipped, cifar10, inception or",
        ),
        (["--extractor", "inception"], "needs real images to compare with; give --reference-images"),
        (["--reference-images", "."], "is for --extractor cifar10, inception or dinov2"),
        (["--extractor", "dinov2", "--reference-images", ".", "--reference-split", "all"], "use test or train"),
        (["--reference-split", "train"], "is of a named data set, and no --reference-images are given; leave it out"),
        (
            ["--extractor", "dinov2", "--reference-images", ".", "--reference-split", "train"],
            "--reference-split train is of a named data set, and . is read entirely; leave it out",
        ),
        (["--against", ".", "--seed", "1"], "--seed 1: chance has a part in"),
        (["--extractor", "inception", "--reference-images", ".", "--seed", "1"], "--seed 1: chance has a part in"),
        (["--reference", "real.safetensors", "--seed", "0"], "--seed 0: chance has a part in"),
        ([], "is in colour, the shipped extractor takes grey images; score them by --extractor inception"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, capsys, options, says):
    status, out, err = run(capsys, "evaluate", folder_of(tmp_path / "images", pictures(4, 1)), *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert says in err

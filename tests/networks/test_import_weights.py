from __future__ import annotations

import hashlib

import network_files
import numpy as np
import pytest
import torch
from network_files import WRITERS
from safetensors import safe_open
from safetensors.torch import save_file

from benchmarks.normalised import normalised_on, other_image
from stimgen.errors import InputError
from stimgen.networks import import_weights as module
from stimgen.networks.architectures import CONVENTIONS, NETWORKS
from stimgen.networks.extractor import LEAST_SHARE, build_extractor, share_near_one
from stimgen.networks.import_weights import import_weights
from stimgen.networks.weights import WeightsError, find_weights, list_weights


def test_imported_weights_are_found_by_name(net, convolutions, cache):
    net = net.rename(net.with_name("my-net.pth"))
    assert import_weights(net, "tiny", convention="torchvision").name == "my_net"
    found = find_weights("tiny", "my_net")
    assert found.tensors_sha256 == convolutions.sha256
    assert found.convention == CONVENTIONS["torchvision"]
    assert found.file_sha256 == hashlib.sha256(net.read_bytes()).hexdigest()
    assert [path.name for path in cache.iterdir()] == ["tiny-my_net.safetensors"]
    with pytest.raises(InputError, match='Did you mean "my_net"'):
        find_weights("tiny", "my_nut")


def test_bgr_weights_are_put_into_rgb_order(tmp_path, tiny, convolutions):
    network_files.write_pth(tmp_path / "bgr.pth", convolutions.with_input_reversed())
    weights = import_weights(tmp_path / "bgr.pth", "tiny", convention="caffe-bgr")
    assert weights.tensors_sha256 == convolutions.sha256
    assert find_weights("tiny", "bgr").tensors_sha256 == convolutions.sha256
    assert weights.convention.mean == (123.68, 116.779, 103.939)


@pytest.mark.parametrize("turned", [False, True])
def test_published_tensors_are_recognised_in_either_channel_order(turned, publish, convolutions, tmp_path):
    publish(tensors_sha256=convolutions.sha256)
    name, write = WRITERS["keras 2 weights"]
    write(tmp_path / name, convolutions.with_input_reversed() if turned else convolutions)
    weights = import_weights(tmp_path / name, "tiny")
    assert (weights.name, weights.tensors_sha256) == ("imagenet", convolutions.sha256)
    assert weights.convention.name == "caffe-rgb"
    right, wrong = ("caffe-bgr", "caffe-rgb") if turned else ("caffe-rgb", "caffe-bgr")
    assert import_weights(tmp_path / name, "tiny", convention=right).tensors_sha256 == convolutions.sha256
    with pytest.raises(WeightsError, match=f"convention is {right}, not {wrong}"):
        import_weights(tmp_path / name, "tiny", convention=wrong)


def test_published_file_is_recognised_by_its_sha256(publish, tmp_path):
    publish()
    weights = import_weights(tmp_path / "published.pth", "tiny")
    assert (weights.name, weights.convention.name) == ("imagenet", "caffe-rgb")
    assert find_weights("tiny", str(tmp_path / "published.pth")).name == "imagenet"


def test_unrecognised_file_needs_its_convention(net, convolutions):
    for read in (lambda: import_weights(net, "tiny"), lambda: find_weights("tiny", str(net))):
        with pytest.raises(WeightsError, match=r"net\.pth is not recognised(.|\n)*--input C, with C one of"):
            read()
    with pytest.raises(InputError, match='convention "caffe"'):
        import_weights(net, "tiny", convention="caffe")
    # The names of the Caffe networks, as Gatys and colleagues have them.
    tensors = {}
    for step, kernel, bias in zip(
        NETWORKS["tiny"]().convolutions, convolutions.kernels, convolutions.biases, strict=True
    ):
        tensors[f"{step.name}.weight"], tensors[f"{step.name}.bias"] = map(torch.from_numpy, (kernel, bias))
    torch.save(tensors, net)
    with pytest.raises(WeightsError, match=r"not recognised(.|\n)*vgg_conv\.pth of Gatys.*C is caffe-bgr"):
        import_weights(net, "tiny")


def test_a_name_never_changes_its_meaning(publish, tmp_path, convolutions):
    publish(tensors_sha256="f" * 64, sha256="00000000")
    path = tmp_path / "published.pth"
    with pytest.raises(WeightsError, match=r"that name is published, and the file is not recognised"):
        import_weights(path, "tiny", name="imagenet", convention="torchvision")
    import_weights(path, "tiny", name="mine", convention="torchvision")
    import_weights(path, "tiny", name="mine", convention="torchvision")
    with pytest.raises(WeightsError, match='Other weights are already in the cache as "mine"'):
        import_weights(path, "tiny", name="mine", convention="caffe-rgb")
    network_files.write_pth(path, convolutions.with_input_reversed())
    with pytest.raises(WeightsError, match='Other weights are already in the cache as "mine"'):
        import_weights(path, "tiny", name="mine", convention="torchvision")
    with pytest.raises(InputError, match="cannot name weights"):
        import_weights(path, "tiny", name="../mine", convention="torchvision")
    path = path.rename(tmp_path / "random.pth")
    for name in ("random:1", None):
        with pytest.raises(InputError, match="never trained"):
            import_weights(path, "tiny", name=name, convention="torchvision")


def test_file_of_another_network_is_refused(net, cache):
    with pytest.raises(WeightsError, match=r"conv1_1 needs a kernel of shape \(64, 3, 3, 3\).*features\.0"):
        import_weights(net, "vgg16", convention="torchvision")
    assert not cache.exists()


@pytest.mark.slow
def test_normalised_filters_of_vgg16_are_recognised(oxford):
    assert share_near_one(normalised_on(oxford, [other_image("motorcycle_right.png")])) > 0.65 > LEAST_SHARE
    assert share_near_one(oxford) < 0.1


def test_random_networks_do_not_count_as_normalised():
    assert 0.3 < share_near_one(find_weights("alexnet", "random:3")) < 0.5 < LEAST_SHARE


def test_normalised_weights_are_used_exactly_as_they_are(net, convolutions, cache, monkeypatch):
    monkeypatch.setattr(module, "share_near_one", lambda weights: 0.56)
    assert import_weights(net, "tiny", convention="torchvision").normalised
    file = cache / "tiny-net.safetensors"
    for found in (find_weights("tiny", "net"), find_weights("tiny", str(file))):
        assert found.normalised
        for normalise in (True, False):
            extractor = build_extractor(found, normalise=normalise)
            for kernel, expected in zip(extractor.kernels, convolutions.kernels, strict=True):
                np.testing.assert_array_equal(kernel, expected)
    rows = {(row.network, row.name): row.normalised for row in list_weights()}
    assert rows["tiny", "net"]
    assert not rows["vgg16", "imagenet"]
    # Cache files of earlier versions do not say whether their filters are normalised.
    with safe_open(file, framework="pt") as stored:
        metadata = dict(stored.metadata())
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    assert metadata.pop("normalised") == "yes"
    save_file(tensors, file, metadata=metadata)
    assert not find_weights("tiny", "net").normalised
    save_file(tensors, file, metadata=metadata | {"normalised": "perhaps"})
    with pytest.raises(WeightsError, match="header"):
        find_weights("tiny", "net")

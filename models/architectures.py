"""Defines the three networks: a residual one, a depthwise-separable one, a narrow dense one."""

from torch import nn

from models.network import CLASSIFIER, INPUT, Add, Network

CLASSES = 10


def convolution(
    channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A convolution that keeps the image's size at stride 1; the norm behind it has the bias."""
    return nn.Conv2d(
        channels_in,
        channels_out,
        kernel,
        stride=stride,
        padding=kernel // 2,
        groups=groups,
        bias=False,
    )


def digits_resnet() -> Network:
    """A residual network in the shape of ResNet-8, for one image at a time."""
    network = Network("digits_resnet", (1, 8, 8), output="logits", batch=1)
    value = network.add("stem.conv", convolution(1, 16, kernel=3), INPUT)
    value = network.add("stem.norm", nn.BatchNorm2d(16), value)
    value = network.add("stem.relu", nn.ReLU(), value)
    value = add_residual_block(network, "block1", value, 16, 16)
    value = add_residual_block(network, "block2", value, 16, 32, stride=2)
    # Three quarters of a second 3x3 kernel would lie on the padding of block3's 2x2 images.
    value = add_residual_block(network, "block3", value, 32, 64, stride=2, second_kernel=1)
    value = network.add("pool", nn.AdaptiveAvgPool2d(1), value)
    value = network.add("flatten", nn.Flatten(), value)
    network.add(CLASSIFIER, nn.Linear(64, CLASSES), value)
    return network


def add_residual_block(
    network: Network,
    block: str,
    value: str,
    channels_in: int,
    channels_out: int,
    stride: int = 1,
    second_kernel: int = 3,
) -> str:
    """Two convolutions and a way around them, which is a 1x1 convolution if the shape changes."""
    first = convolution(channels_in, channels_out, kernel=3, stride=stride)
    second = convolution(channels_out, channels_out, kernel=second_kernel)
    shortcut = value
    inner = network.add(f"{block}.conv1", first, value)
    inner = network.add(f"{block}.norm1", nn.BatchNorm2d(channels_out), inner)
    inner = network.add(f"{block}.relu1", nn.ReLU(), inner)
    inner = network.add(f"{block}.conv2", second, inner)
    inner = network.add(f"{block}.norm2", nn.BatchNorm2d(channels_out), inner)
    if channels_in != channels_out or stride != 1:
        across = convolution(channels_in, channels_out, kernel=1, stride=stride)
        shortcut = network.add(f"{block}.shortcut.conv", across, shortcut)
        shortcut = network.add(f"{block}.shortcut.norm", nn.BatchNorm2d(channels_out), shortcut)
    total = network.add(f"{block}.add", Add(), inner, shortcut)
    return network.add(f"{block}.relu2", nn.ReLU(), total)


def digits_dscnn() -> Network:
    """A depthwise-separable network in the shape of MobileNet, for any number of images."""
    network = Network("digits_dscnn", (1, 8, 8), output="probabilities", batch=None)
    value = network.add("stem.conv", convolution(1, 16, kernel=3), INPUT)
    value = network.add("stem.norm", nn.BatchNorm2d(16), value)
    value = network.add("stem.relu6", nn.ReLU6(), value)
    value = add_separable_block(network, "block1", value, 16, 32)
    value = add_separable_block(network, "block2", value, 32, 64, stride=2)
    value = add_separable_block(network, "block3", value, 64, 64)
    value = add_separable_block(network, "block4", value, 64, 64)
    value = network.add("pool", nn.AvgPool2d(4), value)
    value = network.add("flatten", nn.Flatten(), value)
    value = network.add(CLASSIFIER, nn.Linear(64, CLASSES), value)
    network.add("softmax", nn.Softmax(dim=1), value)
    return network


def add_separable_block(
    network: Network, block: str, value: str, channels_in: int, channels_out: int, stride: int = 1
) -> str:
    """A 3x3 convolution within each channel, then a 1x1 convolution across the channels."""
    depthwise = convolution(channels_in, channels_in, kernel=3, stride=stride, groups=channels_in)
    value = network.add(f"{block}.depthwise.conv", depthwise, value)
    value = network.add(f"{block}.depthwise.norm", nn.BatchNorm2d(channels_in), value)
    value = network.add(f"{block}.depthwise.relu6", nn.ReLU6(), value)
    pointwise = convolution(channels_in, channels_out, kernel=1)
    value = network.add(f"{block}.pointwise.conv", pointwise, value)
    value = network.add(f"{block}.pointwise.norm", nn.BatchNorm2d(channels_out), value)
    return network.add(f"{block}.pointwise.relu6", nn.ReLU6(), value)


def dim20() -> Network:
    """A dense network with hidden layers 20 wide: they leave most of a second 16x16 tile empty."""
    network = Network("dim20", (64,), output="logits", batch=None)
    value = INPUT
    width_in = 64
    for hidden in ("hidden1", "hidden2", "hidden3"):
        value = network.add(f"{hidden}.dense", nn.Linear(width_in, 20), value)
        value = network.add(f"{hidden}.relu", nn.ReLU(), value)
        width_in = 20
    network.add(CLASSIFIER, nn.Linear(width_in, CLASSES), value)
    return network

"""Small classifiers for 28 to 32 pixels, by name: `resnet18-w16` is a ResNet-18 whose first stage has 16 channels.

The parameters of the ResNets and VGGs are named and computed as in the code most CIFAR-10 papers start from
(https://github.com/kuangliu/pytorch-cifar), so that a bare state dict of theirs is recognised too.
"""

from modelscan_bd.nets.catalogue import FAMILIES as FAMILIES
from modelscan_bd.nets.catalogue import build as build
from modelscan_bd.nets.catalogue import names as names
from modelscan_bd.nets.family import Family as Family
from modelscan_bd.nets.family import Plan as Plan

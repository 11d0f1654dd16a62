"""Readers for official data sets, in the layout that their authors publish.

A reader looks in `folder`, else the environment variable BOOK_DATA, else ./data, and
returns CPU tensors; errors say what to do. A new set is an entry of sets.toml and a
reader in the module of its kind, made of the parts in `base`.
"""

from .base import (SETS, TABLE, VARIABLE, DataCorrupt, DataNotFound, Folder, Source,
                   download, listing, pairs, pixels, read, root)
from .boxes import BCCD_CLASSES, BoxedImage, WordImage, bccd, icdar2015, voc_boxes
from .edges import EdgeImage, bsds500, consensus
from .instances import Instances, coco, pennfudan
from .labels import BATCHES, LabelledImages, cifar10
from .masks import (CAMVID_CLASSES, LOVEDA_CLASSES, PET_CLASSES, LabelledScene, Sections,
                    camvid, isbi2012, loveda, oxford_pets)
from .mattes import MattedImage, lemur
from .video import Sequence, davis2016
from .volumes import brats2020

"""What the chapters measure, and exactly how.

Rooms: boundary (the benchmark of the edge papers), masks (labels, films, salient
objects), boxes (detections and proposals), mattes, cost (of a network). All their names
are here too: ``metrics.iou`` is ``metrics.masks.iou``. ``torchmetrics`` and
``pycocotools`` compute whatever they have.
"""

from .boundary import (THRESHOLDS, BoundaryCurve, boundary_counts, boundary_pr,
                       suppress_non_maxima)
from .boxes import IOUS, Detection, Recall, average_precision, average_recall
from .cost import latency, multiply_adds, parameters
from .masks import (LEVELS, SaliencyCurve, accuracy, contour_f, dice, iou, mae, mean_iou,
                    near_border, region_j, saliency_f)
from .mattes import matting_errors

"""Known boxes written as YOLO models without their last layer give them: the inverted formula."""

from __future__ import annotations

import numpy as np

SIZE = 416
YOLOV3_ANCHORS = {
    8: [(10, 13), (16, 30), (33, 23)],
    16: [(30, 61), (62, 45), (59, 119)],
    32: [(116, 90), (156, 198), (373, 326)],
}
YOLOV7_ANCHORS = {
    8: [(12, 16), (19, 36), (40, 28)],
    16: [(36, 75), (76, 55), (72, 146)],
    32: [(142, 110), (192, 243), (459, 401)],
}


def yolo_heads(anchors, formula="yolov5"):
    """Return an encoder that inverts the formula of the boxes: one tensor per stride."""

    def encode(boxes, ids, scores):
        heads = {s: np.full((1, 3, SIZE // s, SIZE // s, 8), -12, np.float32) for s in (8, 16, 32)}
        taken = set()
        for box, class_id, score in zip(boxes, ids, scores, strict=True):
            size, center = box[2:] - box[:2], (box[:2] + box[2:]) / 2
            stride, which = next(
                (s, a)
                for s in (8, 16, 32)
                for a in range(3)
                if (s, a) not in taken and (size < 3.9 * np.array(anchors[s][a])).all()
            )
            taken.add((stride, which))
            column, row = (center // stride).astype(int)
            inside = np.clip(center / stride - (column, row), 1e-4, 1 - 1e-4)
            ratio = size / anchors[stride][which]
            values = heads[stride][0, which, row, column]
            if formula == "yolov5":
                values[:2] = logit((inside + 0.5) / 2)
                values[2:4] = logit(np.sqrt(ratio) / 2)
            else:
                values[:2], values[2:4] = logit(inside), np.log(ratio)
            values[4] = 15
            values[5 + class_id] = logit(score)
        return {f"head_{s}": heads[s] for s in (32, 8, 16)}

    return encode


def yolo_heads_packed(boxes, ids, scores):
    """Return [1, 3 * (5 + C), h, w], the output of the last convolution."""
    heads = yolo_heads(YOLOV3_ANCHORS)(boxes, ids, scores)
    return {
        name: head[0].transpose(0, 3, 1, 2).reshape(1, -1, *head.shape[2:4])
        for name, head in heads.items()
    }


def yolo_heads_nhwc(boxes, ids, scores):
    heads = yolo_heads(YOLOV3_ANCHORS)(boxes, ids, scores)
    return {
        name: np.ascontiguousarray(head.transpose(0, 2, 3, 1, 4)) for name, head in heads.items()
    }


def yolo_heads_activated(boxes, ids, scores):
    heads = yolo_heads(YOLOV3_ANCHORS)(boxes, ids, scores)
    return {name: (1 / (1 + np.exp(-head))).astype(np.float32) for name, head in heads.items()}


def logit(chance):
    return np.log(chance) - np.log1p(-chance)

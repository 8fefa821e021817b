"""Outputs of detectors value by value: names, shapes and types as their exporters write them."""

from __future__ import annotations

import numpy as np

from edge_inference.core.decoders import DecodeContext, find
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.settings import build

LABELS = ("person", "bicycle", "car")
# A source of 640 x 480 in an input of 320 x 320: half the size, 40 pixels below the top.
GEOMETRY = Geometry(640, 480, 0.5, 0.5, 0.0, 40.0)
# One car from (40, 80) to (200, 240) in the source: (20, 80) to (100, 160) in the input.
CAR = [20.0, 80.0, 100.0, 160.0]
CAR_IN_SOURCE = [[40.0, 80.0, 200.0, 240.0]]
f32, i32, i64 = np.float32, np.int32, np.int64


def decode(name, outputs, labels=LABELS, **settings):
    entry = find(name)
    context = DecodeContext(labels, GEOMETRY, 320, 320, "made-up")
    return entry.function(outputs, context, build(entry.settings_class, settings))


def scaled(box):
    return [value / 320 for value in box]


# The values of one car with score 0.8, class 2 if classes count from 0, 3 if from 1.
LAYOUTS = {
    "EfficientDet, automl": (
        "efficientdet",
        {"detections:0": np.array([[[0, 80, 20, 160, 100, 0.8, 3], [0] * 5 + [0, 1]]], f32)},
    ),
    "EfficientDet, effdet": (
        "effdet",
        {"output": np.array([[[20, 80, 100, 160, 0.8, 3], [0] * 6]], f32)},
    ),
    "YOLOv7 end2end": (
        "yolov7_end_to_end",
        {"output": np.array([[0, 20, 80, 100, 160, 2, 0.8]], f32)},
    ),
    "YOLOv7 end2end of a batch": (
        "yolov7_end_to_end",
        {"output": np.array([[1, 5, 5, 99, 99, 0, 0.9], [0, 20, 80, 100, 160, 2, 0.8]], f32)},
    ),
    "YOLO-NAS flat": (
        "yolo_nas_flat",
        {"graph2": np.array([[0, 20, 80, 100, 160, 0.8, 2]], f32)},
    ),
    "PaddleDetection": (
        "paddle_detection",
        {
            "multiclass_nms3_0.tmp_0": np.array([[2, 0.8, *CAR], [1, 0.9, *CAR]], f32),
            "multiclass_nms3_0.tmp_2": np.array([1], i32),
        },
    ),
    "RTMDet, mmdeploy": (
        "rtmdet",
        {"dets": np.array([[[*CAR, 0.8]]], f32), "labels": np.array([[2]], i64)},
    ),
    "Faster R-CNN, mmdeploy with masks": (
        "rtmdet",
        {
            "dets": np.array([[[*CAR, 0.8], [0] * 5]], f32),
            "labels": np.array([[2, -1]], i64),
            "masks": np.zeros((1, 2, 28, 28), f32),
        },
    ),
    "Caffe DetectionOutput": (
        "detection_output",
        {"detection_out": np.array([[[[0, 3, 0.8, *scaled(CAR)], [-1] + [0] * 6]]], f32)},
    ),
    "YOLOv6 end2end": (
        "efficient_nms",
        {
            "num_dets": np.array([[1]], i32),
            "det_boxes": np.array([[CAR, [7, 7, 9, 9]]], f32),
            "det_scores": np.array([[0.8, 0.7]], f32),
            "det_classes": np.array([[2, 0]], i32),
        },
    ),
    "EfficientNMS_TRT": (
        "efficient_nms",
        {
            "num_detections": np.array([[1]], i32),
            "detection_boxes": np.array([[CAR, [0] * 4]], f32),
            "detection_scores": np.array([[0.8, -1]], f32),
            "detection_classes": np.array([[2, -1]], i32),
        },
    ),
    "EfficientNMS of four boxes without names": (
        "efficient_nms",
        {
            "10": np.array([[1]], i32),
            "11": np.array([[CAR, [7, 7, 9, 9], [7, 7, 9, 9], [7, 7, 9, 9]]], f32),
            "12": np.array([[0.8, 0.7, 0.7, 0.7]], f32),
            "13": np.array([[2, 0, 0, 0]], i32),
        },
    ),
    "GluonCV": (
        "detection_lists",
        {
            "ids": np.array([[[2], [-1]]], f32),
            "scores": np.array([[[0.8], [-1]]], f32),
            "bboxes": np.array([[CAR, [-1] * 4]], f32),
        },
    ),
    "RT-DETR, deployed": (
        "detection_lists",
        {
            "labels": np.array([[2, 1]], i64),
            "boxes": np.array([[CAR, CAR]], f32),
            "scores": np.array([[0.8, 0.01]], f32),
        },
    ),
    "torchvision": (
        "torchvision",
        {
            "2838": np.array([CAR], f32),
            "2839": np.array([3], i64),
            "2840": np.array([0.8], f32),
        },
    ),
    "torchvision, four boxes": (
        "torchvision",
        {
            "boxes": np.array([CAR, CAR, CAR, CAR], f32),
            "labels": np.array([3, 1, 1, 1], i64),
            "scores": np.array([0.8, 0.1, 0.1, 0.1], f32),
        },
    ),
    "TFLite": (
        "tflite_detection",
        {
            "TFLite_Detection_PostProcess": np.array([[[0.25, 0.0625, 0.5, 0.3125], [0] * 4]], f32),
            "TFLite_Detection_PostProcess:1": np.array([[2, 0]], f32),
            "TFLite_Detection_PostProcess:2": np.array([[0.8, 0]], f32),
            "TFLite_Detection_PostProcess:3": np.array([1], f32),
        },
    ),
    "TensorFlow Object Detection 2": (
        "ssd",
        {
            "detection_anchor_indices": np.array([[7, 9]], f32),
            "detection_boxes": np.array([[[0.25, 0.0625, 0.5, 0.3125], [0] * 4]], f32),
            "detection_classes": np.array([[3, 1]], f32),
            "detection_multiclass_scores": np.zeros((1, 2, 4), f32),
            "detection_scores": np.array([[0.8, 0]], f32),
            "num_detections": np.array([2], f32),
            "raw_detection_boxes": np.zeros((1, 40, 4), f32),
            "raw_detection_scores": np.zeros((1, 40, 4), f32),
        },
    ),
    "YOLOv4": (
        "yolov4",
        {
            "boxes": np.array([[[scaled(CAR)], [[0] * 4]]], f32),
            "confs": np.array([[[0, 0.1, 0.8], [0, 0, 0]]], f32),
        },
    ),
    "YOLO-NAS": (
        "yolo_nas",
        {
            "904": np.array([[CAR, [0] * 4]], f32),
            "913": np.array([[[0, 0.1, 0.8], [0, 0, 0]]], f32),
        },
    ),
    "YOLOv10, YOLO26": (
        "yolo26",
        {"output0": np.array([[[*CAR, 0.8, 2], *[[0] * 6] * 299]], f32)},
    ),
    "YOLOv6 without end2end": (
        "yolov6",
        {"outputs": np.array([[[60, 120, 80, 80, 1, 0, 0.1, 0.8], [0] * 8]], f32)},
    ),
    "RT-DETR, ultralytics": (
        "yolov8",
        {"output0": np.array([[[60 / 320, 120 / 320, 0.25, 0.25, 0, 0, 0.8], [0] * 7] * 5], f32)},
        {"normalized": True},
    ),
    "xywh of corner and size": (
        "yolo_nas",
        {"boxes": np.array([[[20, 80, 80, 80]]], f32), "scores": np.array([[[0, 0, 0.8]]], f32)},
        {"box_order": "xywh"},
    ),
}

"""The command node as a process: a moving robot stops when the process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import rclpy
from edge_inference.msg import ActionPlan, ActionStep
from geometry_msgs.msg import Twist
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from launch_double import ROOT

RUN = "import sys\nfrom edge_inference.cli.main import main\nsys.exit(main('command', []))"
DEADLINE_S = 600.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_the_last_velocity_is_zero(number: signal.Signals) -> None:
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("base", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    received: list[float] = []
    node.create_subscription(Twist, "/cmd_vel", lambda twist: received.append(twist.linear.x), 5)
    plans = node.create_publisher(ActionPlan, "/ai/action_plan", 5)
    spinning = threading.Thread(target=executor.spin, daemon=True)
    spinning.start()
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen([sys.executable, "-c", RUN], env={**os.environ, "PYTHONPATH": path})
    try:
        until(lambda: plans.get_subscription_count() and node.count_publishers("/cmd_vel"))
        step = ActionStep(action="move", distance_m=5.0, speed_mps=0.3)
        step.angle_rad = step.rate_radps = float("nan")
        plan = ActionPlan(intent="move", steps=[step])
        plan.header.stamp = node.get_clock().now().to_msg()
        plans.publish(plan)
        until(lambda: received and received[-1] > 0.1)
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == 0
        until(lambda: received[-1] == 0.0)
    finally:
        process.kill()
        process.wait()
        executor.shutdown()
        spinning.join()
        context.try_shutdown()


def until(predicate) -> None:
    """Wait until a condition is true; fail at the deadline."""
    end = time.monotonic() + DEADLINE_S
    while not predicate():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)

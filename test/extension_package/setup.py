"""Add the files that ROS finds a package by to the installation that setup.cfg describes."""

from setuptools import setup

setup(
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/my_robot"]),
        ("share/my_robot", ["package.xml"]),
    ]
)

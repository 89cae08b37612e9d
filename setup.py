"""The one part that is compiled: reading plain lines (`pipelines/_lines.c`)."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "pipelines._lines", ["pipelines/_lines.c"], extra_compile_args=["-O3", "-std=c11", "-Wall", "-Wextra", "-Werror"]
        )
    ]
)

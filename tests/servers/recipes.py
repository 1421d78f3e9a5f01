"""How to get each server, without root and without changing the system.

A recipe is a function that fills a folder; `install` then gives the folder its name. The recipes name no download
location: apt-get, go and mvn use their own configuration.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from http.client import HTTPException
from pathlib import Path
from xml.sax.saxutils import escape

from tests.servers.cache import SERVERS, cache_folder

__all__ = ["RECIPES", "RecipeFailedError", "clean_up", "has_archive", "make_archive"]

LONGEST = 1200
"""The maximum seconds for a command: the slowest, the build of Prometheus 3, downloads a gigabyte and took 532 s on two
busy cores."""

LONGEST_BUILD = 3000
"""Maximum seconds for a build of the current InfluxDB: 13 minutes on two idle cores, mostly for its Rust library."""


class RecipeFailedError(Exception):
    """A server cannot be installed; the message gives the reason in one line."""


def _run(
    *command: str | Path,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    longest: float = LONGEST,
) -> str:
    """Run a command at low priority and return its output; if it fails, its last line of output is the reason."""
    program = str(command[0])
    if shutil.which(program) is None:
        raise RecipeFailedError(f"{program} is not installed")
    try:
        result = subprocess.run(
            ["nice", *command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=longest,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RecipeFailedError(f"{program} took more than {longest:g} s") from None
    if result.returncode != 0:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)  # Maven always colours its errors
        lines = [line.strip() for line in plain.splitlines() if line.strip()]
        # The first line that mentions an error usually gives the cause; the last line is often advice.
        errors = [line for line in lines if re.search(r"(?i)^(e:|\[?error\]?:?) *\w", line)]
        reason = (errors[:1] or lines[-1:] or ["it printed nothing"])[0]
        raise RecipeFailedError(f"{program} failed with status {result.returncode}: {reason[:300]}")
    return result.stdout


# ------------------------------------------------------------------------------------------ packages of the system


def _apt_get(*arguments: str, folder: Path) -> str:
    """Run apt-get with lists and a cache of its own, which an ordinary user may write to."""
    private = cache_folder() / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (private / name).mkdir(parents=True, exist_ok=True)
    return _run(
        "apt-get",
        "-q",
        f"-oDir::State::Lists={private}/lists",
        f"-oDir::Cache={private}/cache",
        "-oAPT::Sandbox::User=root",  # otherwise apt-get run by root would switch to a user who cannot write here
        "-oAcquire::Retries=1",
        "-oAcquire::http::Timeout=20",  # seconds
        *arguments,
        folder=folder,
    )


@cache
def _update_lists() -> None:
    """Fetch the lists of packages, once."""
    _apt_get("update", folder=cache_folder())


def _package(name: str, *programs: str) -> Callable[[Path], str]:
    """Return the recipe that unpacks programs from a Debian package: they are static and run anywhere."""

    def recipe(folder: Path) -> str:
        if shutil.which("dpkg") is None:
            raise RecipeFailedError("dpkg is not installed: this one comes from a package of Debian")
        _update_lists()
        _apt_get("download", name, folder=folder)
        (archive,) = folder.glob("*.deb")
        unpacked = folder.with_name("unpacked")
        _run("dpkg", "-x", archive, unpacked)
        for program in programs:
            (unpacked / "usr" / "bin" / program).rename(folder / program)
        archive.unlink()
        return archive.name.split("_")[1]

    return recipe


# ------------------------------------------------------------------------------------------------------ Go programs


_NO_SYMBOLS = "-ldflags=-s -w"
"""Makes a program a third smaller."""


def _go(server: str, program: str, *flags: str, module_version: str | None = None) -> Callable[[Path], str]:
    """Return the recipe that builds a program in pure Go.

    Args:
        server: the server's name.
        program: the program's package path.
        flags: further flags of the build; the last one of a kind counts.
        module_version: the version of its module, where that differs from the server's version.
    """

    def recipe(folder: Path) -> str:
        version = SERVERS[server]
        package = f"{program}@v{module_version or version}"
        environment = {"GOBIN": str(folder), "CGO_ENABLED": "0"}
        _run("go", "install", "-trimpath", _NO_SYMBOLS, *flags, package, folder=folder, environment=environment)
        return version

    return recipe


def _otelcol(folder: Path) -> str:
    """Build the OpenTelemetry Collector, which exists only as a library: the program is in the folder `otelcol`."""
    version = SERVERS["otelcol"]
    sources = folder.with_name("sources")  # a copy: the build writes go.sum, and completes go.mod
    shutil.copytree(Path(__file__).parent / "otelcol", sources)
    _run(
        "go",
        "build",
        "-mod=mod",
        "-trimpath",
        f"{_NO_SYMBOLS} -X main.version={version}",
        "-o",
        folder / "otelcol",
        ".",
        folder=sources,
        environment={"CGO_ENABLED": "0"},
    )
    return version


_ONLY_WARN = """#!/bin/sh
compiler=$1
shift
exec "$compiler" "$@" --cap-lints warn
"""
"""A wrapper for the Rust compiler: a newer compiler treats some of the library's warnings as errors."""


def _influxdb(server: str, module: str, *flags: str) -> Callable[[Path], str]:
    """Return the recipe that builds the current InfluxDB, whose Rust library can only be built from its sources.

    Args:
        server: the server's name.
        module: the path of its Go module.
        flags: further flags of the build.
    """

    def recipe(folder: Path) -> str:
        if shutil.which("cargo") is None:
            raise RecipeFailedError("cargo is not installed: this one has a library in Rust")
        version = SERVERS[server]
        tools = folder.with_name("tools")
        tools.mkdir()
        # The build asks pkg-config for the library; InfluxDB's own pkg-config then builds it.
        _run("go", "install", "github.com/influxdata/pkg-config@v0.2.14", environment={"GOBIN": str(tools)})
        wrapper = tools / "only-warn"
        wrapper.write_text(_ONLY_WARN)
        wrapper.chmod(0o755)
        downloaded = json.loads(_run("go", "mod", "download", "-json", f"{module}@v{version}", folder=tools))
        sources = folder.with_name("sources")  # a copy: the build writes into its go.mod
        shutil.copytree(downloaded["Dir"], sources)
        for path in (sources, *sources.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)
        _run(
            "go",
            "build",
            "-mod=mod",
            "-trimpath",
            _NO_SYMBOLS,
            *flags,
            "-o",
            folder / "influxd",
            "./cmd/influxd",
            folder=sources,
            environment={
                "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
                "RUSTUP_TOOLCHAIN": "stable",
                "RUSTC_WRAPPER": str(wrapper),
                "GOTOOLCHAIN": "local",
            },
            longest=LONGEST_BUILD,
        )
        return version

    return recipe


# ------------------------------------------------------------------------------------------------------------- jars

LOG4J = {"opensearch": "2.21.0", "elasticsearch": "2.17.1"}
"""The version of log4j-api among each server's dependencies: log4j-core, which they leave out, must match it."""


def _jars(server: str) -> Callable[[Path], str]:
    """Return the recipe for a server made of jars: fetch them, and compile a launcher against them."""

    def recipe(folder: Path) -> str:
        if shutil.which("javac") is None:
            raise RecipeFailedError("javac is not installed: this one needs a JDK, 17 or newer")
        version = SERVERS[server]
        group = f"org.{server}"
        artifacts = [
            (group, server, version),
            (f"{group}.plugin", "transport-netty4-client", version),
            (f"{group}.plugin", "reindex-client", version),
            (f"{group}.plugin", "mapper-extras-client", version),
            ("org.apache.logging.log4j", "log4j-core", LOG4J[server]),
        ]
        (folder / "pom.xml").write_text(_pom(artifacts))
        _run(
            "mvn",
            "-q",
            "-B",
            f"-Dmaven.repo.local={cache_folder() / 'maven'}",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={folder / 'libs'}",
            folder=folder,
        )
        source = (Path(__file__).parent / "Launcher.java").read_text().replace("import ROOT.", f"import {group}.")
        (folder / "Launcher.java").write_text(source)
        _run("javac", "-cp", f"{folder / 'libs'}/*", "-d", folder / "launcher", folder / "Launcher.java")
        # In one jar, because an archive of classes cannot contain any from a folder.
        _run("jar", "--create", "--file", folder / "libs" / "launcher.jar", "-C", folder / "launcher", ".")
        return version

    return recipe


def _pom(artifacts: list[tuple[str, str, str]]) -> str:
    """Return a Maven project that has only dependencies."""
    names = ("groupId", "artifactId", "version")

    def element(values: tuple[str, str, str]) -> str:
        return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in zip(names, values, strict=True))

    dependencies = "".join(f"<dependency>{element(artifact)}</dependency>\n" for artifact in artifacts)
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"{element(('tests', 'servers', '1'))}<packaging>pom</packaging>\n"
        f"<dependencies>\n{dependencies}</dependencies></project>\n"
    )


def has_archive(server: str) -> bool:
    """Return whether a server has its archive of loaded classes, or cannot have one."""
    from tests.servers.search import SEARCH_SERVERS

    return server not in SEARCH_SERVERS or SEARCH_SERVERS[server].archive().exists()


def make_archive(server: str, folder: Path) -> None:
    """Run an installed server once to save its loaded classes: it then starts in half the time.

    This happens after the installation, because the archive is valid only for the paths that it was created with.
    """
    from tests.servers.client import ServerFailedError
    from tests.servers.search import SEARCH_SERVERS

    made = folder / "classes"
    run = SEARCH_SERVERS[server](folder / "run", java_options=[f"-XX:ArchiveClassesAtExit={made}"])
    try:
        with run:
            run.request("PUT", "/warm/_doc/1?refresh=true", json={"text": "what", "number": 1, "time": "2024-01-01"})
            run.request("POST", "/_bulk", ndjson=[{"index": {"_index": "warm"}}, {"text": "else"}])
            run.search("warm", {"query": {"match_all": {}}})
            run.stop(timeout=120)
    except (ServerFailedError, OSError, HTTPException):
        pass  # its last line of output says more
    if not made.exists():
        lines = run.log.splitlines() or ["it printed nothing"]
        raise RecipeFailedError(f"no archive of its classes, so it will start slowly: {lines[-1]}")
    made.rename(SEARCH_SERVERS[server].archive())


RECIPES: dict[str, list[tuple[str, Callable[[Path], str]]]] = {
    "packages": [
        ("prometheus", _package("prometheus", "prometheus", "promtool")),
        ("pushgateway", _package("prometheus-pushgateway", "prometheus-pushgateway")),
        ("influxdb", _package("influxdb", "influxd")),
        ("victoriametrics", _package("victoria-metrics", "victoria-metrics")),
    ],
    "go": [
        ("influxdb18", _go("influxdb18", "github.com/influxdata/influxdb/cmd/influxd")),
        (
            "victoriametrics151",
            _go("victoriametrics151", "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics"),
        ),
        ("otelcol", _otelcol),
        (
            "prometheus3",
            _go(
                "prometheus3",
                "github.com/prometheus/prometheus/cmd/prometheus",
                "-tags=remove_all_sd",  # without service discovery, and so without the libraries of all clouds
                f"{_NO_SYMBOLS} -X github.com/prometheus/common/version.Version={SERVERS['prometheus3']}",
                module_version="0.316.0",
            ),
        ),
        ("influxdb113", _influxdb("influxdb113", "github.com/influxdata/influxdb")),
        (
            "influxdb27",
            _influxdb("influxdb27", "github.com/influxdata/influxdb/v2", "-tags=sqlite_foreign_keys,sqlite_json"),
        ),
    ],
    "jars": [("opensearch", _jars("opensearch")), ("elasticsearch", _jars("elasticsearch"))],
}
"""The recipes, in groups that do not disturb each other; each one fills an empty folder and returns the version."""


def clean_up() -> None:
    """Remove what was needed only for the installation."""
    for name in ("apt", "maven"):
        shutil.rmtree(cache_folder() / name, ignore_errors=True)

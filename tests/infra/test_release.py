"""Release artifacts: packages that are the same for the same files, and what the workflow may do."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from pathlib import Path

import pytest
import release

from tests.infra.template import ROOT

WORKFLOW = (ROOT / "infra" / "github-actions" / "deploy.yml").read_text(encoding="utf-8")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A directory with a script and a file in a folder."""
    directory = tmp_path / "artifact"
    (directory / "folder").mkdir(parents=True)
    (directory / "folder" / "module.py").write_text("pass\n", encoding="utf-8")
    (directory / "run.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (directory / "run.sh").chmod(0o700)
    return directory


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class TestPackages:
    def test_all_files_are_in_them_and_anybody_may_read_them(
        self, artifact: Path, tmp_path: Path
    ) -> None:
        (artifact / "folder" / "module.py").chmod(0o600)
        release.pack(artifact, tmp_path / "package.zip")
        with zipfile.ZipFile(tmp_path / "package.zip") as package:
            modes = {each.filename: each.external_attr >> 16 for each in package.infolist()}
        assert modes == {"folder/module.py": 0o100644, "run.sh": 0o100755}

    def test_times_make_no_difference(self, artifact: Path, tmp_path: Path) -> None:
        release.pack(artifact, tmp_path / "first.zip")
        for path in artifact.rglob("*"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
        release.pack(artifact, tmp_path / "second.zip")
        assert digest(tmp_path / "first.zip") == digest(tmp_path / "second.zip")

    def test_checksums_are_as_sha256sum_reads_them(self, artifact: Path) -> None:
        (artifact / "folder" / "module.py").unlink()
        (artifact / "folder").rmdir()
        assert list(release._checksums(artifact)) == [f"{digest(artifact / 'run.sh')}  run.sh\n"]


class TestWorkflow:
    def test_actions_are_pinned(self) -> None:
        actions = re.findall(r"uses: (.*)", WORKFLOW)
        assert actions
        for each in actions:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)

    def test_what_packages_bring_runs_without_credentials(self) -> None:
        build, deploy = WORKFLOW.split("\n  deploy:\n")
        assert "permissions: {}" in build
        assert "id-token: write" not in build
        assert "secrets." not in build
        assert "id-token: write" in deploy
        assert not re.search(r"aws-secret-access-key", WORKFLOW)

    def test_it_uses_files_that_there_are(self) -> None:
        names = re.findall(r"(?:tests|infra)/[\w./-]+\.(?:txt|yaml|py)", WORKFLOW)
        assert names
        assert [name for name in names if not (ROOT / name).exists()] == []

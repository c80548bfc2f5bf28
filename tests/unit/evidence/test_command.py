# SPDX-License-Identifier: GPL-2.0-or-later
"""The command in metadata.json, and what runs of older versions have in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lab.core.errors import UsageError
from lab.evidence.metadata import CommandRecord, Metadata
from lab.run.campaign import CampaignRequest
from lab.specs.plan import Filters

ASKED = {"campaign": "quick", "topologies": ["pc"], "kernels": [], "tests": ["a.*"], "arches": ["arm64"]}
TYPED = {
    "words": ["lab", "try", "my.patch", "--each", "--tree", "linux", "--with", "a.c", "--with", "b.c"],
    "on": "--on",
    "machines": ["pc"],
    "tests": ["guards"],
    "rest": ["--", "sh", "-c", "exit 0"],
}


def metadata(**changes: Any) -> Metadata:
    return Metadata.model_validate({"schema": 1, "cells": [], **changes})


def test_an_old_run_of_a_campaign_has_its_command() -> None:
    command = metadata(asked=ASKED, repeat=3).command
    assert command
    assert (command.verb, command.arguments, command.arches) == ("run", ("quick",), ("arm64",))
    assert command.options == {"-t": ("pc",), "--test": ("a.*",), "--repeat": ("3",)}


def test_an_old_run_of_another_verb_has_its_command_and_the_campaign_that_it_ran() -> None:
    command = metadata(asked=ASKED, typed=TYPED).command
    assert command and command.runs
    assert (command.verb, command.arguments, command.program) == ("try", ("my.patch",), ("sh", "-c", "exit 0"))
    assert command.options == {
        "--each": (),
        "--tree": ("linux",),
        "--with": ("a.c", "b.c"),
        "--on": ("pc",),
        "--test": ("guards",),
    }
    assert command.runs.arguments == ("quick",)


def test_the_metadata_of_an_old_run_is_written_as_it_was() -> None:
    old = {"schema": 1, "cells": [], "asked": ASKED, "typed": TYPED}
    assert Metadata.model_validate(old).document() == old
    assert Metadata.model_validate(old).changed(resumed=["now"]).command == Metadata.model_validate(old).command


@pytest.mark.parametrize(
    "damaged",
    [
        {"asked": 5},
        {"typed": ["lab"]},
        {"typed": {"words": 5}},
        {"typed": {"words": ["lab"], "on": 5}},
        {"typed": {"words": ["lab", "try"], "rest": 5}},
        {"asked": {"campaign": "quick", "tests": 5}},
        {"asked": {"campaign": 5}},
    ],
)
def test_damage_in_an_old_command_is_refused(damaged: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        metadata(**damaged)


def test_a_request_is_read_as_it_was_recorded() -> None:
    filters = Filters(topologies=("pc",), tests=("a.*",), config=("kasan",), programs=("/a.c",), arches=("arm64",))
    request = CampaignRequest(campaign="quick", filters=filters, repeat=2)
    tried = CommandRecord(verb="try", arguments=("my.patch",), options={"--test": ("b",)})
    for command in (request.record(), tried.changed(runs=request.record())):
        kept = Metadata.model_validate(metadata(command=command, repeat=2).document())
        assert CampaignRequest.recorded(kept, Path()) == request


@pytest.mark.parametrize(
    "command",
    [
        None,
        {"verb": "bisect", "arguments": ["quick"]},
        {"verb": "run"},
        {"verb": "run", "arguments": ["quick"], "options": {"--coverage": []}},
        {"verb": "run", "arguments": ["quick"], "key of a later version": 1},
    ],
)
def test_a_run_without_a_campaign_to_run_cannot_be_resumed(command: object) -> None:
    with pytest.raises(UsageError, match="cannot be resumed"):
        CampaignRequest.recorded(metadata(command=command), Path())


def test_a_key_that_no_old_version_wrote_keeps_an_old_run_from_being_resumed() -> None:
    with pytest.raises(UsageError, match="cannot be resumed"):
        CampaignRequest.recorded(metadata(asked={**ASKED, "unknown": ["x"]}), Path())

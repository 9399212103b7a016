from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit import answers
from submit.errors import AnswerError, KitError

GOOD = {
    "project_name": "Brain tumours, 2nd try",
    "ospool_project": "UNL_Swanson",
    "access_point": "ap40",
    "username": "jane.doe",
    "framework": "tensorflow-2.21",
    "image": "/cvmfs/singularity.opensciencegrid.org/osg-dl-kit/unet-segmentation:tf2.21",
    "image_syntax": "automatic",
    "gpus": "1",
    "gpu_memory": "10GB",
    "data": "data",
    "epochs": "100",
    "job_duration": "Medium",
}


def test_good_answers_are_accepted() -> None:
    answers.check("unet-segmentation", GOOD)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("project_name", "", "empty; want a title"),
        ("project_name", " x", "blanks at its ends; want a title"),
        ("project_name", "a\nqueue 99", "a character that is not printable; want a title"),
        ("project_name", "x" * 10_000, "10000 characters; want a title of at most 100"),
        ("project_name", "$$(Machine)", "$$, which HTCondor replaces when the job is matched; want"),
        ("project_name", "$(Dollar)", "$(DOLLAR), which HTCondor replaces whatever stands before it; want"),
        ("project_name", "x\\", "a backslash, which HTCondor reads as the start of an escape; want"),
        ("project_name", "a\u202eb", "a character that is not printable; want"),
        ("project_name", "a\udc80", "a character that is not printable; want"),
        ("ospool_project", 'X"', "not such a name; want the name of a project, such as UNL_Swanson. Find yours"),
        ("ospool_project", "-X", "not such a name; want the name of a project"),
        ("access_point", "ap40.uw.osg-htc.org", "not such a name; want the short name of your access point"),
        ("username", "../root", "not such a name; want your user name on the access point. See `whoami` there."),
        (
            "framework",
            "tensorflow-2.2",
            "no such choice; want one of tensorflow-2.21, tensorflow-2.17. Write framework",
        ),
        ("image", "a b.sif", "not a reference to an image; want /cvmfs/"),
        ("image_syntax", "docker", "no such choice; want one of automatic, +SingularityImage, container_image. Write"),
        ("gpus", "0", "not such a number; want a whole number from 1 to 8. Write gpus=1 or more."),
        ("gpus", "9", "not such a number; want a whole number from 1 to 8."),
        ("gpus", "1\nqueue 9", "not such a number"),
        ("gpus", "٣", "not such a number"),
        ("gpu_memory", "40", "has no unit; want a whole number above 0 and a unit, MB, GB or TB, such as 10GB. Cards"),
        ("gpu_memory", "much", "is not a size; want"),
        ("epochs", "1e3", "not such a number; want a whole number from 1 to 100000."),
        ("job_duration", "long", "no such choice; want one of Medium, Long. Write job_duration=Long."),
        ("data", "", "empty, or with characters that a submit file takes for its own; want a folder"),
        ("data", "a,b", "empty, or with characters"),
        ("data", "a'b", "empty, or with characters"),
        ("data", "a#b", "empty, or with characters"),
        ("data", "-rf", "empty, or with characters"),
        ("data", "$(x)", "empty, or with characters"),
        ("data", "data/", "a slash at the end, which would send the folder's files without the folder; want"),
        ("data", "~/data", "HTCondor does not know ~; want a folder"),
        ("data", "..", "a name that means something else in the job's folder; want"),
        ("data", "x/results", "a name that means something else in the job's folder; want"),
        ("data", "osdf://ospool/ap40/data/u/x.zip", "not such a URL; want"),
        ("data", "https://example.org/x.zip", "not such a URL; want"),
        ("data", "osdf:///a/../x.zip", "not such a URL; want"),
        ("data", "osdf:///ospool/ap40/data/u/x", "not an archive; want a folder, an archive (.tar, .tar.gz, .tgz,"),
        ("data", "x" * 10_000, "10000 characters; want"),
        ("epochs", 3, "not text; want one line of text. Write epochs in quotes."),
    ],
)
def test_an_answer_that_cannot_be_used_gets_one_line(name: str, value: object, message: str) -> None:
    with pytest.raises(KitError) as refused:
        answers.check("unet-segmentation", {**GOOD, name: value})
    text = str(refused.value)
    assert text.startswith(f"{name}=")
    assert f": {message}" in text
    assert text.isprintable() and len(text) < 600
    assert text.endswith(".")


@pytest.mark.parametrize(
    "data", ["data", "my data", "../shared/brats2015", "/home/jane/d.tar.gz", "d.zip", "Köln/データ"]
)
def test_data_that_is_accepted(data: str) -> None:
    answers.check("unet-segmentation", {**GOOD, "data": data})


def test_a_file_with_the_attribute_that_transfers_nothing_is_refused() -> None:
    with pytest.raises(KitError, match=r"^image_syntax='\+SingularityImage'"):
        answers.check("unet-segmentation", {**GOOD, "image": "x.sif", "image_syntax": "+SingularityImage"})


@given(st.text())
def test_the_folder_is_never_a_path(name: str) -> None:
    slug = answers.slug(name)
    assert slug and set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not slug.startswith("-") and len(slug) <= 50


def test_slugs() -> None:
    assert answers.slug("Brain tumours, 2nd try") == "brain-tumours-2nd-try"
    assert answers.slug("../../etc/passwd") == "etc-passwd"
    assert answers.slug("Münchner Köpfe") == "munchner-kopfe"
    assert answers.slug("脳腫瘍") == "project"


def test_the_default_user_name_is_a_user_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "jane")
    assert answers.login() == "jane"
    monkeypatch.setenv("USER", "$(rm -rf /)")
    assert answers.login() == "username"
    monkeypatch.delenv("USER")
    assert answers.login() == "username"


def test_an_unknown_choice_names_the_nearest() -> None:
    with pytest.raises(
        AnswerError, match=r"^framework='tensorflow-217': no such choice; .*Write framework=tensorflow-2.17\.$"
    ):
        answers.choice("framework", "tensorflow-217", ["tensorflow-2.21", "tensorflow-2.17"])
